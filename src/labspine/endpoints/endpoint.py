"""An endpoint: channel, type of message, and the operations that are allowed on it (seed 000)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from ..errors import InvalidMessage, InvalidOperation
from ..messages import BundleMessage, Message

if TYPE_CHECKING:
    from .definition import EndpointDefinition

__all__ = ["EndpointInfo", "MessageOp", "Profile", "cluster_tag"]

M = TypeVar("M", bound=Message)
Profile = Literal["seed", "bec4"]

# What `blocking_list_pop_to_set_add` moves from one to the other, in one step.
_TOGETHER = dict.fromkeys(
    ("procedure_execution", "unhandled_procedure_execution", "active_procedure_executions"),
    "labspine/procedures",
)


class MessageOp(enum.Enum):
    """The sets of operations; each value lists the names of the connector's methods (seeds 000 and 001)."""

    SET_PUBLISH = ["register", "set_and_publish", "delete", "get", "keys"]
    SEND = ["send", "register"]
    STREAM = ["xadd", "xrange", "xread", "register_stream", "keys", "get_last", "delete"]
    LIST = ["llen", "lpush", "lrange", "lrem", "rpush", "ltrim", "keys", "delete", "blocking_list_pop"]
    KEY_VALUE = ["set", "get", "delete", "keys"]
    SET = ["remove_from_set", "get_set_members", "delete"]
    QUEUE = [
        "put", "claim", "acknowledge", "touch", "give_back", "bury", "state", "peek", "dead", "requeue",
        "purge",
    ]  # fmt: skip
    CALL = ["call", "serve"]

    def __contains__(self, operation: str) -> bool:
        """Tell whether an operation is in the set; streams can be registered like events."""
        return operation in self.value or (operation == "register" and self is MessageOp.STREAM)


@dataclass(frozen=True, eq=True)
class EndpointInfo(Generic[M]):
    """
    Where something is said: the channel, what is said there, and how.

    Args:
        endpoint: The channel (or key) on the broker.
        message_type: The class of its messages.
        message_op: The operations that are allowed.
        history: Key of the stream that records its events, or None when delivery is plain.
        definition: The entry of the catalogue that it was made from.
        args: The names that were put into the channel.
        profile: The naming scheme of the channel.
        is_pattern: Whether the channel holds wildcards.
        tag: What stands before the channel in the name of its key: on a Redis Cluster the family, in braces.
    """

    endpoint: str
    message_type: type[M]
    message_op: MessageOp
    history: str | None = field(default=None, repr=False, compare=False)
    definition: EndpointDefinition[M] | None = field(default=None, repr=False, compare=False)
    args: tuple[str, ...] = field(default=(), repr=False, compare=False)
    profile: Profile = field(default="seed", repr=False, compare=False)
    is_pattern: bool = field(default=False, repr=False, compare=False)
    tag: str = field(default="", repr=False, compare=False)

    @property
    def name(self) -> str:
        """The name in the catalogue, such as ``scan_status``; the channel if the endpoint is foreign."""
        return self.definition.name if self.definition else self.endpoint

    @property
    def key(self) -> str:
        """The key of what is stored; the channel itself, except on a Redis Cluster."""
        return self.tag + self.endpoint

    def in_cluster(self) -> EndpointInfo[M]:
        """
        Name the key for a Redis Cluster: all that one step touches has the same tag, and lies on one node.

        Returns:
            The endpoint; its channel stays as it is (ADR 0029).
        """
        return self._in_cluster

    @cached_property
    def _in_cluster(self) -> EndpointInfo[M]:
        tag = cluster_tag(self.history, self.name)
        return replace(self, tag=tag) if tag != self.tag else self

    def at(self, profile: Profile) -> EndpointInfo[M]:
        """
        Name the same endpoint in another profile.

        Args:
            profile: ``seed`` or ``bec4``.

        Returns:
            The endpoint with the channel of that profile; itself when it is there already.
        """
        if profile == self.profile or self.definition is None:
            return self
        return self.definition.make(self.args, profile=profile, is_pattern=self.is_pattern)

    def require(self, operation: str) -> None:
        """
        Insist that an operation is allowed here.

        Raises:
            InvalidOperation: If it is not; the text lists what is.
        """
        if operation not in self.message_op.value and operation not in self.message_op:
            allowed = ", ".join(self.message_op.value)
            raise InvalidOperation(
                f"{operation} is not allowed on {self.name} ({self.endpoint}): use {allowed}"
            )

    def check(self, message: object) -> None:
        """
        Insist that a message belongs here; bundles and lists are looked into.

        Raises:
            InvalidMessage: If it does not; the text names both types.
        """
        if isinstance(message, self.message_type):
            return
        parts = message.messages if isinstance(message, BundleMessage) else message
        if isinstance(parts, (list, tuple)) and parts:
            for index, part in enumerate(parts):
                if not isinstance(part, self.message_type):
                    self._refuse(part, f"item {index}: ")
            return
        self._refuse(message, "")

    def _refuse(self, message: object, where: str) -> None:
        place = f"{where}{self.name} ({self.endpoint})"
        raise InvalidMessage(f"{place} takes {self.message_type.__name__}, got {type(message).__name__}")


def cluster_tag(history: str | None, name: str) -> str:
    """
    Say what stands before a channel in the name of its key on a Redis Cluster.

    Args:
        history: Where its events are recorded; None for plain delivery.
        name: Its name in the catalogue.

    Returns:
        The family in braces, which decides on the slot; empty for what may lie anywhere.
    """
    family = history or _TOGETHER.get(name)
    return f"{{{family}}}" if family else ""
