"""The doors: results, the asynchronous door, Ctrl-C, imports, and the bridge to bluesky."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import bluesky
import bluesky.plans as bp
import pytest

from labspine.compat.bluesky import cheap_plans
from labspine.engine import AsyncRunEngine, EngineBusy, Msg, RunEngine, RunEngineInterrupted
from labspine.engine.documents import Emitter
from labspine.ids import new_uid


def test_a_call_gives_uids_or_a_result(kit: Any) -> None:
    def plan() -> Any:
        yield Msg("open_run")
        yield Msg("close_run")
        return "done"

    with RunEngine(context_managers=[], call_returns_result=True) as engine:
        result = engine(plan())
        assert (result.plan_result, result.exit_status, result.interrupted) == ("done", "success", False)
        assert len(result.run_start_uids) == 1
        with pytest.raises(RunEngineInterrupted):
            engine([Msg("pause")])
        result = engine.abort("why not")
        assert (result.exit_status, result.interrupted, result.reason) == ("abort", True, "why not")
        assert result.plan_result is engine.NO_PLAN_RETURN


def test_subscribers_of_a_call_end_with_it(engine: Any, kit: Any) -> None:
    once, starts = kit.Docs(), kit.Docs()
    plan = [Msg("open_run"), Msg("close_run")]
    engine(plan, {"all": once, "start": [starts]})
    engine(plan)
    assert once.names == ["start", "stop"]
    assert starts.names == ["start"]


def test_a_plan_can_subscribe_and_unsubscribe(engine: Any, kit: Any) -> None:
    kept = kit.Docs()

    def plan() -> Any:
        token = yield Msg("subscribe", None, kept, "all")
        yield Msg("open_run")
        yield Msg("unsubscribe", None, token)
        yield Msg("close_run")

    engine(plan())
    assert kept.names == ["start"]


def test_a_subscriber_that_is_registered_twice_is_called_once_until_both_are_gone() -> None:
    emitter, seen = Emitter(), []

    def keep(name: str, doc: Any) -> None:
        seen.append(name)

    first, second = emitter.subscribe(keep), emitter.subscribe(keep)
    emitter.emit("start", {})
    emitter.unsubscribe(first)
    emitter.emit("stop", {})
    emitter.unsubscribe(second)
    emitter.emit("event", {})
    assert seen == ["start", "stop"]
    assert not emitter.unsubscribe(second)


def test_documents_from_within_a_subscriber_wait_their_turn() -> None:
    emitter, seen = Emitter(), []

    def one(name: str, doc: Any) -> None:
        seen.append(("one", name))
        if name == "start":
            emitter.emit("event", {})

    emitter.subscribe(one)
    emitter.subscribe(lambda name, doc: seen.append(("two", name)))
    emitter.emit("start", {})
    assert seen == [("one", "start"), ("two", "start"), ("one", "event"), ("two", "event")]


def test_preprocessors_are_applied_in_order(engine: Any) -> None:
    def tagged(tag: str) -> Any:
        def wrap(plan: Any) -> Any:
            seen.append(tag)
            return (yield from plan)

        return wrap

    seen: list[str] = []
    engine.preprocessors.extend([tagged("f"), tagged("g")])
    engine([Msg("null")])
    assert seen == ["g", "f"]


def test_metadata_is_validated_and_normalised(kit: Any) -> None:
    def refuse(md: Any) -> None:
        if "secret" in md:
            raise PermissionError("no secrets")

    def normalise(md: Any) -> Any:
        return {**md, "normal": True}

    with RunEngine({"a": 1}, context_managers=[], md_validator=refuse, md_normalizer=normalise) as engine:
        docs = kit.Docs()
        with pytest.raises(PermissionError):
            engine([Msg("open_run", None, secret=1)], docs)
        engine([Msg("open_run"), Msg("close_run")], docs)
        assert docs.of("start")[0]["normal"] is True
        assert "normal" not in engine.md


def test_uids_are_version_4_and_differ() -> None:
    import uuid

    uids = {new_uid() for _ in range(1000)}
    assert len(uids) == 1000
    assert all(uuid.UUID(uid).version == 4 and uuid.UUID(uid).variant == uuid.RFC_4122 for uid in uids)


def test_a_closed_engine_is_gone(kit: Any) -> None:
    engine = RunEngine(context_managers=[])
    engine.close()
    engine.close()
    assert not engine._th.is_alive()
    with pytest.raises(EngineBusy, match="closed"):
        engine([])


def test_closing_does_not_wait_for_a_device_that_keeps_the_thread(kit: Any) -> None:
    engine, docs, let_go = RunEngine(context_managers=[]), kit.Docs(), threading.Event()
    engine.subscribe(docs)
    engine.exit_limit_s = 0.2
    motor, blocking = kit.Motor(), kit.Detector()
    blocking.read = lambda: let_go.wait(20) and {}
    steps = [Msg("open_run"), Msg("set", motor, 1.0), Msg("read", blocking)]
    caller = kit.Caller(lambda: engine(steps))
    kit.until(lambda: engine._session is not None and engine._session.step == len(steps))
    began = time.monotonic()
    engine.close()
    assert time.monotonic() - began < 5
    assert motor.stops == [False]
    assert [name for name, _ in docs] == ["start", "stop"]
    assert "keeps the engine's thread" in docs.of("stop")[0]["reason"]
    caller.join(5)
    assert isinstance(caller.error, RunEngineInterrupted)

    let_go.set()
    engine._th.join(5)
    engine.close()
    # Who comes back late has nothing more to say.
    assert docs.names == ["start", "stop"]
    assert engine.loop.is_closed()


def test_a_hook_that_raises_does_not_keep_the_caller_waiting(engine: Any, kit: Any) -> None:
    def broken(*args: Any) -> None:
        raise OSError("hook")

    engine.state_hook = broken
    assert kit.Caller(lambda: engine([Msg("null")])).finished().value == ()
    engine.msg_hook = broken
    with pytest.raises(OSError, match="hook"):
        engine([Msg("null")])


def test_a_device_that_blocks_does_not_block_requests(engine: Any, kit: Any) -> None:
    class Blocking(kit.Motor):
        def set(self, value: Any) -> Any:
            time.sleep(0.3)
            return super().set(value)

    motor = Blocking()
    call = kit.Caller(lambda: engine([Msg("set", motor, 1), Msg("sleep", None, 30)]))
    kit.until(lambda: engine.state.is_running)
    began = time.monotonic()
    engine.abort()
    assert time.monotonic() - began < 0.2
    assert isinstance(call.finished().error, RunEngineInterrupted)


# -- the asynchronous door ---------------------------------------------------------------------------


def test_the_asynchronous_door_performs_a_plan(kit: Any) -> None:
    async def main() -> Any:
        engine, docs, det = AsyncRunEngine(), kit.Docs(), kit.Detector()
        result = await engine.run(bp.count([det], 3), docs, sample="dirt")
        assert engine.state == "idle"
        return result, docs

    result, docs = asyncio.run(main())
    assert result.exit_status == "success"
    assert docs.names == ["start", "descriptor", "event", "event", "event", "stop"]
    assert docs.of("start")[0]["sample"] == "dirt"


def test_the_asynchronous_door_pauses_resumes_and_aborts(kit: Any) -> None:
    async def main() -> Any:
        engine, docs = AsyncRunEngine(), kit.Docs()
        plan = [Msg("open_run"), Msg("checkpoint"), Msg("sleep", None, 0.05), Msg("sleep", None, 30)]
        task = asyncio.create_task(engine.run(plan, docs))
        await arrives(lambda: engine.state.is_running and docs)
        engine.pause()
        await arrives(lambda: engine.state.is_paused)
        with pytest.raises(EngineBusy):
            await engine.run([])
        engine.resume()
        await arrives(lambda: engine.state.is_running)
        engine.abort("enough")
        return await task, docs

    result, docs = asyncio.run(main())
    assert (result.exit_status, result.interrupted) == ("abort", True)
    assert docs.of("stop")[0]["reason"] == "enough"


def test_cancelling_the_asynchronous_door_cleans_up(kit: Any) -> None:
    async def main() -> Any:
        engine, docs, motor = AsyncRunEngine(), kit.Docs(), kit.Motor()
        task = asyncio.create_task(
            engine.run([Msg("open_run"), Msg("set", motor, 1), Msg("sleep", None, 30)], docs)
        )
        await arrives(lambda: motor.moves)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert engine.state == "idle"
        return docs, motor

    docs, motor = asyncio.run(main())
    assert docs.of("stop")[0]["exit_status"] == "abort"
    assert motor.stops == [True]


def test_other_tasks_get_turns_while_a_plan_is_busy() -> None:
    async def main() -> int:
        engine, turns = AsyncRunEngine(), 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(count())
        await engine.run(Msg("null") for _ in range(50_000))
        task.cancel()
        return turns

    assert asyncio.run(main()) >= 10


async def arrives(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.002)


# -- Ctrl-C, in processes of their own -----------------------------------------------------------------

SCRIPT = """
import sys, time
from labspine.engine import Msg, RunEngine, RunEngineInterrupted
RE = RunEngine()
def plan():
    yield Msg("checkpoint")
    for number in range(10000):
        print("step", number, flush=True)
        {body}
try:
    RE(plan())
except RunEngineInterrupted:
    print("INTERRUPTED", RE.state, flush=True)
RE.abort() if RE.state == "paused" else None
print("END", RE.state, RE([]), flush=True)
"""


def run_and_press(body: str, presses: list[float]) -> str:
    """Run a plan in a process, press Ctrl-C after each delay, and give what it printed."""
    code = textwrap.dedent(SCRIPT).replace("{body}", body)
    process = subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.signal(2, signal.default_int_handler)\n" + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("step"), first + process.stdout.read()
        for delay in presses:
            time.sleep(delay)
            os.kill(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    return out


def test_ctrl_c_once_pauses_at_the_next_checkpoint() -> None:
    out = run_and_press("yield Msg('sleep', None, 0.05); yield Msg('checkpoint')", [0.0])
    assert "INTERRUPTED paused" in out
    assert "END idle ()" in out


def test_ctrl_c_twice_pauses_at_once() -> None:
    out = run_and_press("yield Msg('sleep', None, 30)", [0.0, 0.2])
    assert "INTERRUPTED paused" in out
    assert "END idle ()" in out


def test_more_ctrl_c_get_out_of_a_plan_that_keeps_the_thread_busy() -> None:
    out = run_and_press("[time.sleep(0.01) for _ in range(3000)]; yield Msg('null')", [0.0, 0.2, 1.2])
    assert "INTERRUPTED idle" in out
    assert "END idle ()" in out


# -- the bridge to bluesky -----------------------------------------------------------------------------


def in_a_fresh_process(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_import_is_light() -> None:
    code = """
    import sys, time
    t = time.process_time()
    import labspine.engine
    print([m for m in ("event_model", "bluesky", "ophyd", "numpy", "jsonschema") if m in sys.modules])
    """
    assert in_a_fresh_process(textwrap.dedent(code)) == "[]"


def test_bluesky_hears_of_the_loop_even_when_it_is_imported_later() -> None:
    code = """
    import sys
    from labspine.engine import RunEngine
    RE = RunEngine()
    assert "bluesky" not in sys.modules
    from bluesky.run_engine import get_bluesky_event_loop
    print(get_bluesky_event_loop() is RE.loop)
    """
    assert in_a_fresh_process(textwrap.dedent(code)) == "True"


def test_exceptions_are_also_those_of_bluesky_once_it_is_there() -> None:
    code = """
    from labspine.engine import RunEngine, Msg, IllegalMessageSequence
    RE = RunEngine()
    try:
        RE([Msg("close_run")])
    except IllegalMessageSequence as error:
        assert type(error) is IllegalMessageSequence
    import bluesky
    try:
        RE([Msg("close_run")])
    except bluesky.IllegalMessageSequence as error:
        print(isinstance(error, IllegalMessageSequence))
    """
    assert in_a_fresh_process(textwrap.dedent(code)) == "True"


def test_cheap_plans_keep_answers_exceptions_and_the_warning(engine: Any, docs: Any, kit: Any) -> None:
    import bluesky.plan_stubs as bps
    from bluesky.utils import Plan

    original = Plan.__init__
    with cheap_plans(), cheap_plans():
        assert Plan.__init__ is not original
        engine(bp.scan([kit.Detector()], kit.Motor(), 0, 1, 3))
        assert len(docs.of("event")) == 3
        with pytest.warns(
            RuntimeWarning, match=r"plan `sleep` made in .*test_doors.py:\d+ .* was never iterated"
        ):
            bps.sleep(1)
        plan = bps.sleep(1)
        assert plan.send(None).command == "sleep"
        plan.close()
    assert Plan.__init__ is original


def test_both_engines_may_live_in_one_process(engine: Any, kit: Any) -> None:
    theirs = bluesky.RunEngine({}, context_managers=[])
    mine, other = kit.Docs(), []
    theirs(bp.count([kit.Detector()]), lambda name, doc: other.append(name))
    engine(bp.count([kit.Detector()]), mine)
    assert mine.names == other
    theirs.loop.call_soon_threadsafe(theirs.loop.stop)
    theirs._th.join(5)
