"""Places of scans: queue, status, points, files."""

# ruff: noqa: E501  # one entry, one or two lines

from __future__ import annotations

from ..messages import (
    AvailableResourceMessage,
    FileContentMessage,
    FileMessage,
    ProgressMessage,
    RequestResponseMessage,
    ScanBaselineMessage,
    ScanHistoryMessage,
    ScanMessage,
    ScanQueueHistoryMessage,
    ScanQueueMessage,
    ScanQueueModificationMessage,
    ScanQueueOrderMessage,
    ScanQueueStatusMessage,
    ScanRestartMessage,
    ScanStatusMessage,
    StorageCopyRequestMessage,
    VariableMessage,
)
from .definition import KEY_VALUE, LIST, SEND, SET_PUBLISH, STREAM
from .definition import EndpointDefinition as E

__all__ = ["ScanEndpoints"]


class ScanEndpoints:
    """Places of scans: queue, status, points, files."""

    # fmt: off
    scan_queue_modification = E(ScanQueueModificationMessage, SEND, bec4="info/queue/queue_modification", family="queue",
        doc="An accepted change of the queue.")
    scan_queue_modification_request = E(ScanQueueModificationMessage, SEND, bec4="user/queue/queue_modification_request", family="requests",
        doc="A request to pause, continue, abort and so on.")
    scan_restart = E(ScanRestartMessage, SEND, bec4="info/queue/scan_restart", family="queue",
        doc="News that a scan was requested again in place of one that was stopped.")
    scan_queue_order_change_request = E(ScanQueueOrderMessage, SEND, bec4="user/queue/queue_order_change_request",
        doc="A request to move an entry of the queue.")
    scan_queue_order_change_response = E(RequestResponseMessage, SEND, bec4="info/queue/queue_order_change_response", family="queue",
        doc="Whether an entry of the queue may be moved.")
    scan_queue_order_change = E(ScanQueueOrderMessage, SEND, bec4="info/queue/queue_order_change", family="queue",
        doc="An accepted move in the queue.")
    scan_queue_insert = E(ScanQueueMessage, SEND, bec4="info/queue/queue_insert", family="queue",
        doc="An accepted request on its way into the queue.")
    scan_queue_waiting = E(ScanQueueMessage, LIST, bec4="info/queue/waiting/{queue}", defaults={"queue": "primary"},
        doc="The accepted requests that have not ended, in order; survives the scan server.")
    scan_queue_request = E(ScanQueueMessage, SEND, bec4="personal/{username}/queue/queue_request", family="requests", defaults={"username": "default"},
        doc="A request to run a plan.")
    scan_queue_request_response = E(RequestResponseMessage, SEND, bec4="info/queue/queue_request_response", family="queue",
        doc="Whether a request was accepted, and if not, why.")
    scan_queue_status = E(ScanQueueStatusMessage, SET_PUBLISH, bec4="info/queue/queue_status", family="queue",
        doc="The whole queue, at each change.")
    scan_queue_history = E(ScanQueueHistoryMessage, LIST, bec4="info/queue/queue_history",
        doc="Finished entries of the queue, newest first.")
    scan_queue_schedule = E(ScanQueueMessage, LIST, bec4="user/queue/queue_schedule/{schedule_name}",
        doc="Requests that are kept under a name for later.")
    scan_number = E(VariableMessage, KEY_VALUE, seed="public/scans/scan_number", bec4="user/scan_number",
        doc="The number of the current or last scan.")
    dataset_number = E(VariableMessage, KEY_VALUE, seed="public/scans/dataset_number", bec4="user/dataset_number",
        doc="The number of the current data set.")
    scan_status = E(ScanStatusMessage, SET_PUBLISH, bec4="info/scans/scan_status", family="scans",
        doc="The current scan: what, how, and in which state.")
    scan_progress = E(ProgressMessage, SET_PUBLISH, bec4="info/scans/scan_progress",
        doc="How far the current scan is; only the last value counts.")
    scan_history = E(ScanHistoryMessage, STREAM, bec4="info/scans/scan_history",
        doc="Finished scans with their files.")
    available_scans = E(AvailableResourceMessage, SET_PUBLISH, bec4="info/scans/available_scans", family="scans",
        doc="The plans that can be requested, with their signatures.")
    scan_segment = E(ScanMessage, SEND, bec4="info/scans/scan_segment", family="scans",
        doc="The readings of the monitored devices, point by point.")
    scan_baseline = E(ScanBaselineMessage, SET_PUBLISH, bec4="info/scans/scan_baseline", family="scans",
        doc="The readings of the baseline devices.")
    public_scan_info = E(ScanStatusMessage, KEY_VALUE, bec4="info/public/{scan_id}/scan_info",
        doc="The last status of one scan.")
    public_scan_segment = E(ScanMessage, KEY_VALUE, bec4="info/public/{scan_id}/scan_segment/{point_id}",
        doc="One point of one scan.")
    public_scan_baseline = E(ScanBaselineMessage, KEY_VALUE, bec4="info/public/{scan_id}/scan_baseline",
        doc="The baseline of one scan.")
    public_file = E(FileMessage, SET_PUBLISH, bec4="info/public/{scan_id}/file/{name}", family="files",
        doc="A file of one scan.")
    file_event = E(FileMessage, SET_PUBLISH, bec4="info/public/file_event/{name}", family="files",
        doc="The last file of a device or writer.")
    file_content = E(FileContentMessage, SET_PUBLISH, bec4="internal/internal/file_content", seed="internal/file_content",
        doc="What stands in the last file.")
    storage_copy_request = E(StorageCopyRequestMessage, SEND, bec4="user/storage/copy_request",
        doc="A request to copy a file to another place.")
    # fmt: on
