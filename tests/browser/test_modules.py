"""The page's own modules that only think, run where they will run: in a browser."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from labspine.gateway import Gateway
from labspine.lab.peaks import peak_statistics

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def run(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Call a function of a module of the page; no broker is needed for that."""
    nowhere = tmp_path_factory.mktemp("none") / "none.sock"
    context = chromium.new_context()
    with Gateway(f"unix://{nowhere}", port=0) as gateway:
        page = context.new_page()
        page.goto(gateway.url)

        def call(module: str, code: str, argument: object = None) -> Any:
            return page.evaluate(
                f"async (arg) => {{ const m = await import('/static/{module}.js'); return {code}; }}",
                argument,
            )

        yield call
        context.close()


def test_sweeps(run: Callable[..., Any]) -> None:
    def ranges(xs: list[float]) -> list[list[int]]:
        return run("sweeps", "m.splitSweeps(arg).map((s) => [s.first, s.last])", xs)

    assert ranges([]) == []
    assert ranges([4]) == [[0, 0]]
    assert ranges([0, 1, 2, 3]) == [[0, 3]]
    assert ranges([3, 2, 1, 0]) == [[0, 3]]
    # there and back: the turn belongs to both
    assert ranges([0, 1, 2, 3, 2, 1, 0]) == [[0, 3], [3, 6]]
    # a raster: no line along the way back
    assert ranges([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]) == [[0, 3], [4, 7], [8, 11]]
    # a snake: two points at each turn
    assert ranges([0, 1, 2, 3, 3, 2, 1, 0, 0, 1, 2, 3]) == [[0, 4], [4, 8], [8, 11]]
    # standing still, trembling a little, and no number at all are no turns
    assert ranges([1, 1, 1, 1]) == [[0, 3]]
    assert ranges([0, 1, 1.999, 2.001, 2.0, 3, 4]) == [[0, 6]]


def test_the_fast_axis_is_the_one_to_plot_against(run: Callable[..., Any]) -> None:
    def fastest(**axes: list[float]) -> str | None:
        return run("sweeps", "m.fastestAxis(new Map(Object.entries(arg)))", axes)

    slow, fast = [0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 2, 0, 1, 2, 0, 1, 2]
    assert fastest(slow=slow, fast=fast) == "fast"
    assert fastest(a=[0, 1, 2], b=[5, 6, 7]) == "a"
    assert fastest(a=[1, 1, 1]) is None
    assert fastest() is None


def test_peak_figures_of_a_gaussian(run: Callable[..., Any]) -> None:
    xs = [-5 + 0.05 * i for i in range(201)]
    ys = [1000 * math.exp(-((x - 0.7) ** 2) / (2 * 1.2**2)) for x in xs]
    # measured in any order, it is the same peak
    order = random.Random(1).sample(range(201), 201)
    peak = run("peaks", "m.peakOf(arg[0], arg[1])", [[xs[i] for i in order], [ys[i] for i in order]])
    assert peak["max"] == max(ys)
    assert peak["at"] == pytest.approx(0.7)
    assert peak["centre"] == pytest.approx(0.7, abs=1e-3)
    assert peak["fwhm"] == pytest.approx(2.3548 * 1.2, rel=1e-3)


def test_peak_figures_where_there_is_no_peak(run: Callable[..., Any]) -> None:
    def peak(xs: list[float], ys: list[float | None]) -> Any:
        return run("peaks", "m.peakOf(arg[0], arg[1].map((v) => v ?? NaN))", [xs, ys])

    assert peak([], []) is None
    assert peak([1], [None]) is None
    one = peak([1, 2], [None, 5])
    assert (one["max"], one["at"], one["centre"], one["fwhm"]) == (5, 2, None, None)
    rising = peak([1, 2, 3], [1, 2, 3])
    assert (rising["at"], rising["fwhm"], rising["right"]) == (3, None, None)
    flat = peak([1, 2, 3], [4, 4, 4])
    assert (flat["max"], flat["centre"]) == (4, None)
    triangle = peak([0, 1, 2], [0, 10, 0])
    assert (triangle["centre"], triangle["fwhm"], triangle["left"], triangle["right"]) == (1, 1, 0.5, 1.5)


def test_the_store_keeps_each_point_once_in_order(run: Callable[..., Any]) -> None:
    batches = [
        {"start": 0, "point_ids": [0, 2, 5], "times_utc_s": [1, 2, None], "columns": {"x": [0, 2, 5]}},
        {
            "start": 3,
            "point_ids": [1, 2, 4],
            "times_utc_s": [1, 2, 3],
            "columns": {"x": [1, 99, 4], "y": [7, 8, None]},
        },
        {"start": 2, "point_ids": [5, 3], "times_utc_s": [1, 2], "columns": {"y": [9, 3], "x": [99, 3]}},
    ]
    kept = run(
        "store",
        """(() => { const s = new m.PointStore(); s.belongsTo("e", "s"); arg.forEach((b) => s.add(b));
           const list = (c) => Array.from(c).map((v) => (Number.isNaN(v) ? null : v));
           return { ids: list(s.ids.view()), x: list(s.column("x")), y: list(s.column("y")), at: s.position(),
                    none: list(s.column("z")) }; })()""",
        batches,
    )
    assert kept["ids"] == [0, 1, 2, 3, 4, 5]
    assert kept["x"] == [0, 1, 2, 3, 4, 5]
    assert kept["y"] == [None, 7, None, 3, None, None]
    assert kept["none"] == []
    assert kept["at"] == {"epoch": "e", "scan_id": "s", "have": 6}


def test_the_store_is_bounded(run: Callable[..., Any]) -> None:
    sizes = run(
        "store",
        """(() => { const s = new m.PointStore(); s.belongsTo("e", "s");
           for (let k = 0; k < 60; k += 1) {
             const ids = Array.from({ length: 2000 }, (_, i) => 2000 * k + i);
             s.add({ start: 2000 * k, point_ids: ids, times_utc_s: ids, columns: { x: ids } });
           }
           return [s.length, s.ids.values[0], s.column("x").at(-1), s.next]; })()""",
    )
    assert sizes == [100_000, 20_000, 119_999, 120_000]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1000, "1000"), (-1.25, "\u22121.25"), (0.00012345678, "0.00012346"), (1.5e9, "1.500e9"),
        (123.456789, "123.46"), (2e-7, "2.000e\u22127"), (None, "\u2013"),
    ],
)  # fmt: skip
def test_numbers_are_short(run: Callable[..., Any], value: float | None, text: str) -> None:
    assert run("format", "m.number(arg)", value) == text


def test_a_column_of_numbers_has_the_same_decimals(run: Callable[..., Any]) -> None:
    def texts(*values: float | None) -> list[str]:
        return run("format", "m.column(arg.map((v) => v ?? NaN))", values)

    assert texts(2.1, 2, 1.95, None) == ["2.10", "2.00", "1.95", "\u2013"]
    assert texts(100, 7) == ["100", "7"]
    assert texts(1e-9, 1) == ["1.000e\u22129", "1"]


@pytest.mark.parametrize("seed", range(20))
def test_peak_figures_are_those_of_the_python_side(run: Callable[..., Any], seed: int) -> None:
    # Given curves with noise, repeated positions, holes, flat parts, with the peak inside or at the edge
    rng = random.Random(seed)
    xs = [round(rng.uniform(-4, 4), rng.choice([0, 1, 3])) for _ in range(rng.choice([1, 2, 3, 20, 200]))]
    centre, width, height = rng.uniform(-4, 4), rng.uniform(0.3, 3), rng.choice([0, 10, 1e6])
    ys = [height * math.exp(-(((x - centre) / width) ** 2)) + rng.choice([0, 0.1]) * rng.random() for x in xs]
    holes = [None if rng.random() < 0.05 else y for y in ys]
    # When both sides look at them
    page = run("peaks", "m.peakOf(arg[0], arg[1].map((v) => v ?? NaN))", [xs, holes])
    here = peak_statistics(xs, [math.nan if y is None else y for y in holes])
    # Then they see the same
    if here.count == 0:
        assert page is None
        return
    pairs = [
        (page["max"], here.max_value), (page["at"], here.max_position), (page["centre"], here.centre),
        (page["fwhm"], here.fwhm), (page["left"], here.left_half_position),
        (page["right"], here.right_half_position),
    ]  # fmt: skip
    for shown, computed in pairs:
        assert shown == (None if computed is None else pytest.approx(computed, rel=1e-9, abs=1e-9))


def test_durations(run: Callable[..., Any]) -> None:
    assert run("format", "[0, 61, 3599.6, 86399].map(m.duration)") == [
        "00:00",
        "01:01",
        "01:00:00",
        "23:59:59",
    ]
