"""numpy on the wire: arrays, scalars and complex numbers as bec_lib writes them (byte-string keys)."""

from __future__ import annotations

import enum
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import DecodeError, InvalidMessage

__all__ = ["encode_numpy", "plain_numbers", "read_array", "read_complex", "read_scalar", "to_array"]

AnyArray = NDArray[Any]
_ALLOWED_KINDS = "biufcSUMmV?"


def to_array(target: type, value: object) -> object:
    """
    Convert for a field whose type msgspec does not know (its ``dec_hook``).

    Args:
        target: The type of the field.
        value: What was given.

    Returns:
        The value itself when it is an array.

    Raises:
        TypeError: If it is anything else; a list is not silently made an array, as in bec_lib.
    """
    if isinstance(value, target):
        return value
    raise TypeError(f"Expected `{target.__name__}`, got `{type(value).__name__}`")


def encode_numpy(value: object) -> dict[str, Any]:
    """
    Describe a numpy value or complex number for the wire (msgspec's ``enc_hook``).

    Args:
        value: An array, numpy scalar or complex number.

    Returns:
        The codec map that bec_lib reads.

    Raises:
        InvalidMessage: If the value cannot travel, such as an array of objects.
    """
    if isinstance(value, np.ndarray):
        return _codec("ndarray", type(value).__name__, _array_data(value))
    if isinstance(value, np.bool_):
        return _codec("bool", type(value).__name__, _scalar_data(value))
    if isinstance(value, (np.datetime64, np.timedelta64, np.void, np.object_)):
        raise InvalidMessage(
            f"a {type(value).__name__} cannot be sent: send a number of seconds or plain fields"
        )
    if isinstance(value, np.number):
        return _codec("number", type(value).__name__, _scalar_data(value))
    if isinstance(value, complex):
        return _codec("complex", "complex", {b"complex": True, b"data": repr(value)})
    raise InvalidMessage(
        f"a value of type `{type(value).__name__}` cannot be sent: "
        "use numbers, text, bytes, lists, dicts or arrays"
    )


def _codec(encoder: str, type_name: str, data: object) -> dict[str, Any]:
    return {"__bec_codec__": {"encoder_name": encoder, "type_name": type_name, "data": data}}


def _scalar_data(value: np.generic) -> dict[bytes, Any]:
    return {b"nd": False, b"type": value.dtype.str, b"data": value.tobytes()}


def _array_data(array: AnyArray) -> dict[bytes, Any]:
    if array.dtype.hasobject:
        raise InvalidMessage("an array of Python objects cannot be sent: give it a numeric or text dtype")
    if array.dtype.kind in "mM":
        raise InvalidMessage(f"an array of {array.dtype} cannot be sent: send seconds as float64")
    structured = array.dtype.kind == "V"
    castable = array.dtype.kind in "biufc" and array.ndim > 0 and array.size > 0 and array.dtype.isnative
    data = np.ascontiguousarray(array).data.cast("B") if castable else array.tobytes()
    return {
        b"nd": True,
        b"type": array.dtype.descr if structured else array.dtype.str,
        b"kind": b"V" if structured else b"",
        b"shape": array.shape,
        b"data": data,
    }


def read_array(data: object) -> AnyArray:
    """
    Build an array from the inner map of an ``ndarray`` codec.

    Args:
        data: The decoded map; keys are byte strings.

    Returns:
        A read-only array over the received bytes; nothing is copied.

    Raises:
        DecodeError: If dtype, shape and number of bytes do not belong together.
    """
    try:
        fields = cast("dict[bytes, Any]", data)
        dtype = _dtype(fields[b"type"])
        raw = fields[b"data"]
        shape = tuple(int(n) for n in fields[b"shape"])
        if any(n < 0 for n in shape) or not isinstance(raw, (bytes, memoryview)):
            raise DecodeError(f"array of shape {shape}: not a shape, or no bytes")
        return np.ndarray(shape, dtype, raw)
    except DecodeError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, MemoryError) as error:
        raise DecodeError(f"not a valid array: {error}") from error


def read_scalar(data: object) -> np.generic:
    """
    Build a numpy scalar from the inner map of a ``number`` or ``bool`` codec.

    Raises:
        DecodeError: If dtype and bytes do not belong together.
    """
    try:
        fields = cast("dict[bytes, Any]", data)
        values = np.frombuffer(fields[b"data"], _dtype(fields[b"type"]))
        return cast("np.generic", values[0])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DecodeError(f"not a valid number: {error}") from error


def read_complex(data: object) -> complex:
    """
    Read a complex number that was written as text.

    Raises:
        DecodeError: If the text is not a number.
    """
    try:
        return complex(cast("dict[bytes, Any]", data)[b"data"])
    except (KeyError, TypeError, ValueError) as error:
        raise DecodeError(f"not a complex number: {error}") from error


def _dtype(description: object) -> np.dtype[Any]:
    dtype: np.dtype[Any]
    if isinstance(description, (list, tuple)):
        fields = [tuple(tuple(x) if isinstance(x, list) else x for x in f) for f in description]
        dtype = np.dtype(cast("Any", fields))
    else:
        dtype = np.dtype(cast("str", description))
    if dtype.hasobject or dtype.kind not in _ALLOWED_KINDS or dtype.itemsize == 0:
        raise DecodeError(f"arrays of dtype {dtype} are not accepted")
    return dtype


def plain_numbers(value: Any) -> Any:
    """Replace numpy scalars and enumerations by Python's plain values, inside lists and dicts too."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, dict):
        return {plain_numbers(k): plain_numbers(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_numbers(v) for v in value]
    return value
