"""Type hints as checks, and procedures as they are called and described."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest

from labspine import messages as m
from labspine.errors import ConfigError, InvalidArgument, InvalidMessage
from labspine.service import procedure
from labspine.service.hints import check_of, schema_of
from labspine.service.procedures import Procedure, ProcedureOptions, find_procedures


@dataclass
class Point:
    x: float
    y: float = 0.0


VARIABLE = m.VariableMessage(value=1)
STATUS = m.StatusMessage(name="a", status=1, info={})
ARRAY = np.zeros(3)


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (float, 3, "3"),
        (int, np.int64(3), 1.5),
        (int, 3, True),
        (bool, True, 1),
        (str, "a", b"a"),
        (bytes, b"a", "YQ=="),
        (list[int], [1, np.int64(2)], ["a"]),
        (dict[str, float], {"a": np.float64(1)}, {"a": "b"}),
        (tuple[int, str], [1, "a"], [1]),
        (Point, {"x": 1}, {"y": 1}),
        (float | None, None, "a"),
        (Literal["a", "b"], "a", "c"),
        (np.ndarray, ARRAY, [1.0]),
        (npt.NDArray[np.float64], ARRAY, 1.0),
        (m.VariableMessage, VARIABLE, STATUS),
        (m.Message, STATUS, {"value": 1}),
        (m.VariableMessage | m.StatusMessage, STATUS, 3),
        (m.VariableMessage | None, None, STATUS),
        (list[m.VariableMessage], [VARIABLE], [STATUS]),
        (np.ndarray | None, None, 3),
    ],
)
def test_a_hint_lets_through_what_fits_and_nothing_else(hint: Any, good: Any, bad: Any) -> None:
    check = check_of(hint, where="here")
    assert check is not None
    assert check(good) is not NotImplemented
    with pytest.raises(InvalidMessage, match=r"Expected|missing|Invalid"):
        check(bad)


def test_no_hint_and_any_let_everything_through() -> None:
    assert check_of(Any, where="here") is None
    assert check_of(object, where="here") is None
    assert check_of(Any | None, where="here") is None


def test_values_are_converted_to_the_declared_type() -> None:
    assert check_of(float, where="")(3) == 3.0  # type: ignore[misc]  # not None
    assert check_of(Point, where="")({"x": 1}) == Point(1.0)  # type: ignore[misc]
    assert type(check_of(int, where="")(np.int64(3))) is int  # type: ignore[misc]


def test_types_that_cannot_travel_are_told() -> None:
    for wrong in (len, "text", 3):
        with pytest.raises(ConfigError, match="here: values of type"):
            check_of(wrong, where="here")


def test_schemas_of_hints() -> None:
    assert schema_of(float)[0] == {"type": "number"}
    assert schema_of(Any) == ({}, {})
    assert schema_of(np.ndarray)[0]["title"] == "ndarray"
    schema, parts = schema_of(Point)
    assert schema == {"$ref": "#/$defs/Point"}
    assert parts["Point"]["required"] == ["x"]
    assert schema_of(m.VariableMessage | None)[1]["VariableMessage"]


def every_kind(a: int, /, b: int, *rest: int, c: int, d: int = 4, **more: int) -> list[int]:
    """Take arguments of each kind."""
    return [a, b, *rest, c, d, *more.values()]


def test_arguments_of_each_kind_are_bound() -> None:
    found = Procedure(every_kind)
    args, kwargs = found.bind([1, 2, 3], {"c": 5, "e": 6})
    assert found.function(*args, **kwargs) == [1, 2, 3, 5, 4, 6]
    for wrong in (([1], {"c": 5}), ([1, 2], {}), ([1, 2, "x"], {"c": 5}), ([1, 2], {"c": 5, "e": "x"})):
        with pytest.raises(InvalidArgument, match="every_kind"):
            found.bind(*wrong)


def test_the_description_has_signature_documentation_and_schemas() -> None:
    told = Procedure(every_kind, ProcedureOptions(name="every", idempotent=True)).describe()
    assert told["name"] == "every"
    assert told["doc"] == "Take arguments of each kind."
    assert told["parameters"]["required"] == ["a", "b", "c"]
    assert told["result"] == {"type": "array", "items": {"type": "integer"}}
    assert told["idempotent"]
    assert not told["stream"]


def test_a_generator_gives_items_of_its_declared_type() -> None:
    def count(most: int) -> Iterator[int]:
        yield from range(most)

    found = Procedure(count)
    assert found.is_stream
    assert found.checked_result(3) == 3
    with pytest.raises(InvalidMessage, match="count"):
        found.checked_result("x")


def test_marked_methods_of_all_kinds_and_bases_are_found() -> None:
    class Base:
        @procedure
        def one(self) -> int:
            return 1

    class Device(Base):
        @procedure(name="second")
        def two(self) -> int:
            return 2

        @staticmethod
        @procedure
        def three() -> int:
            return 3

        @classmethod
        @procedure
        def four(cls) -> int:
            return 4

        def hidden(self) -> int:
            raise AssertionError

        @property
        def broken(self) -> int:
            raise AssertionError("properties are not touched")

    found = {one.name: one.function() for one in find_procedures(Device())}
    assert found == {"one": 1, "second": 2, "three": 3, "four": 4}


@pytest.mark.parametrize(
    "options", [{"timeout_s": 0}, {"timeout_s": -1}, {"concurrency": 0}, {"max_waiting": -1}, {"retry": 1}]
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        procedure(**options)


def test_hints_that_cannot_be_resolved_are_told() -> None:
    def wrong(value: NotThere) -> None:  # type: ignore[name-defined]  # noqa: F821
        ...

    with pytest.raises(ConfigError, match="cannot be resolved"):
        Procedure(wrong)
