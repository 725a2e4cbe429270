"""Whatever happens to the end of a journal: what is read is the beginning of what was written."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from labspine.engine.journal.frames import HEAD_BYTES, encode_frame, frames, plain_bytes

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
records = st.lists(st.lists(values, min_size=1, max_size=4), max_size=8)


def written(items: list[Any]) -> bytes:
    return b"".join(encode_frame(item) for item in items)


def read(data: bytes) -> list[Any]:
    return [record for _, record in frames(data)]


@given(records)
def test_what_was_written_is_read(items: list[Any]) -> None:
    assert read(written(items)) == items


@given(records, st.integers(0, 10_000), st.integers(0, 64))
def test_a_torn_end_is_cut_and_the_rest_is_whole(items: list[Any], cut: int, zeros: int) -> None:
    data = written(items)
    torn = data[: cut % (len(data) + 1)] + bytes(zeros)

    found = read(torn)

    assert found == items[: len(found)]
    whole = sum(1 for end, _ in frames(data) if end <= cut % (len(data) + 1))
    assert len(found) >= whole


@given(records.filter(bool), st.data())
def test_a_changed_byte_never_becomes_a_record(items: list[Any], data: st.DataObject) -> None:
    raw = bytearray(written(items))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))

    found = read(bytes(raw))

    assert found == items[: len(found)]
    assert len(found) < len(items)


@settings(max_examples=50)
@given(
    st.sampled_from(["f8", "i4", "u1", "?", "c8", "M8[s]", "U3", "S4"]),
    st.lists(st.integers(0, 4), max_size=3),
)
def test_arrays_come_back_as_they_were(kind: str, shape: list[int]) -> None:
    array = np.zeros(shape, dtype=kind)

    ((found,),) = read(written([[array]]))

    if array.shape == ():
        assert plain_bytes(found) == plain_bytes(array.item())
    else:
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


def test_the_room_behind_the_last_record_is_no_record() -> None:
    assert read(bytes(10 * HEAD_BYTES)) == []
    assert read(written([["a"]]) + bytes(10 * HEAD_BYTES)) == [["a"]]
