"""Places of devices: readings, arrays, configuration, instructions."""

# ruff: noqa: E501  # one entry, one or two lines

from __future__ import annotations

from ..messages import (
    AvailableResourceMessage,
    DeviceAsyncSignalIndexMessage,
    DeviceConfigMessage,
    DeviceInfoMessage,
    DeviceInitializationProgressMessage,
    DeviceInstructionMessage,
    DeviceInstructionResponse,
    DeviceMessage,
    DeviceMonitor1DMessage,
    DevicePreviewMessage,
    DeviceReqStatusMessage,
    DeviceRPCMessage,
    DeviceStatusMessage,
    DeviceUserROIMessage,
    ProgressMessage,
    RequestResponseMessage,
    ROIAvailableAnalysisMessage,
    ROIConfigurationMessage,
    ScanDeviceInfoMessage,
    VariableMessage,
)
from .definition import KEY_VALUE, LIST, SEND, SET_PUBLISH, STREAM
from .definition import EndpointDefinition as E

__all__ = ["DeviceEndpoints"]


class DeviceEndpoints:
    """Places of devices: readings, arrays, configuration, instructions."""

    # fmt: off
    device_status = E(DeviceStatusMessage, KEY_VALUE, bec4="info/devices/status/{device}",
        doc="Whether a device is idle or busy.")
    device_read = E(DeviceMessage, SET_PUBLISH, bec4="info/devices/read/{device}", family="devices",
        doc="The last reading of a device: its normal and hinted signals.")
    device_read_configuration = E(DeviceMessage, SET_PUBLISH, bec4="info/devices/read_configuration/{device}", family="devices",
        doc="The last reading of a device's configuration signals.")
    device_readback = E(DeviceMessage, SET_PUBLISH, bec4="info/devices/readback/{device}",
        doc="Where a moving device is; only the last value counts.")
    device_raw = E(DeviceMessage, STREAM, bec4="info/devices/raw/{device}",
        doc="Raw readings of a device.")
    device_limits = E(DeviceMessage, SET_PUBLISH, bec4="info/devices/limits/{device}", family="devices",
        doc="The soft limits of a motor.")
    device_req_status = E(DeviceReqStatusMessage, STREAM, bec4="info/devices/req_status/{request_id}",
        doc="Whether a request to a device succeeded.")
    device_progress = E(ProgressMessage, SET_PUBLISH, bec4="info/devices/progress/{device}",
        doc="How far a device is with what it does.")
    device_config_request = E(DeviceConfigMessage, SEND, bec4="user/devices/config_request", family="device_requests",
        doc="A request to change the set of devices.")
    device_config_request_response = E(RequestResponseMessage, KEY_VALUE, bec4="info/devices/config_request_response/{RID}",
        doc="Whether a change of the set of devices was accepted.")
    device_server_config_request = E(DeviceConfigMessage, SEND, bec4="internal/devices/device_server_config_update",
        doc="A change of the set of devices on its way to the device server.")
    device_config_update = E(DeviceConfigMessage, SEND, bec4="info/devices/config_update", family="devices",
        doc="News that the set of devices has changed.")
    device_config = E(AvailableResourceMessage, KEY_VALUE, bec4="info/devices/config",
        doc="All devices that the device server holds.")
    device_config_history = E(AvailableResourceMessage, LIST, bec4="info/devices/config_history",
        doc="Former sets of devices, newest first.")
    device_initialization_progress = E(DeviceInitializationProgressMessage, SET_PUBLISH, bec4="info/devices/initialization_progress",
        doc="How far the start of all devices is.")
    device_info = E(DeviceInfoMessage, KEY_VALUE, bec4="info/devices/info/{device}",
        doc="What a device is: class, signals, units, limits.")
    scan_device_info = E(ScanDeviceInfoMessage, STREAM, bec4="info/scan_device_info",
        doc="What the signals of all devices were when a scan began.")
    device_staged = E(DeviceStatusMessage, KEY_VALUE, bec4="info/devices/staged/{device}",
        doc="Whether a device is staged.")
    device_async_readback = E(DeviceMessage, STREAM, bec4="info/devices/async_readback/{scan_id}/{device}",
        doc="Readings of a device that come when they are ready, of one scan.")
    device_async_signal = E(DeviceMessage, STREAM, bec4="info/devices/async_signal/{scan_id}/{device}/{signal}",
        doc="Updates of an asynchronous signal in one scan.")
    device_async_signal_index = E(DeviceAsyncSignalIndexMessage, LIST, bec4="info/devices/async_signal_index/{scan_id}/{device}/{signal}",
        doc="Where each update of an asynchronous signal lies in the whole.")
    device_monitor_1d = E(DeviceMonitor1DMessage, STREAM, bec4="info/devices/monitor1d/{device}",
        doc="One-dimensional arrays of a device.")
    device_preview = E(DevicePreviewMessage, STREAM, bec4="info/devices/preview/{device}/{signal}",
        doc="Arrays of a signal at a rate for watching.")
    device_user_roi = E(DeviceUserROIMessage, STREAM, bec4="user/devices/user_roi/{device}/{signal}",
        doc="Regions that people have drawn on a signal.")
    stop_devices = E(VariableMessage, SEND, bec4="user/queue/stop_devices",
        doc="The devices that must stop at once.")
    device_instructions = E(DeviceInstructionMessage, SEND, bec4="internal/devices/instructions",
        doc="What the device server is to do.")
    device_instructions_response = E(DeviceInstructionResponse, SEND, bec4="internal/devices/instructions_response",
        doc="How far the device server is with an instruction.")
    device_rpc = E(DeviceRPCMessage, KEY_VALUE, bec4="info/devices/rpc/{rpc_id}",
        doc="What a call of a device's method returned.")
    roi_config = E(ROIConfigurationMessage, SET_PUBLISH, bec4="info/devices/roi_config/{device}/{signal}",
        doc="Which region of a signal is analysed, and how.")
    available_roi_analysis = E(ROIAvailableAnalysisMessage, SET_PUBLISH, bec4="info/devices/available_roi_analysis/{device}/{signal}",
        doc="What can be computed from the regions of a signal.")
    # fmt: on
