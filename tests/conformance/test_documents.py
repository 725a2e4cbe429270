"""Documents beside bluesky's: the same plans, unmodified, on equal devices, through both engines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import bluesky
import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import event_model
import numpy as np
import pytest
from bluesky.callbacks.core import LiveTable
from ophyd.sim import SynGauss, SynSignal, hw

from labspine.engine import Msg, RunEngine

VOLATILE = {"uid", "time", "timestamps", "descriptor", "run_start", "resource", "datum_id", "versions"}


class Docs(list[tuple[str, dict[str, Any]]]):
    """Keeps documents, and refuses those that do not follow event-model."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # bluesky puts subscribers into a set

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
        self.append((name, doc))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self]


@pytest.fixture
def ours() -> Iterator[RunEngine]:
    with RunEngine(context_managers=[]) as engine:
        yield engine


@pytest.fixture
def theirs() -> Iterator[Any]:
    engine = bluesky.RunEngine({}, context_managers=[])
    yield engine
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join(5)
    engine.loop.close()


def plain(value: Any) -> Any:
    """Make a document comparable: without identifiers and times, arrays as lists."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items() if key not in VOLATILE}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value


def adaptive(h: Any) -> Any:
    return bp.adaptive_scan([h.det], "det", h.motor, -3, 3, 0.1, 1, target_delta=0.2, backstep=True)


def supplemented(h: Any) -> Any:
    extra = bpp.SupplementalData(baseline=[h.motor1, h.motor2], monitors=[], flyers=[])
    return extra(bp.count([h.det], 3))


def reconfigured(h: Any) -> Any:
    @bpp.run_decorator()
    def inner() -> Any:
        yield from bps.trigger_and_read([h.det])
        yield from bps.configure(h.det, {"sigma": 2})
        yield from bps.trigger_and_read([h.det])

    return inner()


def two_runs(h: Any) -> Any:
    for key in ("a", "b"):
        yield Msg("open_run", run=key, purpose=key)
    for key in ("a", "b", "a"):
        yield Msg("create", run=key, name="primary")
        yield Msg("read", h.det1 if key == "a" else h.det2, run=key)
        yield Msg("save", run=key)
    yield Msg("close_run", run="b")
    yield Msg("close_run", run="a", exit_status="abort", reason="enough")


PLANS: dict[str, Callable[[Any], Any]] = {
    "count": lambda h: bp.count([h.det], 3, md={"sample": "dirt"}),
    "count two detectors": lambda h: bp.count([h.det1, h.det2], 2, delay=0.001),
    "scan": lambda h: bp.scan([h.det], h.motor, -1, 1, 5),
    "scan two motors": lambda h: bp.scan([h.det4], h.motor1, -1, 1, h.motor2, 0, 2, 4),
    "rel_scan": lambda h: bp.rel_scan([h.det], h.motor, -1, 1, 3),
    "list_scan": lambda h: bp.list_scan([h.det], h.motor, [3, 1, 2]),
    "rel_list_scan": lambda h: bp.rel_list_scan([h.det], h.motor, [3, 1, 2]),
    "grid_scan": lambda h: bp.grid_scan([h.det4], h.motor1, 0, 1, 3, h.motor2, 0, 1, 2, snake_axes=True),
    "rel_grid_scan": lambda h: bp.rel_grid_scan([h.det4], h.motor1, 0, 1, 2, h.motor2, 0, 1, 2),
    "log_scan": lambda h: bp.log_scan([h.det], h.motor, 0.1, 1, 3),
    "spiral": lambda h: bp.spiral([h.det4], h.motor1, h.motor2, 0, 0, 1, 1, 0.5, 4),
    "adaptive_scan": adaptive,
    "stubs without a run": lambda h: bps.mv(h.motor, 3),
    "SupplementalData": supplemented,
    "configure": reconfigured,
    "two runs": two_runs,
    "fly": lambda h: bp.fly([h.flyer1]),
    "image detector": lambda h: bp.count([h.img], 2),
    "direct image": lambda h: bp.count([h.direct_img], 2),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_makes_the_documents_that_bluesky_makes(
    name: str, ours: RunEngine, theirs: Any, tmp_path: Any
) -> None:
    mine, other = Docs(), Docs()
    ours(PLANS[name](hw(folder(tmp_path, "a"))), mine)
    theirs(PLANS[name](hw(folder(tmp_path, "b"))), other)
    assert mine.names == other.names
    for (kind, left), (_, right) in zip(mine, other, strict=True):
        assert left.keys() == right.keys(), kind
        assert plain(strip_paths(left)) == plain(strip_paths(right)), kind
    assert mine or name == "stubs without a run"


def strip_text(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if not isinstance(value, str)}


def folder(parent: Any, name: str) -> str:
    (parent / name).mkdir()
    return str(parent / name)


def strip_paths(doc: dict[str, Any]) -> dict[str, Any]:
    """Files and their identifiers are random."""
    # The representation of some devices contains memory addresses; the order of a set is anybody's guess.
    drop = {"plan_args", "root", "resource_path", "path_semantics", "datum_kwargs", "resource_kwargs"}
    doc = {key: value for key, value in doc.items() if key not in drop}
    if "motors" in doc:
        doc["motors"] = sorted(doc["motors"])
    if "configuration" in doc:
        parts = doc["configuration"].items()
        doc["configuration"] = {k: {**v, "data": strip_text(v["data"])} for k, v in parts}
    if "data" in doc:
        doc["data"] = strip_text(doc["data"])
        doc["data"] = {k: np.shape(v) if np.ndim(v) > 1 else v for k, v in doc["data"].items()}
    return doc


def test_references_between_documents_hold(ours: RunEngine) -> None:
    docs = Docs()
    h = hw()
    ours(bp.scan([h.det], h.motor, 0, 1, 4), docs)
    start, descriptor, *events, stop = [doc for _, doc in docs]
    assert descriptor["run_start"] == stop["run_start"] == start["uid"]
    assert {event["descriptor"] for event in events} == {descriptor["uid"]}
    assert len({doc["uid"] for _, doc in docs}) == len(docs)
    assert descriptor["data_keys"]["det"]["object_name"] == "det"
    assert "object_name" not in h.det.describe()["det"]


def test_metadata_of_the_call_wins_over_the_step_and_the_engine(ours: RunEngine) -> None:
    docs = Docs()
    ours.md.update(a="engine", b="engine", c="engine", nested={"deep": [1]})
    ours([Msg("open_run", None, a="step", b="step"), Msg("close_run")], docs, a="call")
    start = docs[0][1]
    assert (start["a"], start["b"], start["c"]) == ("call", "step", "engine")
    assert start["scan_id"] == ours.md["scan_id"] == 1
    ours.md["nested"]["deep"].append(2)
    assert start["nested"] == {"deep": [1]}
    assert {"bluesky", "event_model", "ophyd", "ophyd_async"} <= start["versions"].keys()


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"a.b": 1}, "dot"),
        ({"uid": "mine"}, "reserved"),
        ({"scan_id": "seven"}, "scan_id"),
        ({1: 2}, "must be text"),
    ],
)
def test_metadata_that_cannot_be_used_is_refused_and_uses_up_no_number(
    ours: RunEngine, metadata: Any, words: str
) -> None:
    docs = Docs()
    ours.md["scan_id"] = 41

    def source(md: Any) -> int:
        return 42

    ours.scan_id_source = source
    scan_id = ours.md["scan_id"]
    bad = {key: value for key, value in metadata.items() if key != 1}
    if 1 in metadata:
        ours.md[1] = 2  # type: ignore[index]
    with pytest.raises(ValueError, match=words):
        ours([Msg("open_run", None, **bad)], docs)
    assert ours.md["scan_id"] == scan_id
    assert docs == []


def test_a_live_table_shows_the_scan(ours: RunEngine, capsys: pytest.CaptureFixture[str]) -> None:
    h = hw()
    ours(bp.scan([h.det], h.motor, -1, 1, 3), LiveTable(["motor", "det"], default_prec=3))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert "-1.000" in lines[1]
    assert "0.607" in lines[1]


def test_the_best_effort_callback_is_content(ours: RunEngine, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    from bluesky.callbacks.best_effort import BestEffortCallback

    callback = BestEffortCallback()
    callback.disable_plots()
    h = hw()
    ours(bp.scan([h.det], h.motor, -1, 1, 3), callback)
    assert "generator scan" in capsys.readouterr().out


def test_devices_of_ophyd_that_call_from_threads_are_monitored(ours: RunEngine) -> None:
    docs = Docs()
    signal = SynSignal(func=lambda: 5, name="sig")

    def plan() -> Any:
        yield Msg("open_run")
        yield Msg("monitor", signal, name="sig_monitor")
        for _ in range(3):
            yield Msg("trigger", signal, group="g")
            yield Msg("wait", None, "g")
        yield Msg("unmonitor", signal)
        yield Msg("close_run")

    ours(plan(), docs)
    assert docs.names[:2] == ["start", "descriptor"]
    assert set(docs.names[2:-1]) == {"event"}
    assert docs[-1][1]["num_events"]["sig_monitor"] == docs.names.count("event")


def test_a_run_that_is_paused_and_resumed_makes_valid_documents(ours: RunEngine) -> None:
    docs = Docs()
    h = hw()
    det = SynGauss("g", h.motor, "motor", center=0, Imax=1)
    plan = bpp.pchain(bp.scan([det], h.motor, 0, 1, 3))

    def pausing() -> Any:
        seen = 0
        answer = None
        inner = iter(plan)
        while True:
            try:
                msg = inner.send(answer)
            except StopIteration:
                return
            answer = yield msg
            seen += msg.command == "save"
            if seen == 2:
                seen = 10
                yield Msg("pause")

    with pytest.raises(bluesky.RunEngineInterrupted):
        ours(pausing(), docs)
    ours.resume()
    assert [doc["seq_num"] for name, doc in docs if name == "event"] == [1, 2, 2, 3]
    assert docs[-1][1]["num_events"] == {"primary": 3}


def test_the_loop_of_the_engine_is_the_one_that_ophyd_async_finds(ours: RunEngine) -> None:
    from bluesky.run_engine import call_in_bluesky_event_loop, in_bluesky_event_loop

    async def where() -> tuple[Any, bool]:
        return asyncio.get_running_loop(), in_bluesky_event_loop()

    assert call_in_bluesky_event_loop(where(), timeout=5) == (ours.loop, True)
