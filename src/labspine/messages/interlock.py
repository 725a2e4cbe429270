"""Messages about the state of the beamline and what follows from it for scans."""

import enum
import time
from typing import Any, ClassVar, Literal

import msgspec

from .base import Message, Part, Timestamp

__all__ = [
    "AvailableBeamlineStatesMessage",
    "BeamlineStateConfig",
    "BeamlineStateMessage",
    "ScanInterlockModifyStateTableMessage",
    "ScanInterlockStateTableContent",
    "ScanInterlockTriggerSetting",
    "ScanInterlockTriggerSettingMessage",
]

State = Literal["valid", "invalid", "warning", "unknown"]


class ScanInterlockTriggerSetting(enum.StrEnum):
    """What happens to a running scan when the interlock trips."""

    DO_NOTHING = "do_nothing"
    RESTART_SCAN = "restart_scan"
    PAUSE_SCAN = "pause_scan"


class BeamlineStateMessage(Message, kw_only=True):
    """One state of the beamline; timestamp in s UTC."""

    msg_type: ClassVar[str] = "beamline_state_message"

    name: str
    status: State
    label: str
    timestamp: Timestamp = msgspec.field(default_factory=time.time)


class BeamlineStateConfig(Part, kw_only=True):
    """How a state is found."""

    name: str
    state_type: str
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)


class AvailableBeamlineStatesMessage(Message, kw_only=True):
    """All states that are known."""

    msg_type: ClassVar[str] = "beamline_state_update_message"

    states: list[BeamlineStateConfig]


class ScanInterlockModifyStateTableMessage(Message, kw_only=True):
    """A request to watch a state, or to watch it no more."""

    msg_type: ClassVar[str] = "scan_interlock_modify_state_table"

    action: Literal["add", "remove", "remove_all"]
    state_name: str | None = None
    status: list[State] | None = None

    def __post_init__(self) -> None:
        """Check that name and status are given where they mean something."""
        if self.action == "add" and not (self.state_name and self.status):
            raise ValueError("action 'add' needs a state_name and a status that is not empty")
        if self.action != "add" and self.status is not None:
            raise ValueError(f"action {self.action!r} takes no status")
        if self.action == "remove" and not self.state_name:
            raise ValueError("action 'remove' needs a state_name")
        if self.action == "remove_all" and self.state_name is not None:
            raise ValueError("action 'remove_all' takes no state_name")


class ScanInterlockStateTableContent(Message, kw_only=True):
    """The states that are watched, each with the values at which scans may run."""

    msg_type: ClassVar[str] = "scan_interlock_state_table_content"

    states_watched: dict[str, list[State]]


class ScanInterlockTriggerSettingMessage(Message, kw_only=True):
    """What happens to a running scan when the interlock trips."""

    msg_type: ClassVar[str] = "scan_interlock_trigger_setting"

    value: ScanInterlockTriggerSetting = ScanInterlockTriggerSetting.DO_NOTHING
