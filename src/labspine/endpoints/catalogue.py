"""
The catalogue: every place where something is said, one entry each.

Channels of profile ``seed`` follow the examples in seeds 000 and 001; those of ``bec4`` are the names of
bec_lib 4.x, so that one setting of the connector makes us a citizen of an existing BEC Redis (ADR 0004).
Entries with a ``family`` are recorded in its history stream: delivery survives interruptions. Heartbeats
and other values of which only the last one counts are plain.
"""

from __future__ import annotations

from ..errors import InvalidArgument, did_you_mean
from ..messages import (
    AlarmMessage,
    AvailableResourceMessage,
    ClientInfoMessage,
    DeviceConfigMessage,
    DeviceInfoMessage,
    DeviceMessage,
    DeviceMonitor1DMessage,
    DeviceStatusMessage,
    FileMessage,
    LogMessage,
    Message,
    ProgressMessage,
    RequestResponseMessage,
    ScanBaselineMessage,
    ScanHistoryMessage,
    ScanMessage,
    ScanQueueHistoryMessage,
    ScanQueueMessage,
    ScanQueueModificationMessage,
    ScanQueueStatusMessage,
    ScanStatusMessage,
    ServiceMetricMessage,
    StatusMessage,
    VariableMessage,
)
from .definition import EndpointDefinition as E
from .endpoint import EndpointInfo, MessageOp

__all__ = ["MessageEndpoints"]

KEY_VALUE, LIST, SEND = MessageOp.KEY_VALUE, MessageOp.LIST, MessageOp.SEND
SET_PUBLISH, STREAM = MessageOp.SET_PUBLISH, MessageOp.STREAM


class MessageEndpoints:
    """
    The endpoints of the laboratory; each is called with the names in its channel.

    ``MessageEndpoints.file_event("samx")`` is the endpoint of file events of samx.

    Source:
        Seeds 000 and 001.
    """

    # fmt: off
    # devices
    device_status = E(DeviceStatusMessage, KEY_VALUE, seed="internal/devices/status/{device}", bec4="info/devices/status/{device}",
        doc="Whether a device is idle or busy.")
    device_read = E(DeviceMessage, SET_PUBLISH, seed="internal/devices/read/{device}", bec4="info/devices/read/{device}", family="devices",
        doc="The last reading of a device: its normal and hinted signals.")
    device_read_configuration = E(DeviceMessage, SET_PUBLISH, seed="internal/devices/read_configuration/{device}",
        bec4="info/devices/read_configuration/{device}", family="devices", doc="The last reading of a device's configuration signals.")
    device_readback = E(DeviceMessage, SET_PUBLISH, seed="internal/devices/readback/{device}", bec4="info/devices/readback/{device}",
        doc="Where a moving device is; only the last value counts.")
    device_limits = E(DeviceMessage, SET_PUBLISH, seed="internal/devices/limits/{device}", bec4="info/devices/limits/{device}", family="devices",
        doc="The soft limits of a motor.")
    device_progress = E(ProgressMessage, SET_PUBLISH, seed="internal/devices/progress/{device}", bec4="info/devices/progress/{device}",
        doc="How far a device is with what it does.")
    device_info = E(DeviceInfoMessage, KEY_VALUE, seed="internal/devices/info/{device}", bec4="info/devices/info/{device}",
        doc="What a device is: class, signals, units, limits.")
    device_staged = E(DeviceStatusMessage, KEY_VALUE, seed="internal/devices/staged/{device}", bec4="info/devices/staged/{device}",
        doc="Whether a device is staged.")
    device_config = E(AvailableResourceMessage, KEY_VALUE, seed="internal/devices/config", bec4="info/devices/config",
        doc="All devices that the device server holds.")
    device_config_update = E(DeviceConfigMessage, SEND, seed="internal/devices/config_update", bec4="info/devices/config_update", family="devices",
        doc="News that the set of devices has changed.")
    device_config_request = E(DeviceConfigMessage, SEND, seed="internal/devices/config_request", bec4="user/devices/config_request", family="devices",
        doc="A request to change the set of devices.")
    device_monitor_1d = E(DeviceMonitor1DMessage, STREAM, seed="internal/devices/monitor1d/{device}", bec4="info/devices/monitor1d/{device}",
        doc="One-dimensional arrays of a device.")
    # scans
    scan_queue_request = E(ScanQueueMessage, SEND, seed="internal/queue/queue_request", bec4="personal/{username}/queue/queue_request", family="queue",
        defaults={"username": "default"}, doc="A request to run a plan.")
    scan_queue_request_response = E(RequestResponseMessage, SEND, seed="internal/queue/queue_request_response",
        bec4="info/queue/queue_request_response", family="queue", doc="Whether a request was accepted, and if not, why.")
    scan_queue_insert = E(ScanQueueMessage, SEND, seed="internal/queue/queue_insert", bec4="info/queue/queue_insert", family="queue",
        doc="An accepted request on its way into the queue.")
    scan_queue_waiting = E(ScanQueueMessage, LIST, seed="internal/queue/waiting/{queue}", bec4="info/queue/waiting/{queue}",
        defaults={"queue": "primary"}, doc="The accepted requests that have not ended, in order; survives the scan server.")
    scan_queue_modification_request = E(ScanQueueModificationMessage, SEND, seed="internal/queue/queue_modification_request",
        bec4="user/queue/queue_modification_request", family="queue", doc="A request to pause, continue, abort and so on.")
    scan_queue_modification = E(ScanQueueModificationMessage, SEND, seed="internal/queue/queue_modification",
        bec4="info/queue/queue_modification", family="queue", doc="An accepted change of the queue.")
    scan_queue_status = E(ScanQueueStatusMessage, SET_PUBLISH, seed="internal/queue/queue_status", bec4="info/queue/queue_status", family="queue",
        doc="The whole queue, at each change.")
    scan_queue_history = E(ScanQueueHistoryMessage, LIST, seed="internal/queue/queue_history", bec4="info/queue/queue_history",
        doc="Finished entries of the queue, newest first.")
    scan_number = E(VariableMessage, KEY_VALUE, seed="public/scans/scan_number", bec4="user/scan_number",
        doc="The number of the current or last scan.")
    dataset_number = E(VariableMessage, KEY_VALUE, seed="public/scans/dataset_number", bec4="user/dataset_number",
        doc="The number of the current data set.")
    scan_status = E(ScanStatusMessage, SET_PUBLISH, seed="internal/scans/scan_status", bec4="info/scans/scan_status", family="scans",
        doc="The current scan: what, how, and in which state.")
    scan_progress = E(ProgressMessage, SET_PUBLISH, seed="internal/scans/scan_progress", bec4="info/scans/scan_progress",
        doc="How far the current scan is; only the last value counts.")
    scan_segment = E(ScanMessage, SEND, seed="internal/scans/scan_segment", bec4="info/scans/scan_segment", family="scans",
        doc="The readings of the monitored devices, point by point.")
    scan_baseline = E(ScanBaselineMessage, SET_PUBLISH, seed="internal/scans/scan_baseline", bec4="info/scans/scan_baseline", family="scans",
        doc="The readings of the baseline devices.")
    scan_history = E(ScanHistoryMessage, STREAM, seed="internal/scans/scan_history", bec4="info/scans/scan_history",
        doc="Finished scans with their files.")
    available_scans = E(AvailableResourceMessage, SET_PUBLISH, seed="internal/scans/available_scans", bec4="info/scans/available_scans", family="scans",
        doc="The plans that can be requested, with their signatures.")
    public_scan_info = E(ScanStatusMessage, KEY_VALUE, seed="public/{scan_id}/scan_info", bec4="info/public/{scan_id}/scan_info",
        doc="The last status of one scan.")
    public_scan_segment = E(ScanMessage, KEY_VALUE, seed="public/{scan_id}/scan_segment/{point_id}",
        bec4="info/public/{scan_id}/scan_segment/{point_id}", doc="One point of one scan.")
    public_scan_baseline = E(ScanBaselineMessage, KEY_VALUE, seed="public/{scan_id}/scan_baseline", bec4="info/public/{scan_id}/scan_baseline",
        doc="The baseline of one scan.")
    # files
    public_file = E(FileMessage, SET_PUBLISH, seed="public/{scan_id}/file/{name}", bec4="info/public/{scan_id}/file/{name}", family="files",
        doc="A file of one scan.")
    file_event = E(FileMessage, SET_PUBLISH, seed="public/file_event/{name}", bec4="info/public/file_event/{name}", family="files",
        doc="The last file of a device or writer.")
    # services and people
    service_status = E(StatusMessage, SET_PUBLISH, seed="internal/services/status/{service_id}", bec4="user/services/status/{service_id}",
        doc="The heartbeat of a service; only the last value counts.")
    metrics = E(ServiceMetricMessage, SET_PUBLISH, seed="internal/services/metrics/{service_id}", bec4="user/services/metrics/{service_id}",
        doc="Load figures of a service; only the last value counts.")
    log = E(LogMessage, STREAM, seed="internal/log", bec4="user/log", doc="The log of all services.")
    alarm = E(AlarmMessage, SET_PUBLISH, seed="internal/alarms", bec4="user/alarms", family="services",
        doc="What people must know at once.")
    client_info = E(ClientInfoMessage, STREAM, seed="internal/client_info", bec4="user/client_info",
        doc="Notes to the people at the clients.")
    global_vars = E(VariableMessage, KEY_VALUE, seed="public/vars/{var_name}", bec4="user/vars/{var_name}",
        doc="A variable that everybody may read.")
    progress = E(ProgressMessage, SET_PUBLISH, seed="public/progress/{var_name}", bec4="user/progress/{var_name}",
        doc="How far anything else is.")
    # fmt: on

    @classmethod
    def pattern(cls, name: str, **names: str | int) -> EndpointInfo[Message]:
        """
        Make a pattern over the channels of one endpoint, for `register(patterns=...)` and `keys`.

        Args:
            name: The name of the endpoint, such as ``device_read``.
            names: What stands in the channel; ``*`` and ``?`` are wildcards, what is left out is ``*``.

        Returns:
            An endpoint whose channel is a pattern.

        Raises:
            InvalidArgument: If there is no such endpoint or name.
            InvalidName: If a name breaks the grammar of patterns.
        """
        return cls.definition(name).pattern(**names)

    @classmethod
    def definition(cls, name: str) -> E[Message]:
        """
        Look up an entry of the catalogue by its name.

        Raises:
            InvalidArgument: If there is none; the text names the nearest.
        """
        found = vars(cls).get(name)
        if not isinstance(found, E):
            known = [d.name for d in cls.definitions()]
            raise InvalidArgument(f'no endpoint "{name}"{did_you_mean(name, known)}')
        return found

    @classmethod
    def definitions(cls) -> tuple[E[Message], ...]:
        """List all entries, in the order of the catalogue."""
        return tuple(value for value in vars(cls).values() if isinstance(value, E))
