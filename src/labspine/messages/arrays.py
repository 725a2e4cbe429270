"""
numpy on the wire: arrays, scalars and complex numbers as bec_lib writes them (byte-string keys).

numpy is imported when the first array is met: a program that sends small messages starts without it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from ..errors import DecodeError, InvalidMessage, TooLarge
from .limits import MAX_PAYLOAD_BYTES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]
else:

    class _ArrayMeta(type):
        def __instancecheck__(cls, value: object) -> bool:
            numpy = sys.modules.get("numpy")
            return numpy is not None and isinstance(value, numpy.ndarray)

    Array = _ArrayMeta(
        "ndarray", (), {"__doc__": "The type of array fields: any numpy.ndarray; a list is not made one."}
    )


__all__ = [
    "LARGE_ARRAY_BYTES",
    "Array",
    "LargeArray",
    "encode_numpy",
    "read_array",
    "read_complex",
    "read_scalar",
]

LARGE_ARRAY_BYTES = 32 * 1024
_ALLOWED_KINDS = "biufcSUMmV?"


class LargeArray(Exception):
    """Signal of `encode_numpy`: start again in one piece, so that the array is copied once only."""


def encode_numpy(value: object, *, large: bool) -> dict[str, Any]:
    """
    Describe a numpy value or complex number for the wire (msgspec's ``enc_hook``).

    Args:
        value: An array, numpy scalar or complex number.
        large: Whether large arrays may be written here.

    Returns:
        The codec map that bec_lib reads.

    Raises:
        InvalidMessage: If the value cannot travel, such as an array of objects.
        TooLarge: If an array has more bytes than a payload may have; nothing was copied.
        LargeArray: If an array is large and ``large`` is false.
    """
    np = sys.modules.get("numpy")
    if np is not None:
        if isinstance(value, np.ndarray):
            if value.nbytes > LARGE_ARRAY_BYTES:
                _check_size(value, large=large)
            return _codec("ndarray", type(value).__name__, _array_data(np, value))
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


def _check_size(array: Array, *, large: bool) -> None:
    if array.nbytes > MAX_PAYLOAD_BYTES:
        raise TooLarge(
            f"an array of {array.nbytes} bytes: at most {MAX_PAYLOAD_BYTES} can be sent; "
            "write it to a file and send its place"
        )
    if not large:
        raise LargeArray


def _codec(encoder: str, type_name: str, data: object) -> dict[str, Any]:
    return {"__bec_codec__": {"encoder_name": encoder, "type_name": type_name, "data": data}}


def _scalar_data(value: np.generic) -> dict[bytes, Any]:
    return {b"nd": False, b"type": value.dtype.str, b"data": value.tobytes()}


def _array_data(np: ModuleType, array: Array) -> dict[bytes, Any]:
    if isinstance(array, np.ma.MaskedArray):
        raise InvalidMessage("a masked array would lose its mask: send array.filled(...) and the mask")
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


def read_array(data: object) -> Array:
    """
    Build an array from the inner map of an ``ndarray`` codec.

    Args:
        data: The decoded map; keys are byte strings.

    Returns:
        A read-only array over the received bytes; nothing is copied.

    Raises:
        DecodeError: If dtype, shape and number of bytes do not belong together.
    """
    import numpy as np

    if isinstance(data, np.ndarray):
        return data
    try:
        fields = cast("dict[bytes, Any]", data)
        dtype = _dtype(fields[b"type"])
        raw = fields[b"data"]
        shape = tuple(int(n) for n in fields[b"shape"])
        if isinstance(raw, np.ndarray):
            return raw.astype(dtype, copy=False).reshape(
                shape
            )  # a MaskedArray of bec_lib holds its values so
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
    import numpy as np

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
    import numpy as np

    dtype: np.dtype[Any]
    if isinstance(description, (list, tuple)):
        fields = [tuple(tuple(x) if isinstance(x, list) else x for x in f) for f in description]
        dtype = np.dtype(cast("Any", fields))
    else:
        dtype = np.dtype(cast("str", description))
    if dtype.hasobject or dtype.kind not in _ALLOWED_KINDS or dtype.itemsize == 0:
        raise DecodeError(f"arrays of dtype {dtype} are not accepted")
    return dtype
