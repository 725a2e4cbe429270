"""One line of the catalogue: makes the endpoint for given names, in each profile."""

from __future__ import annotations

import string
from typing import Generic, TypeVar

from ..errors import InvalidArgument, did_you_mean
from ..messages import Message
from .endpoint import EndpointInfo, MessageOp, Profile
from .names import check_glob, check_segment

__all__ = [
    "CALL",
    "KEY_VALUE",
    "LIST",
    "QUEUE",
    "SEND",
    "SET",
    "SET_PUBLISH",
    "STREAM",
    "EndpointDefinition",
    "seed_of",
]

CALL, KEY_VALUE, LIST, QUEUE, SEND, SET, SET_PUBLISH, STREAM = (
    MessageOp.CALL,
    MessageOp.KEY_VALUE,
    MessageOp.LIST,
    MessageOp.QUEUE,
    MessageOp.SEND,
    MessageOp.SET,
    MessageOp.SET_PUBLISH,
    MessageOp.STREAM,
)

M = TypeVar("M", bound=Message)
_MAX_MADE = 2000
"""How many endpoints of one definition are kept; a device name is used again and again, a scan's is not."""


def seed_of(bec4: str) -> str:
    """
    Continue the naming scheme of the seeds for a channel of profile ``bec4``.

    Args:
        bec4: Channel of bec_lib 4; its first segment is an access class.

    Returns:
        ``public/...`` for what anybody may read, else ``internal/...`` without the person's name.
    """
    access, _, rest = bec4.partition("/")
    if access == "personal":
        rest = rest.partition("/")[2]
    if access == "public":
        return bec4
    return rest if rest.startswith("public/") else f"internal/{rest}"


class EndpointDefinition(Generic[M]):
    """
    Describe an endpoint by its channel in each profile; call it to get the `EndpointInfo`.

    Args:
        message_type: The class of its messages.
        message_op: The operations that are allowed.
        bec4: Channel in profile ``bec4``, with ``{names}`` in braces.
        seed: Channel in profile ``seed``; None for the one that `seed_of` makes.
        family: Family whose history stream records its events; None for plain delivery.
        defaults: Values of names that need not be given.
        doc: What is said there, one sentence.
    """

    def __init__(
        self,
        message_type: type[M],
        message_op: MessageOp,
        *,
        bec4: str,
        doc: str,
        seed: str | None = None,
        family: str | None = None,
        defaults: dict[str, str] | None = None,
    ) -> None:
        self.name = ""
        self.message_type = message_type
        self.message_op = message_op
        self.templates: dict[Profile, str] = {"seed": seed or seed_of(bec4), "bec4": bec4}
        self.history = f"labspine/history/{family}" if family else None
        self.defaults = defaults or {}
        self.__doc__ = doc
        fields = [
            f for t in (bec4, self.templates["seed"]) for _, f, _, _ in string.Formatter().parse(t) if f
        ]
        self.parameters: tuple[str, ...] = tuple(dict.fromkeys(fields))
        self._made: dict[tuple[Profile, tuple[str | int, ...]], EndpointInfo[M]] = {}

    def __set_name__(self, owner: type, name: str) -> None:
        """Learn the name from the catalogue."""
        self.name = name

    def __call__(self, *args: str | int, **names: str | int) -> EndpointInfo[M]:
        """
        Make the endpoint for the given names, in profile ``seed``.

        Args:
            args: Names in the order of `parameters`.
            names: The same by keyword.

        Returns:
            The endpoint; a connector with another profile renames it by itself.

        Raises:
            InvalidArgument: If a name is missing or unknown.
            InvalidName: If a name breaks the grammar.
        """
        try:
            return self._made["seed", args] if not names else self._made["seed", ()]
        except (KeyError, TypeError):
            pass
        values = self._bind(args, names)
        checked = tuple(
            check_segment(v, where=f"{self.name}: {p}") for p, v in zip(self.parameters, values, strict=True)
        )
        return self.make(checked, profile="seed")

    def pattern(self, **names: str | int) -> EndpointInfo[M]:
        """
        Make a pattern over several channels of this endpoint; names that are not given are ``*``.

        Raises:
            InvalidArgument: If a name is unknown.
            InvalidName: If a name breaks the grammar of patterns.
        """
        values = self._bind((), {**dict.fromkeys(self.parameters, "*"), **names})
        checked = tuple(
            check_glob(v, where=f"{self.name}: {p}") for p, v in zip(self.parameters, values, strict=True)
        )
        return self.make(checked, profile="seed", is_pattern=True)

    def make(self, args: tuple[str, ...], *, profile: Profile, is_pattern: bool = False) -> EndpointInfo[M]:
        """Build the endpoint from names that have been checked."""
        made = None if is_pattern else self._made.get((profile, args))
        if made is not None:
            return made
        channel = self.templates[profile].format(**dict(zip(self.parameters, args, strict=True)))
        info = EndpointInfo(
            channel,
            self.message_type,
            self.message_op,
            history=self.history,
            definition=self,
            args=args,
            profile=profile,
            is_pattern=is_pattern,
        )
        if not is_pattern and len(self._made) < _MAX_MADE:
            self._made[profile, args] = info
        return info

    def _bind(self, args: tuple[str | int, ...], names: dict[str, str | int]) -> list[str | int]:
        if len(args) > len(self.parameters):
            raise InvalidArgument(
                f"endpoint {self.signature} takes {len(self.parameters)} names, got {len(args)}"
            )
        given: dict[str, str | int] = dict(zip(self.parameters, args, strict=False))
        for name, value in names.items():
            if name not in self.parameters:
                hint = did_you_mean(name, self.parameters)
                raise InvalidArgument(f"endpoint {self.signature} has no name {name!r}{hint}")
            given[name] = value
        missing = [p for p in self.parameters if p not in given and p not in self.defaults]
        if missing:
            raise InvalidArgument(f"endpoint {self.signature} needs {', '.join(missing)}")
        return [given.get(p, self.defaults.get(p, "")) for p in self.parameters]

    @property
    def signature(self) -> str:
        """The call as a person writes it, such as ``device_read(device)``."""
        return f"{self.name}({', '.join(self.parameters)})"
