"""What the buttons mean: which make sense when, why not, and the message each one sends. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from labspine.messages import ScanQueueModificationMessage

__all__ = ["ACTIONS", "Action", "Situation", "reasons", "request_for"]

Action = Literal["pause", "resume", "abort"]
ACTIONS: tuple[Action, ...] = get_args(Action)


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that decides about the buttons."""

    broker: str
    has_scan_server: bool
    scan_id: str | None
    status: str | None


def reasons(now: Situation) -> dict[Action, str | None]:
    """
    Say for each button why it cannot be pressed.

    Stopping is allowed whenever a scan runs and the broker is there, even if the scan server seems silent:
    a person must always be able to try.

    Args:
        now: The situation.

    Returns:
        A sentence for each action, None where the button works.
    """
    if now.broker != "connected":
        text = "The broker cannot be reached."
        return {"pause": text, "resume": text, "abort": text}
    if now.status not in ("open", "paused"):
        text = "No scan is running."
        return {"pause": text, "resume": text, "abort": text}
    silent = None if now.has_scan_server else "No scan server has reported for 3 s."
    return {
        "pause": silent or ("The scan is paused already." if now.status == "paused" else None),
        "resume": silent or ("The scan is not paused." if now.status == "open" else None),
        "abort": None,
    }


def request_for(action: Action, scan_id: str, *, pressed_by: str) -> ScanQueueModificationMessage:
    """
    Make the message that a button sends.

    Args:
        action: Which button.
        scan_id: The scan that the person saw when pressing.
        pressed_by: Name of the session, for the log of the scan server.

    Returns:
        The request for the scan server. Pause means after the point that is being measured.
    """
    metadata = {"source": "page", "session": pressed_by}
    match action:
        case "pause":
            name: Literal["deferred_pause", "continue", "abort"] = "deferred_pause"
        case "resume":
            name = "continue"
        case "abort":
            name = "abort"
    return ScanQueueModificationMessage(scan_id=scan_id, action=name, parameter={}, metadata=metadata)
