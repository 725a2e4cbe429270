"""Do the values of a reading have the types and shapes that their device described?"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Number
from typing import Any

from ...errors import shown

__all__ = ["misfit"]

_SCALARS = frozenset({"number", "integer", "boolean"})


def misfit(data_keys: Mapping[str, Any], reading: Mapping[str, Any]) -> str | None:
    """
    Compare a reading with its description.

    Numbers, whole numbers and truth values stand for each other, and a length that is described as None, or
    an empty shape of an array, fits everything: only what a reader of the data would stumble over counts.

    Args:
        data_keys: Description by key.
        reading: What the device read.

    Returns:
        What does not fit, in words, or None.
    """
    for key, described in data_keys.items():
        if "external" in described or key not in reading:
            continue
        words = _misfit(described, reading[key].get("value"))
        if words is not None:
            return f'"{key}" is described as {words}'
    return None


def _misfit(described: Mapping[str, Any], value: Any) -> str | None:
    dtype = described.get("dtype")
    if dtype in _SCALARS:
        fits = (isinstance(value, Number) or _is_numeric(value)) and not _shape(value)
        return None if fits else f"{dtype} and reads {_words(value)}"
    if dtype == "string":
        fits = isinstance(value, str | bytes) or getattr(getattr(value, "dtype", None), "kind", "") in {
            "U",
            "S",
        }
        return None if fits else f"string and reads {_words(value)}"
    if dtype == "array":
        return _array_misfit(described.get("shape") or (), value)
    return None


def _array_misfit(shape: Any, value: Any) -> str | None:
    if isinstance(value, str | bytes) or not (hasattr(value, "__len__") or _shape(value)):
        return f"array and reads {_words(value)}"
    found = _shape(value)
    same = len(found) == len(shape) and all(
        not isinstance(wanted, int) or wanted <= 0 or wanted == size
        for wanted, size in zip(shape, found, strict=True)
    )
    if same or not shape or not found:
        return None
    return f"array of shape {list(shape)} and reads {list(found)}"


def _shape(value: Any) -> tuple[int, ...]:
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return () if getattr(value, "size", 0) == 1 and len(shape) <= 1 else shape
    return _nested(value) if isinstance(value, list | tuple) else ()


def _nested(value: Any) -> tuple[int, ...]:
    inner = value[0] if value else None
    return (len(value), *(_nested(inner) if isinstance(inner, list | tuple) else ()))


def _is_numeric(value: Any) -> bool:
    return getattr(getattr(value, "dtype", None), "kind", "") in {"b", "i", "u", "f", "c"}


def _words(value: Any) -> str:
    return f"{shown(value, 40)} ({type(value).__name__})"
