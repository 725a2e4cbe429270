"""Messages about files."""

from typing import Any, ClassVar

from .base import Message

__all__ = ["FileContentMessage", "FileMessage", "StorageCopyRequestMessage"]


class FileMessage(Message, kw_only=True):
    """A file that is being written or is done."""

    msg_type: ClassVar[str] = "file_message"

    file_path: str
    done: bool
    successful: bool
    is_master_file: bool = False
    device_name: str | list[str] | None = None
    file_type: str = "h5"
    hinted_h5_entries: dict[str, str] | None = None


class FileContentMessage(Message, kw_only=True):
    """What stands in a file."""

    msg_type: ClassVar[str] = "file_content_message"

    file_path: str
    data: dict[str, Any]
    scan_info: dict[str, Any]


class StorageCopyRequestMessage(Message, kw_only=True):
    """A request to copy a file; ``subdir`` is relative to the place that belongs to the scope."""

    msg_type: ClassVar[str] = "storage_copy_request_message"

    source_file: str
    scope: str
    subdir: str | None = None
