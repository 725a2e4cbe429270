"""The quick look at documents beside the schemas: it never lets through what a schema refuses."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import event_model
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labspine.engine import InvalidDocument, Msg, RunEngine
from labspine.engine.documents import compose
from labspine.engine.documents.plain import (
    is_surely_descriptor,
    is_surely_start,
    is_surely_stop,
    unstorable,
)

KEYS = st.sampled_from(
    ["a", "b.c", "d/e", "", "sample", "scan_id", "hints", "dimensions", "fields", "owner", "data_groups"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
DATA_KEY_NAMES = st.sampled_from(
    ["dtype", "shape", "source", "units", "precision", "external", "dims", "object_name", "limits", "extra"]
)
VALUES = st.one_of(
    TREES, st.sampled_from(["number", "array", "STREAM:", "OLD:", "x"]), st.lists(st.integers(), max_size=2)
)
DATA_KEYS = st.dictionaries(DATA_KEY_NAMES, VALUES, max_size=5).map(
    lambda extra: {"dtype": "number", "shape": [], "source": "s", **extra}
)


def is_valid(name: str, doc: dict[str, Any]) -> bool:
    try:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
    except Exception:
        return False
    return True


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, TREES, max_size=5))
def test_what_is_surely_a_start_is_one(metadata: dict[str, Any]) -> None:
    doc = {"uid": "u", "time": 1.0, **metadata}
    assert not is_surely_start(doc) or is_valid("start", doc)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, DATA_KEYS, max_size=3), st.dictionaries(KEYS, TREES, max_size=2), st.booleans())
def test_what_is_surely_a_descriptor_is_one(keys: Any, hints: Any, is_configured: bool) -> None:
    configuration = {"o": {"data": {}, "timestamps": {}, "data_keys": keys}} if is_configured else {}
    doc = {"name": "primary", "data_keys": keys, "configuration": configuration, "hints": hints}
    doc |= {"uid": "u", "time": 1.0, "run_start": "r", "object_keys": {"o": list(keys)}, "object_classes": {}}
    assert not is_surely_descriptor(doc) or is_valid("descriptor", doc)


def test_usual_documents_need_no_schema() -> None:
    start = {"uid": "u", "time": 1.0, "scan_id": 3, "sample": {"name": "dirt"}, "plan_args": {"num": 3}}
    assert is_surely_start({**start, "hints": {"dimensions": [(("time",), "primary")]}})
    key = {"dtype": "array", "shape": [3, None], "source": "s", "units": None, "external": "STREAM:"}
    parts: dict[str, Any] = {
        "configuration": {},
        "hints": {"d": {"fields": ["d"]}},
        "object_keys": {"d": ["d"]},
    }
    assert is_surely_descriptor({"name": "primary", "data_keys": {"d": key}, **parts})
    assert is_surely_stop({"exit_status": "abort", "reason": "enough", "num_events": {"primary": 3}})
    assert not is_surely_stop({"exit_status": "fine", "reason": "", "num_events": {}})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), '"bad" is <object'),
        ({"deep": [1, lambda: 1]}, '"bad.deep[1]" is <function'),
        (np.array([object()]), '"bad" is an array of objects'),
    ],
)
def test_metadata_that_cannot_be_stored_is_refused_before_the_run(value: Any, words: str) -> None:
    docs: list[str] = []
    with RunEngine(context_managers=[]) as engine:
        with pytest.raises(InvalidDocument) as refused:
            engine([Msg("open_run", None, bad=value)], lambda name, doc: docs.append(name))
        assert words in str(refused.value)
        assert "cannot be stored" in str(refused.value)
        assert docs == []
        assert "scan_id" not in engine.md


def test_what_files_and_databases_can_hold_is_accepted() -> None:
    good = [1, 2.5, "t", None, b"x", np.arange(3), np.float64(1), datetime.datetime.now(), Path("f"), {1, 2}]
    assert unstorable({"list": good, "tuple": ("a", {"b": True})}) is None
    loop: list[Any] = []
    loop.append(loop)
    assert "levels deep" in str(unstorable({"loop": loop}))


def test_a_quick_look_costs_less_than_a_tenth_of_the_schema() -> None:
    import timeit

    doc = compose.start({"scan_id": 1, "plan_name": "count", "detectors": ["d"], "plan_args": {"num": 1}})
    quick = min(timeit.repeat(lambda: is_surely_start(doc), number=50, repeat=5))
    full = min(timeit.repeat(lambda: compose.check("start", doc), number=50, repeat=5))
    assert quick < full / 10
