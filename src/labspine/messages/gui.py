"""Messages to and from graphical programs and data processing, and from people."""

import time
from typing import Any, ClassVar, Literal

import msgspec

from .base import Message, Timestamp
from .service import ServiceVersions

__all__ = [
    "DAPConfigMessage",
    "DAPRequestMessage",
    "DAPResponseMessage",
    "FeedbackMessage",
    "GUIAutoUpdateConfigMessage",
    "GUIConfigMessage",
    "GUIDataMessage",
    "GUIInstructionMessage",
    "GUIRegistryStateMessage",
    "GameLeaderboardMessage",
    "GameScoreMessage",
]


class GUIConfigMessage(Message, kw_only=True):
    """The settings of a graphical program."""

    msg_type: ClassVar[str] = "gui_config_message"

    config: dict[str, Any]


class GUIDataMessage(Message, kw_only=True):
    """Data for a graphical program."""

    msg_type: ClassVar[str] = "gui_data_message"

    data: dict[str, Any]


class GUIInstructionMessage(Message, kw_only=True):
    """What a graphical program is to do."""

    msg_type: ClassVar[str] = "gui_instruction_message"

    action: str
    parameter: dict[str, Any]


class GUIAutoUpdateConfigMessage(Message, kw_only=True):
    """The device that is plotted by itself."""

    msg_type: ClassVar[str] = "gui_auto_update_config_message"

    selected_device: str


class GUIRegistryStateMessage(Message, kw_only=True):
    """The widgets of a graphical program."""

    msg_type: ClassVar[str] = "gui_registry_state_message"

    state: dict[
        str,
        dict[
            Literal[
                "gui_id", "name", "object_name", "widget_class",
                "config", "__rpc__", "container_proxy", "skip_rpc_namespace",
            ],
            str | bool | dict[str, Any] | None,
        ],
    ]  # fmt: skip


class DAPConfigMessage(Message, kw_only=True):
    """The settings of data processing."""

    msg_type: ClassVar[str] = "dap_config_message"

    config: dict[str, Any]


class DAPRequestMessage(Message, kw_only=True):
    """A request to process data."""

    msg_type: ClassVar[str] = "dap_request_message"

    dap_cls: str
    dap_type: Literal["continuous", "on_demand"]
    config: dict[str, Any]


class DAPResponseMessage(Message, kw_only=True):
    """What data processing returned: ``data = (result, metadata)``; ``dap_request`` is the request itself."""

    msg_type: ClassVar[str] = "dap_response_message"

    success: bool
    data: tuple[Any, ...] | None = msgspec.field(default_factory=lambda: ({}, None))
    error: str | None = None
    dap_request: Any = None

    def __post_init__(self) -> None:
        """Refuse a request that is no message."""
        if self.dap_request is not None and not isinstance(self.dap_request, Message):
            raise ValueError(f"dap_request is a {type(self.dap_request).__name__}, not a message")


class FeedbackMessage(Message, kw_only=True):
    """What a person thinks; rating 0 to 5."""

    msg_type: ClassVar[str] = "feedback_message"

    feedback: str
    rating: int
    feedback_type: Literal["bug_report", "feature_request", "general_feedback"] = "general_feedback"
    contact: str | None = None
    realm_id: str | None = None
    deployment_id: str | None = None
    experiment_id: str | None = None
    username: str = "unknown"  # bec_lib asks the system; messages do not look at their surroundings
    versions: ServiceVersions = msgspec.field(default_factory=ServiceVersions)
    timestamp: Timestamp = msgspec.field(default_factory=time.time)

    def __post_init__(self) -> None:
        """Check the rating."""
        if not 0 <= self.rating <= 5:
            raise ValueError(f"rating is {self.rating}, expected 0 to 5")


class GameScoreMessage(Message, kw_only=True):
    """The points of a player."""

    msg_type: ClassVar[str] = "game_score_message"

    game_name: str
    player_name: str
    score: float | int
    level: str | int | None = None
    beamline_id: str | None = None
    experiment_id: str | None = None
    timestamp: Timestamp = msgspec.field(default_factory=time.time)


class GameLeaderboardMessage(Message, kw_only=True):
    """The best players of a game."""

    msg_type: ClassVar[str] = "game_leaderboard_message"

    game_name: str
    leaderboard: list[GameScoreMessage]
