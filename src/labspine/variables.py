"""
Variables of the whole laboratory: declared once, set by one service, read by all (seed 004).

A `Variable` says what a variable is called, of which type it is, what it is for and when it vanishes. Its
name may hold names in braces: ``login.{session}`` stands for one variable a session.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

import msgspec

from .connector import AsyncConnector, RedisConnector
from .endpoints import EndpointInfo, MessageEndpoints, MessageOp, check_segment
from .errors import (
    ConfigError,
    DecodeError,
    InvalidArgument,
    InvalidMessage,
    InvalidName,
    did_you_mean,
    shown,
)
from .flows import checks
from .messages import VariableMessage
from .messages.foreign import ForeignMessage
from .service.hints import Check, check_of

__all__ = ["AsyncVariables", "Layout", "RawValue", "Variable", "Variables"]

T = TypeVar("T")
Layout = Literal["labspine", "raw"]
"""How a value is kept: as a message of ours, or as plain text that programs of others read."""

_RAW_TYPES = (str, bytes, int, float)


class RawValue(ForeignMessage, kw_only=True):
    """A value that is kept as it is."""

    msg_type: ClassVar[str] = "raw_value"

    value: bytes

    def write_payload(self) -> bytes:
        """See `ForeignMessage.write_payload`."""
        return self.value

    @classmethod
    def read_payload(cls, payload: bytes) -> Self:
        """See `ForeignMessage.read_payload`."""
        return cls(value=bytes(payload))


class Variable(Generic[T]):
    """
    Declare a variable.

    Args:
        name: Its name; ``{names}`` in braces make a family of variables, see `of`.
        type: Type of its values: what a message can hold; str, bytes, int or float in layout ``raw``.
        doc: What it is for, one sentence.
        expire_s: Seconds after which a value vanishes, counted from each `set`; None keeps it.
        layout: ``raw`` keeps the plain value under the name itself, as OpenTera does.

    Raises:
        ConfigError: If values of this type cannot travel.
        InvalidName: If the name breaks the grammar.
        InvalidArgument: If there is no sentence, or the time is not above 0.
    """

    def __init__(
        self,
        name: str,
        type: type[T],
        *,
        doc: str,
        expire_s: float | None = None,
        layout: Layout = "labspine",
    ) -> None:
        if not doc:
            raise InvalidArgument(f"variable {shown(name)}: say in doc= what it is for")
        checks.expiry(expire_s)
        if layout not in ("labspine", "raw"):
            raise InvalidArgument(f'variable {shown(name)}: layout={shown(layout)}: use "labspine" or "raw"')
        self.name = name
        self.type = type
        self.expire_s = expire_s
        self.layout = layout
        self.parameters = _parameters(name)
        if not self.parameters:
            check_segment(name, where="variable")
        if layout == "raw" and type not in _RAW_TYPES:
            raise ConfigError(f"variable {name}: raw values are str, bytes, int or float, not {type}")
        self._check: Check | None = check_of(type, where=f"variable {name}")
        self.__doc__ = doc

    def __repr__(self) -> str:
        return f"Variable({self.name!r}, {getattr(self.type, '__name__', self.type)})"

    def of(self, **names: str | int) -> Variable[T]:
        """
        Name one variable of a family.

        Args:
            names: A value for each name in braces.

        Returns:
            The variable.

        Raises:
            InvalidArgument: If a name is missing or unknown.
            InvalidName: If one breaks the grammar.
        """
        if set(names) != set(self.parameters):
            wanted = ", ".join(self.parameters) or "no names"
            raise InvalidArgument(f"variable {self.name} takes {wanted}, got {', '.join(names) or 'none'}")
        checked = {key: check_segment(value, where=f"{self.name}: {key}") for key, value in names.items()}
        made = Variable(
            self.name.format(**checked),
            self.type,
            doc=self.__doc__ or "",
            expire_s=self.expire_s,
            layout=self.layout,
        )
        made.family = self
        return made

    family: Variable[T] | None = None
    """The declaration of which this is one."""

    @property
    def endpoint(self) -> EndpointInfo[Any]:
        """
        Where it is kept.

        Raises:
            InvalidArgument: If it is a family; see `of`.
        """
        if self.parameters:
            raise InvalidArgument(f"{self!r} is a family: name one with of({', '.join(self.parameters)}=...)")
        if self.layout == "raw":
            return EndpointInfo(self.name, RawValue, MessageOp.KEY_VALUE)
        return MessageEndpoints.global_vars(self.name)

    def write(self, value: T) -> VariableMessage | RawValue:
        """
        Check a value and make the message that keeps it.

        Raises:
            InvalidMessage: If it is not of the declared type.
        """
        checked = self._checked(value)
        if self.layout == "labspine":
            return VariableMessage(value=checked)
        return RawValue(value=checked if isinstance(checked, bytes) else str(checked).encode())

    def read(self, message: VariableMessage | RawValue | None) -> T | None:
        """
        Understand what was kept.

        Raises:
            DecodeError: If it is not of the declared type: somebody else wrote it.
        """
        if message is None:
            return None
        value: Any = message.value
        try:
            if isinstance(message, RawValue) and self.type is not bytes:
                text = message.value.decode()
                value = text if self.type is str else msgspec.convert(text, self.type, strict=False)
            return self._checked(value)
        except (InvalidMessage, ValueError) as error:
            raise DecodeError(f"variable {self.name} holds something else: {error}") from error

    def _checked(self, value: Any) -> T:
        if self._check is None:
            return value  # type: ignore[no-any-return]  # any value is of this type
        try:
            return self._check(value)  # type: ignore[no-any-return]  # what the check is for
        except InvalidMessage as error:
            raise InvalidMessage(f"variable {self.name}: {error}") from None


def _parameters(name: object) -> tuple[str, ...]:
    if not isinstance(name, str):
        raise InvalidArgument(f"a variable needs a name, got `{type(name).__name__}`")
    try:
        return tuple(field for _, field, _, _ in string.Formatter().parse(name) if field is not None)
    except ValueError as error:
        raise InvalidName(f'variable "{shown(name)}": {error}') from error


class _Catalogue:
    """Which variables there are."""

    def __init__(self, variables: Iterable[Variable[Any]]) -> None:
        self._declared: dict[str, Variable[Any]] = {}
        for variable in variables:
            if self._declared.setdefault(variable.name, variable) is not variable:
                raise ConfigError(f'two variables have the name "{variable.name}": rename one')

    @property
    def catalogue(self) -> Mapping[str, Variable[Any]]:
        """The declared variables by name; each knows its ``type``, ``expire_s`` and ``__doc__``."""
        return dict(self._declared)

    def _declared_one(self, variable: Variable[T]) -> Variable[T]:
        if not isinstance(variable, Variable):
            hint = did_you_mean(shown(variable), self._declared)  # type: ignore[unreachable]  # callers may give anything
            raise InvalidArgument(f"{shown(variable)} is no Variable{hint}: hand over the declaration")
        if self._declared.get((variable.family or variable).name) is not (variable.family or variable):
            raise InvalidArgument(f"{variable!r} is not in this catalogue: declare it there")
        return variable


class Variables(_Catalogue):
    """
    Set and read declared variables; one service should set each, any may read it.

    Args:
        connector: The bus.
        variables: The catalogue; what is not in it can be neither set nor read.

    Raises:
        ConfigError: If two have the same name.
    """

    def __init__(self, connector: RedisConnector, variables: Iterable[Variable[Any]]) -> None:
        super().__init__(variables)
        self._connector = connector

    def set(self, variable: Variable[T], value: T, *, expire_s: float | None = None) -> None:
        """
        Set a variable.

        Args:
            variable: Which; one of the catalogue.
            value: Of the declared type.
            expire_s: Seconds until it vanishes; None takes what is declared.

        Raises:
            InvalidMessage: If the value is not of the declared type.
            InvalidArgument: If the variable is not in the catalogue, or a family.
            DeliveryUnknown: If the link broke before the answer came.
        """
        endpoint = self._declared_one(variable).endpoint
        limit_s = variable.expire_s if expire_s is None else expire_s
        self._connector.set(endpoint, variable.write(value), expire_s=limit_s)

    def get(self, variable: Variable[T]) -> T | None:
        """
        Read a variable.

        Returns:
            Its value; None if it is not set, or has vanished.

        Raises:
            DecodeError: If somebody stored something else there.
            InvalidArgument: If the variable is not in the catalogue, or a family.
        """
        declared = self._declared_one(variable)
        return declared.read(self._connector.get(declared.endpoint))

    def delete(self, variable: Variable[Any]) -> bool:
        """Remove a variable; tells whether it was set."""
        return self._connector.delete(self._declared_one(variable).endpoint)

    def take(self, variable: Variable[T]) -> T | None:
        """
        Read a variable and remove it: of several who try, one gets the value and the others None.

        This is how a ticket is used up.
        """
        value = self.get(variable)
        return value if value is not None and self.delete(variable) else None


class AsyncVariables(_Catalogue):
    """
    Set and read declared variables from the tasks of an event loop; see `Variables`.

    Args:
        connector: The bus.
        variables: The catalogue.
    """

    def __init__(self, connector: AsyncConnector, variables: Iterable[Variable[Any]]) -> None:
        super().__init__(variables)
        self._connector = connector

    async def set(self, variable: Variable[T], value: T, *, expire_s: float | None = None) -> None:
        """Set a variable; as `Variables.set`."""
        endpoint = self._declared_one(variable).endpoint
        limit_s = variable.expire_s if expire_s is None else expire_s
        await self._connector.set(endpoint, variable.write(value), expire_s=limit_s)

    async def get(self, variable: Variable[T]) -> T | None:
        """Read a variable; as `Variables.get`."""
        declared = self._declared_one(variable)
        return declared.read(await self._connector.get(declared.endpoint))

    async def delete(self, variable: Variable[Any]) -> bool:
        """Remove a variable; tells whether it was set."""
        return await self._connector.delete(self._declared_one(variable).endpoint)

    async def take(self, variable: Variable[T]) -> T | None:
        """Read a variable and remove it; as `Variables.take`."""
        value = await self.get(variable)
        return value if value is not None and await self.delete(variable) else None
