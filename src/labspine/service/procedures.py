"""What a service can do: functions with type hints, found on objects or given one by one."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, get_args, get_type_hints, overload

from ..endpoints import check_segment
from ..errors import ConfigError, InvalidArgument, InvalidMessage
from ..flows import checks
from .hints import Check, check_of, schema_of

__all__ = ["RESERVED", "Procedure", "ProcedureOptions", "find_procedures", "procedure"]

P = ParamSpec("P")
R = TypeVar("R")
_MARK = "__labspine_procedure__"
RESERVED = ("ping", "info", "stats")
"""Procedures that every service has."""

_STREAMS = (Iterator, AsyncIterator)
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class ProcedureOptions:
    """
    How a procedure is offered.

    Args:
        name: Under which name; None takes that of the function.
        idempotent: Doing it twice does no more than once, so that it may be executed again when the
            instance that had it died.
        timeout_s: Longest time for which it may run, in seconds; None leaves it to the caller.
        concurrency: How many of its calls run at a time in one instance; None leaves it to the service.
        max_waiting: How many more may wait here; later ones are refused with `ServiceBusy`.
    """

    name: str | None = None
    idempotent: bool = False
    timeout_s: float | None = None
    concurrency: int | None = None
    max_waiting: int = 1000


@overload
def procedure(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def procedure(
    *,
    name: str | None = None,
    idempotent: bool = False,
    timeout_s: float | None = None,
    concurrency: int | None = None,
    max_waiting: int = 1000,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def procedure(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """
    Mark a function or method as a procedure of a service; it stays callable as before.

    Its type hints say what callers may give and what they get; its docstring is shown to them. A generator
    gives its results one by one. A coroutine function runs on an event loop, all others in threads.

    Args:
        function: The function; or use it with options, as in ``@procedure(idempotent=True)``.
        options: See `ProcedureOptions`.

    Returns:
        The function itself.

    Raises:
        InvalidArgument: If an option is wrong.
    """
    try:
        chosen = _checked(ProcedureOptions(**options))
    except TypeError as error:
        raise InvalidArgument(f"an option of @procedure is not known: {error}") from error

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(function):
            raise InvalidArgument(f"@procedure marks functions, got `{type(function).__name__}`")
        setattr(function, _MARK, chosen)
        return function

    return mark if function is None else mark(function)


def _checked(options: ProcedureOptions) -> ProcedureOptions:
    if options.timeout_s is not None and checks.seconds("timeout_s", options.timeout_s) == 0:
        raise InvalidArgument("timeout_s=0: must be above 0; leave it out for no limit of its own")
    if options.concurrency is not None:
        checks.count_above_zero("concurrency", options.concurrency)
    if options.max_waiting < 0:
        raise InvalidArgument(f"max_waiting={options.max_waiting}: must be 0 or more")
    return options


class Procedure:
    """
    One procedure, ready to be called with what came over the wire.

    Args:
        function: What is called, bound if it is a method.
        options: How it is offered.

    Raises:
        ConfigError: If a type hint cannot travel or the name is not allowed.
    """

    def __init__(self, function: Callable[..., Any], options: ProcedureOptions | None = None) -> None:
        self.function = function
        self.options = options or getattr(function, _MARK, None) or ProcedureOptions()
        self.name = self.options.name or str(getattr(function, "__name__", ""))
        if not self.name.isidentifier() or self.name.startswith("_"):
            raise ConfigError(
                f'"{self.name}" cannot be the name of a procedure: letters, digits and _, not _ at first'
            )
        check_segment(self.name, where="procedure")
        self.documentation = inspect.getdoc(function) or ""
        plain = inspect.unwrap(function)
        self.is_async = inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain)
        self.is_stream = inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain)
        self._signature = inspect.signature(function)
        self._hints = self._resolved_hints(plain)
        self._learn_parameters()
        self._result = check_of(self._result_hint(), where=f"{self.name}: result")

    def _resolved_hints(self, plain: Callable[..., Any]) -> dict[str, Any]:
        try:
            return get_type_hints(plain, include_extras=True)
        except (NameError, TypeError, AttributeError) as error:
            raise ConfigError(f"{self.name}: its type hints cannot be resolved: {error}") from error

    def _learn_parameters(self) -> None:
        self._checks: dict[str, Check | None] = {}
        self._positional: list[Check | None] = []
        parameters = self._signature.parameters.values()
        for parameter in parameters:
            hint = self._hints.get(parameter.name, Any)
            self._checks[parameter.name] = check_of(hint, where=f"{self.name}: {parameter.name}")
            if parameter.kind in _BY_POSITION:
                self._positional.append(self._checks[parameter.name])
        needed = [p for p in parameters if p.default is p.empty and p.kind not in (2, 4)]
        self._fewest = len(needed)
        if any(p.kind is p.KEYWORD_ONLY for p in needed):
            self._fewest = len(self._positional) + 1  # never by position alone

    def _result_hint(self) -> Any:
        hint = self._hints.get("return", Any)
        if self.is_stream:
            items = get_args(hint)
            return items[0] if items else Any
        return hint

    @property
    def signature(self) -> str:
        """The call as a person writes it, such as ``setpoint(celsius: float) -> float``."""
        text = str(self._signature).replace("labspine.messages.", "").replace("'", "")
        return f"{self.name}{text}"

    def bind(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """
        Check the arguments of a call.

        Args:
            args: By position.
            kwargs: By name.

        Returns:
            The same, converted to the declared types.

        Raises:
            InvalidArgument: If there are too few, too many, wrong names or wrong types; the text has the
                signature.
        """
        if not kwargs and self._fewest <= len(args) <= len(self._positional):
            try:
                return [v if c is None else c(v) for c, v in zip(self._positional, args)], kwargs  # noqa: B905
            except InvalidMessage:
                pass  # said below with the name of the argument
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArgument(f"{self.name}: {error}; it is called as {self.signature}") from None
        for name, value in bound.arguments.items():
            bound.arguments[name] = self._convert(name, value)
        return list(bound.args), bound.kwargs

    def _convert(self, name: str, value: Any) -> Any:
        check = self._checks[name]
        if check is None:
            return value
        kind = self._signature.parameters[name].kind
        try:
            if kind is inspect.Parameter.VAR_POSITIONAL:
                return tuple(check(item) for item in value)
            if kind is inspect.Parameter.VAR_KEYWORD:
                return {key: check(item) for key, item in value.items()}
            return check(value)
        except InvalidMessage as error:
            raise InvalidArgument(
                f"{self.name}: argument {name}: {error}; it is called as {self.signature}"
            ) from None

    def checked_result(self, value: Any) -> Any:
        """
        Check a result, or one of several.

        Raises:
            InvalidMessage: If it is not of the declared type.
        """
        if self._result is None:
            return value
        try:
            return self._result(value)
        except InvalidMessage as error:
            raise InvalidMessage(f"the result of {self.signature} is another one: {error}") from None

    def describe(self) -> dict[str, Any]:
        """Return what ``info`` tells: name, signature, documentation, JSON Schemas, options."""
        properties: dict[str, Any] = {}
        required: list[str] = []
        parts: dict[str, Any] = {}
        for name, parameter in self._signature.parameters.items():
            schema, inner = schema_of(self._hints.get(name, Any))
            properties[name] = schema
            parts |= inner
            if parameter.default is parameter.empty and parameter.kind not in (2, 4):
                required.append(name)
        result, inner = schema_of(self._result_hint())
        parameters = {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }
        return {
            "name": self.name,
            "signature": self.signature,
            "doc": self.documentation,
            "parameters": parameters,
            "result": result,
            "$defs": parts | inner,
            "stream": self.is_stream,
            "idempotent": self.options.idempotent,
        }


def find_procedures(target: object) -> list[Procedure]:
    """
    Find what an object offers.

    Args:
        target: A function; a class, of which an object is made; or an object with marked methods.

    Returns:
        Its procedures, ordered by name.

    Raises:
        ConfigError: If it offers none.
    """
    if inspect.isroutine(target):
        return [Procedure(target)]
    found = []
    for name in dir(type(target)):
        marked = inspect.getattr_static(type(target), name, None)
        if isinstance(marked, (staticmethod, classmethod)):
            marked = marked.__func__
        if hasattr(marked, _MARK):
            found.append(Procedure(getattr(target, name), getattr(marked, _MARK)))
    if not found:
        raise ConfigError(f"`{type(target).__name__}` has no procedures: mark its methods with @procedure")
    return found
