"""Msg and plans: what is accepted, and what is told to people who got it wrong."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from bluesky import Msg as TheirMsg

from labspine.engine import (
    BadStep,
    EngineBusy,
    InvalidCommand,
    MissingAbility,
    Msg,
    NotAPlan,
    NotAStatus,
    NotAStep,
)
from labspine.errors import InvalidArgument, InvalidOperation, PlanError


def test_a_msg_has_the_five_members_of_the_protocol() -> None:
    msg = Msg("set", "motor", 5, run="a", group="g")
    assert (msg.command, msg.obj, msg.args, msg.kwargs, msg.run) == (
        "set",
        "motor",
        (5,),
        {"group": "g"},
        "a",
    )
    assert tuple(msg) == tuple(TheirMsg("set", "motor", 5, run="a", group="g"))
    assert repr(msg) == repr(TheirMsg("set", "motor", 5, run="a", group="g"))


def test_a_msg_survives_copying_pickling_and_replacing() -> None:
    msg = Msg("set", "motor", 5, group="g")
    assert copy.deepcopy(msg) == pickle.loads(pickle.dumps(msg)) == msg  # noqa: S301 - our own bytes
    assert msg._replace(run=1).args == (5,)


@pytest.mark.parametrize(
    "make",
    [
        lambda: [Msg("null")],
        lambda: iter([Msg("null")]),
        lambda: Msg("null"),
        lambda: (m for m in [TheirMsg("null")]),
        lambda: [SimpleNamespace(command="null", obj=None, args=(), kwargs={}, run=None)],
        list,
    ],
)
def test_every_kind_of_plan_is_performed(engine: Any, make: Any) -> None:
    assert engine(make()) == ()


def a_plan() -> Any:
    yield Msg("null")


async def a_coroutine() -> None: ...


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (a_plan, "did you forget the parentheses"),
        ("scan", "not a plan"),
        (None, "not a plan"),
        (5, "not a plan"),
    ],
)
def test_something_else_is_refused_with_advice(engine: Any, plan: Any, words: str) -> None:
    with pytest.raises(NotAPlan, match=words):
        engine(plan)
    assert engine.state == "idle"
    assert engine([]) == ()


def test_a_coroutine_is_refused_with_advice(engine: Any) -> None:
    made = a_coroutine()
    with pytest.raises(NotAPlan, match="plain generators"):
        engine(made)
    made.close()


def test_a_plan_that_yields_something_else_hears_which_step_it_was(engine: Any) -> None:
    with pytest.raises(NotAStep, match=r"yielded hello \(str\) at step 2"):
        engine([Msg("null"), "hello"])


def test_an_unknown_command_is_told_with_the_nearest_name(engine: Any) -> None:
    with pytest.raises(InvalidCommand, match='did you mean "open_run"'):
        engine([Msg("opn_run")])
    with pytest.raises(KeyError):
        engine([Msg("frobnicate")])


def test_a_plan_may_catch_an_unknown_command_and_go_on(engine: Any) -> None:
    heard = []

    def plan() -> Any:
        try:
            yield Msg("frobnicate")
        except InvalidCommand as error:
            heard.append(error)
        return (yield Msg("RE_class"))

    engine(plan())
    assert len(heard) == 1


@pytest.mark.parametrize(
    ("command", "lacks"),
    [("set", "set"), ("trigger", "trigger"), ("read", "read"), ("stop", "stop"), ("locate", "locate")],
)
def test_an_object_without_the_ability_is_named_with_what_it_lacks(
    engine: Any, command: str, lacks: str
) -> None:
    thing = SimpleNamespace(name="thing")
    with pytest.raises(MissingAbility, match=rf"thing .*cannot be used with '{command}'.*lacks.*{lacks}"):
        engine([Msg(command, thing)])


def test_set_without_a_target_names_step_and_device(engine: Any, kit: Any) -> None:
    with pytest.raises(BadStep, match=r"step 2, 'set' on x: .*missing 1 required"):
        engine([Msg("null"), Msg("set", kit.Motor())])


def test_a_type_error_inside_a_device_stays_what_it_is(engine: Any, kit: Any) -> None:
    class Broken(kit.Motor):
        def set(self, value: Any) -> Any:
            return len(value, value)  # type: ignore[call-arg]

    with pytest.raises(TypeError) as caught:
        engine([Msg("set", Broken(), 1)])
    assert not isinstance(caught.value, BadStep)


@pytest.mark.parametrize("seconds", [-1, float("nan"), "soon", 1e12, None])
def test_sleeping_needs_a_sensible_number(engine: Any, seconds: Any) -> None:
    with pytest.raises(PlanError, match="'sleep' needs"):
        engine([Msg("sleep", None, seconds)])


def test_a_device_must_return_a_status(engine: Any, kit: Any) -> None:
    class Careless(kit.Motor):
        def set(self, value: Any) -> Any:
            return None

    with pytest.raises(NotAStatus, match="must return a status object"):
        engine([Msg("set", Careless(), 1)])


def test_a_group_that_no_step_has_used_is_refused_in_strict_mode(engine: Any) -> None:
    engine([Msg("wait", None, "nobody")])
    engine.strict = True
    with pytest.raises(BadStep, match="which no step has used"):
        engine([Msg("wait", None, "nobody")])


def test_the_engine_inside_a_plan_or_callback_is_refused_and_hurts_nothing(engine: Any, docs: Any) -> None:
    errors = []

    def nested(name: str, doc: Any) -> None:
        with pytest.raises(EngineBusy, match="own thread") as caught:
            engine([])
        errors.append(caught.value)

    engine([Msg("open_run"), Msg("close_run")], nested)
    assert len(errors) == 2
    assert docs.names == ["start", "stop"]


@pytest.mark.parametrize(
    "func", [lambda: None, lambda name: None, lambda a, b, c: None, a_coroutine, 5, None]
)
def test_a_subscriber_that_cannot_be_called_is_refused_at_once(engine: Any, func: Any) -> None:
    with pytest.raises(InvalidArgument):
        engine.subscribe(func)


def test_an_unknown_document_is_told_with_the_nearest_name(engine: Any) -> None:
    with pytest.raises(InvalidArgument, match='did you mean "event"'):
        engine.subscribe(print, "evnt")


def test_a_command_that_exists_is_replaced_only_on_request(engine: Any) -> None:
    seen = []
    with pytest.raises(InvalidOperation, match="exists already"):
        engine.register_command("null", seen.append)
    engine.register_command("null", seen.append, replace=True)
    engine([Msg("null")])
    assert len(seen) == 1
    engine.unregister_command("null")
    engine([Msg("null")])
    assert len(seen) == 1
    with pytest.raises(InvalidOperation, match="built in"):
        engine.unregister_command("null")
    with pytest.raises(KeyError):
        engine.unregister_command("nil")


def test_plain_and_coroutine_functions_become_commands(engine: Any) -> None:
    async def slow(msg: Any) -> Any:
        return msg.args[0] + 1

    engine.register_command("slow", slow)
    engine.register_command("fast", lambda msg: msg.args[0] + 2)
    answers = []

    def plan() -> Any:
        answers.append((yield Msg("slow", None, 1)))
        answers.append((yield Msg("fast", None, 1)))

    engine(plan())
    assert answers == [2, 3]
    assert {"slow", "fast"} < set(engine.commands)


def test_the_command_registry_is_described(engine: Any) -> None:
    short, long = engine.print_command_registry(), engine.print_command_registry(verbose=True)
    assert "open_run : Begin a run" in short
    assert len(engine.commands) == 36
    assert len(long) > 2 * len(short)
    assert "No description" not in short
