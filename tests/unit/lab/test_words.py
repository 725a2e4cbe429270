"""From typed words to a request."""

from __future__ import annotations

import pytest

from labspine.errors import InvalidArgument
from labspine.lab import words_to_request


@pytest.mark.parametrize(
    ("line", "args", "kwargs"),
    [
        ("scan det x -5 5 101", [["det"], "x", -5, 5, 101], {}),
        ("scan det,i0 x -5.5 1e1 num=11", [["det", "i0"], "x", -5.5, 10.0], {"num": 11}),
        ("list_scan det x [1,2.5,3]", [["det"], "x", [1, 2.5, 3]], {}),
        (
            "grid_scan det x 0 1 2 y 0 1 2 snake_axes=True",
            [["det"], "x", 0, 1, 2, "y", 0, 1, 2],
            {"snake_axes": True},
        ),
        ("count detectors=det,det2 num=None", [], {"detectors": ["det", "det2"], "num": None}),
        ("mv x 3 y -2", ["x", 3, "y", -2], {}),
        ("count det sample='LaB6'", [["det"]], {"sample": "LaB6"}),
        ("count det sample=LaB6", [["det"]], {"sample": "LaB6"}),
        ("count [det,i0] 3", [["det", "i0"], 3], {}),
        ("count det __import__('os').getcwd()", [["det"], "__import__('os').getcwd()"], {}),
        ("count det 1==1", [["det"], "1==1"], {}),
        ("count det a=b=c", [["det"]], {"a": "b=c"}),
    ],
)
def test_words_become_values(line: str, args: list[object], kwargs: dict[str, object]) -> None:
    plan, *words = line.split()
    request = words_to_request(plan, words)
    assert request.scan_type == plan
    assert request.parameter == {"args": args, "kwargs": kwargs}


def test_first_parameter_decides_about_detectors() -> None:
    assert words_to_request("align", ["x", "5"], first_parameter="motor").parameter["args"] == ["x", 5]
    assert words_to_request("mv", ["x"], first_parameter="detectors").parameter["args"] == [["x"]]


def test_metadata_goes_along() -> None:
    assert words_to_request("count", ["det"], metadata={"sample": "a"}).metadata == {
        "user_metadata": {"sample": "a"}
    }
    assert words_to_request("count", ["det"]).metadata == {}


@pytest.mark.parametrize("words", [["det", "num=1", "num=2"], ["num=1", "det"], ["det", "9" * 100_001]])
def test_what_cannot_be_meant_is_refused(words: list[str]) -> None:
    with pytest.raises(InvalidArgument):
        words_to_request("count", words)


def test_deep_nesting_stays_text() -> None:
    deep = "[" * 5000
    assert words_to_request("count", ["det", deep]).parameter["args"][1] == deep
