"""Messages about procedures, actors, scripts and macros: programs that run on the server."""

import enum
from typing import Any, ClassVar, Literal

import msgspec

from ..ids import new_uid
from .base import Message

__all__ = [
    "ActorExecutionMessage",
    "ActorStartRequestMessage",
    "ActorStopMessage",
    "ActorStopRequestMessage",
    "BuiltinActorStateChangeNotification",
    "BuiltinActorStateUpdatedNotification",
    "MacroUpdateMessage",
    "ProcedureAbortMessage",
    "ProcedureClearUnhandledMessage",
    "ProcedureExecutionMessage",
    "ProcedureQNotifMessage",
    "ProcedureRequestMessage",
    "ProcedureStatusUpdate",
    "ProcedureWorkerStatus",
    "ProcedureWorkerStatusMessage",
    "ScriptExecutionInfoMessage",
]

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class ProcedureWorkerStatus(enum.Enum):
    """The state of a worker, with the numbers that travel."""

    RUNNING = 1
    IDLE = 2
    FINISHED = 3
    DEAD = 4
    NONE = 5


class ProcedureRequestMessage(Message, kw_only=True):
    """A request to run a procedure: ``args_kwargs = (args, kwargs)``."""

    msg_type: ClassVar[str] = "procedure_request_message"

    identifier: str
    args_kwargs: Arguments | None = None
    queue: str | None = None
    execution_id: str = msgspec.field(default_factory=new_uid)


class ProcedureQNotifMessage(Message, kw_only=True):
    """News that a queue of procedures has changed."""

    msg_type: ClassVar[str] = "procedure_queue_notif_message"

    queue_name: str
    queue_type: Literal["execution", "unhandled"]


class ProcedureStatusUpdate(Message, kw_only=True):
    """News that a procedure has begun or ended."""

    msg_type: ClassVar[str] = "procedure_execution_status_update"

    execution_id: str
    action: Literal["Started", "Aborted", "Finished"]
    error: str | None = None


class ProcedureExecutionMessage(Message, kw_only=True):
    """A procedure in a queue; ``env`` holds environment variables for a worker in a process of its own."""

    msg_type: ClassVar[str] = "procedure_execution_message"

    identifier: str
    queue: str
    args_kwargs: Arguments = msgspec.field(default_factory=lambda: ((), {}))
    execution_id: str
    env: dict[str, str] | None = None


class ProcedureAbortMessage(Message, kw_only=True):
    """A request to stop one procedure, all of one queue, or all."""

    msg_type: ClassVar[str] = "procedure_abort_message"

    queue: str | None = None
    execution_id: str | None = None
    abort_all: bool | None = None

    def __post_init__(self) -> None:
        """Demand exactly one of the three."""
        if (self.queue, self.execution_id, self.abort_all).count(None) != 2:
            raise ValueError("give exactly one of queue, execution_id, abort_all")


class ProcedureClearUnhandledMessage(ProcedureAbortMessage, kw_only=True):
    """A request to forget procedures that nobody ran: one, all of one queue, or all."""

    msg_type: ClassVar[str] = "procedure_clear_unhandled_message"


class ProcedureWorkerStatusMessage(Message, kw_only=True):
    """What a worker does."""

    msg_type: ClassVar[str] = "procedure_worker_status_message"

    worker_queue: str
    status: ProcedureWorkerStatus
    current_execution_id: str | None = None
    completed_execution_id: str | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        """Demand an execution while the worker runs, and only then."""
        if (self.current_execution_id is not None) != (self.status is ProcedureWorkerStatus.RUNNING):
            raise ValueError("current_execution_id is given if, and only if, the status is RUNNING")


class ActorStartRequestMessage(Message, kw_only=True):
    """A request to start an actor."""

    msg_type: ClassVar[str] = "actor_start_request"

    actor_module: str
    actor_class_name: str


class ActorStopRequestMessage(Message, kw_only=True):
    """A request to stop an actor."""

    msg_type: ClassVar[str] = "actor_stop_request"

    actor_id: str


class ActorExecutionMessage(Message, kw_only=True):
    """An actor in a queue."""

    msg_type: ClassVar[str] = "actor_execution"

    queue: str
    execution_id: str
    env: dict[str, str] | None


class ActorStopMessage(Message, kw_only=True):
    """The order to an actor to stop."""

    msg_type: ClassVar[str] = "actor_stop"

    execution_id: str


class BuiltinActorStateChangeNotification(Message, kw_only=True):
    """News that the settings of an actor have been changed."""

    msg_type: ClassVar[str] = "builtin_actor_state_change_request"

    actor_name: str


class BuiltinActorStateUpdatedNotification(Message, kw_only=True):
    """News that an actor follows its new settings."""

    msg_type: ClassVar[str] = "builtin_actor_state_updated_notification"

    actor_name: str


class ScriptExecutionInfoMessage(Message, kw_only=True):
    """How far a script is: the lines that are being run."""

    msg_type: ClassVar[str] = "script_execution_message"

    script_id: str
    status: Literal["running", "completed", "failed", "aborted"]
    current_lines: list[int] | None = None
    traceback: str | None = None


class MacroUpdateMessage(Message, kw_only=True):
    """News about a macro, or about all."""

    msg_type: ClassVar[str] = "macro_update_message"

    update_type: Literal["add", "remove", "reload", "reload_all"]
    macro_name: str | None = None
    file_path: str | None = None

    def __post_init__(self) -> None:
        """Demand the name, and for a new macro its file."""
        if self.update_type != "reload_all" and not self.macro_name:
            raise ValueError(f"update_type {self.update_type!r} needs a macro_name")
        if self.update_type == "add" and not self.file_path:
            raise ValueError("update_type 'add' needs a file_path")
