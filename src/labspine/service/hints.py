"""Type hints as checks: convert what came over the wire to the declared type, or say what is wrong."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any, Union, get_args, get_origin

import msgspec

from ..errors import ConfigError, InvalidMessage
from ..messages import Message
from ..messages.base import read_custom
from ..messages.schema import ARRAY_SCHEMA

__all__ = ["Check", "check_of", "schema_of"]

Check = Callable[[Any], Any]
"""Converts a value to the declared type; raises `InvalidMessage` with the place of what does not fit."""

_FREE = frozenset({Any, object, None})


def check_of(hint: Any, *, where: str) -> Check | None:
    """
    Make the check of a type hint.

    Args:
        hint: The annotation, resolved.
        where: Whose it is, for the error.

    Returns:
        The check; None if anything is allowed.

    Raises:
        ConfigError: If values of this type cannot travel.
    """
    if hint in _FREE:
        return None
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else ()
    if members:
        return _check_of_union(hint, members, where)
    if get_origin(hint) is not None and _is_array(get_origin(hint)):
        hint = get_origin(hint)
    if isinstance(hint, type) and issubclass(hint, Message):
        return _instance_check(hint)
    try:
        msgspec.msgpack.Decoder(hint, dec_hook=read_custom)
        msgspec.inspect.type_info(hint)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ConfigError(f"{where}: values of type {_named(hint)} cannot travel: {error}") from error
    return _converting_check(hint)


def _check_of_union(hint: Any, members: tuple[Any, ...], where: str) -> Check | None:
    """Try msgspec's own union; else each member in turn, as several message classes need it."""
    special = [m for m in members if _is_array(get_origin(m)) or _is_message(m) or m in _FREE - {None}]
    if not special:
        try:
            msgspec.msgpack.Decoder(hint, dec_hook=read_custom)
        except (TypeError, ValueError):
            pass
        else:
            return _converting_check(hint)
    checks = [check_of(member, where=where) for member in members if member is not type(None)]
    is_optional = type(None) in members
    if None in checks:
        return None

    def check(value: Any) -> Any:
        if value is None and is_optional:
            return None
        for one in checks:
            try:
                return one(value)  # type: ignore[misc]  # None was looked for above
            except InvalidMessage:
                continue
        raise InvalidMessage(f"Expected `{_named(hint)}`, got `{type(value).__name__}`")

    return check


def _is_array(kind: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and kind is numpy.ndarray


def _is_message(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Message)


def _instance_check(cls: type) -> Check:
    def check(value: Any) -> Any:
        if isinstance(value, cls):
            return value
        raise InvalidMessage(f"Expected `{cls.__name__}`, got `{type(value).__name__}`")

    return check


def _converting_check(hint: Any) -> Check:
    convert = msgspec.convert
    is_plain = hint in (str, float, bytes, bool, int)

    def check(value: Any) -> Any:
        if is_plain and type(value) is hint:
            return value
        try:
            return convert(value, hint, dec_hook=read_custom, builtin_types=(bytes,))
        except (msgspec.ValidationError, TypeError) as error:
            plain = _without_numpy(value)
            if plain is value:
                raise InvalidMessage(_sentence(error)) from error
        try:
            return convert(plain, hint, dec_hook=read_custom, builtin_types=(bytes,))
        except (msgspec.ValidationError, TypeError) as error:
            raise InvalidMessage(_sentence(error)) from error

    return check


def _sentence(error: Exception) -> str:
    return str(error).replace("`$.", "`").replace("`$", "`")


def _without_numpy(value: Any) -> Any:
    """Replace numpy numbers by plain ones; the same object if there are none."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return value
    if isinstance(value, numpy.generic):
        return value.item()
    if isinstance(value, (list, tuple)) and any(isinstance(item, numpy.generic) for item in value):
        return [_without_numpy(item) for item in value]
    if isinstance(value, dict) and any(isinstance(item, numpy.generic) for item in value.values()):
        return {key: _without_numpy(item) for key, item in value.items()}
    return value


def _named(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")


def schema_of(hint: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """
    Describe a type hint.

    Args:
        hint: The annotation, resolved.

    Returns:
        Its JSON Schema, empty if anything is allowed, and the schemas of its parts by name.
    """
    if hint is Any or hint is object:
        return {}, {}
    if get_origin(hint) in (Union, types.UnionType):
        found = [schema_of(member) for member in get_args(hint)]
        parts = {name: part for _, inner in found for name, part in inner.items()}
        return {"anyOf": [schema for schema, _ in found]}, parts
    if _is_array(hint) or _is_array(get_origin(hint)):
        return dict(ARRAY_SCHEMA), {}
    if hint is Message:
        return {"title": "Message", "description": "Any message."}, {}
    try:
        (schema,), parts = msgspec.json.schema_components(
            [hint], schema_hook=_schema_hook, ref_template="#/$defs/{name}"
        )
    except (TypeError, ValueError, NotImplementedError):
        return {"description": _named(hint)}, {}
    return dict(schema), dict(parts)


def _schema_hook(kind: type) -> dict[str, Any]:
    return dict(ARRAY_SCHEMA) if _is_array(kind) else {"description": kind.__name__}
