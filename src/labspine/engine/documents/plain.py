"""
Quick looks at documents: can they be stored at all, and do they surely follow their schema.

The schemas cost 0.3 to 0.6 ms a document, most of it for the rule that no key has a dot or slash. What the
quick look cannot judge goes to the schema, so that it never lets through what the schema refuses.
"""

from __future__ import annotations

import datetime
import enum
import pathlib
import re
import uuid
from collections.abc import Mapping
from typing import Any

from ...errors import shown

__all__ = ["is_surely_descriptor", "is_surely_start", "is_surely_stop", "unstorable"]

ATOMS = (str, bool, int, float, complex, bytes, bytearray)
STORABLE = (
    *ATOMS,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    enum.Enum,
    pathlib.PurePath,
    uuid.UUID,
)
DEEPEST = 32
DTYPES = frozenset({"string", "number", "array", "boolean", "integer"})
EXTERNAL = re.compile("^[A-Z]+:?")
TEXTS = frozenset({"owner", "group", "project", "data_session", "uid"})
SPECIAL = frozenset({"projections", "data_type", "data_groups"})


def unstorable(value: Any, path: str = "", depth: int = 0) -> str | None:
    """
    Find something in metadata that no file, message or database can hold.

    Args:
        value: The metadata.
        path: Where it stands.
        depth: How deep that is.

    Returns:
        What and where, for an error text; None when all can be stored.
    """
    if value is None or isinstance(value, STORABLE):
        return None
    if depth > DEEPEST:
        return f'"{shown(path)}" is nested more than {DEEPEST} levels deep, perhaps within itself'
    if isinstance(value, Mapping):
        parts = ((f"{path}.{key}" if path else str(key), each) for key, each in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        parts = ((f"{path}[{index}]", each) for index, each in enumerate(value))
    elif hasattr(value, "dtype") and hasattr(value, "tolist"):
        return None if value.dtype.kind != "O" else f'"{shown(path)}" is an array of objects'
    else:
        return f'"{shown(path)}" is {shown(value)} ({type(value).__name__})'
    for where, each in parts:
        found = unstorable(each, where, depth + 1)
        if found is not None:
            return found
    return None


def _has_good_keys(value: Any, depth: int = 0) -> bool:
    if type(value) is not dict:
        return value is None or isinstance(value, (*ATOMS, list, tuple))
    if depth > DEEPEST:
        return False
    for key, each in value.items():
        if type(key) is not str or not key or "." in key or "/" in key or "\n" in key:
            return False
        if type(each) is dict and not _has_good_keys(each, depth + 1):
            return False
    return True


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(type(each) is str for each in value)


def _are_dimensions(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(axis, list | tuple) and all(type(part) is str or _are_texts(part) for part in axis)
        for axis in value
    )


def is_surely_start(doc: Mapping[str, Any]) -> bool:
    """
    Tell whether a start document follows its schema without doubt.

    Args:
        doc: The document.

    Returns:
        False when the schema has to decide.
    """
    hints = doc.get("hints", {})
    return (
        SPECIAL.isdisjoint(doc)
        and _is_number(doc.get("time"))
        and type(doc.get("uid")) is str
        and all(type(doc[key]) is str for key in TEXTS & doc.keys())
        and type(doc.get("scan_id", 0)) is int
        and isinstance(doc.get("sample", ""), str | dict)
        and type(hints) is dict
        and _are_dimensions(hints.get("dimensions", ()))
        and _has_good_keys(dict(doc))
    )


def _is_data_key(value: Any) -> bool:
    if type(value) is not dict or value.keys() & {"limits", "dtype_numpy", "choices"}:
        return False
    shape = value.get("shape")
    return (
        type(value.get("dtype")) is str
        and value["dtype"] in DTYPES
        and isinstance(shape, list | tuple)
        and all(size is None or type(size) is int for size in shape)
        and type(value.get("source")) is str
        and _are_texts(value.get("dims", ()))
        and type(value.get("object_name", "")) is str
        and (value.get("units") is None or type(value["units"]) is str)
        and (value.get("precision") is None or type(value["precision"]) is int)
        and ("external" not in value or _is_external(value["external"]))
    )


def _is_external(value: Any) -> bool:
    return type(value) is str and EXTERNAL.search(value) is not None


def is_surely_descriptor(doc: Mapping[str, Any]) -> bool:
    """
    Tell whether a descriptor follows its schema without doubt.

    Args:
        doc: The document, as the engine composes it.

    Returns:
        False when the schema has to decide.
    """
    if type(doc["name"]) is not str or {"NX_class", "fields"} & doc["hints"].keys():
        return False
    if not all(_is_data_key(key) for key in doc["data_keys"].values()):
        return False
    for part in doc["configuration"].values():
        if not all(_is_data_key(key) for key in part["data_keys"].values()):
            return False
    return _has_good_keys(dict(doc))


def is_surely_stop(doc: Mapping[str, Any]) -> bool:
    """
    Tell whether a stop document follows its schema without doubt.

    Args:
        doc: The document, as the engine composes it.

    Returns:
        False when the schema has to decide.
    """
    return (
        doc["exit_status"] in ("success", "abort", "fail")
        and type(doc["reason"]) is str
        and all(type(number) is int for number in doc["num_events"].values())
        and _has_good_keys(doc["num_events"])
    )
