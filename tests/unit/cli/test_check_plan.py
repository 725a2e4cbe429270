"""The command ``labspine check-plan`` on the simulated beamline."""

from __future__ import annotations

import json
from typing import Any

import pytest

from labspine.cli.main import app


def run(*words: str) -> int:
    result = app(["check-plan", "--demo", *words], standalone_mode=False)
    return result if isinstance(result, int) else 0


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_points_positions_and_duration_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("scan", "det", "x", "-5", "5", "101", "--json") == 0
    facts = said(capsys)
    assert (facts["accepted"], facts["points"], facts["runs"]) == (True, 101, 1)
    way = {"first": -5.0, "last": 5.0, "lowest": -5.0, "highest": 5.0, "moves": 101}
    assert facts["trajectory"] == {"x": way}
    assert facts["duration_s"] > 1
    assert facts["size_bytes"] > 101 * 8


def test_a_person_reads_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    run("rel_scan", "det", "x", "-3", "3", "11")
    text = capsys.readouterr().out
    assert "accepted: 1 run, 11 points" in text
    assert "from -3 to 3" in text
    assert "takes at least" in text


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("scan", "det", "x", "-5", "500", "101"), "outside limits"),
        (("scan", "dett", "x", "-5", "5", "101"), "did you mean"),
        (("scam", "det", "x", "-5", "5", "101"), "did you mean"),
        (("scan", "det", "x", "-5", "5", "0"), "whole number"),
    ],
)
def test_a_refused_plan_gives_its_reason_and_code_2(
    words: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words, "--json") == 2
    facts = said(capsys)
    assert facts["accepted"] is False
    assert reason in facts["reason"]


def test_without_a_lab_it_asks_for_one() -> None:
    from labspine.errors import ConfigError

    with pytest.raises(ConfigError, match="--demo"):
        app(["check-plan", "count", "det"], standalone_mode=False)


def test_the_first_steps_and_the_devices_are_listed_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("scan", "det", "x", "-5", "5", "3", "--steps", "5", "--json") == 0
    facts = said(capsys)
    assert facts["first_steps"][-1].startswith("set x -5.0")
    assert (len(facts["first_steps"]), facts["steps_by_command"]["set"]) == (5, 3)
    assert facts["devices"] == ["det", "x"]
    run("scan", "det", "x", "-5", "5", "3", "--steps", "2")
    assert "1 stage det" in capsys.readouterr().out
    run("scan", "det", "x", "-5", "5", "3", "--json")
    assert "first_steps" not in said(capsys)
