"""Variables of the whole laboratory: declared, typed, vanishing (seed 004), on both doors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from labspine import AsyncConnector, RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.errors import (
    ConfigError,
    DecodeError,
    InvalidArgument,
    InvalidMessage,
    InvalidName,
    LabspineError,
)
from labspine.ids import new_sender
from labspine.messages import ScanMessage, VariableMessage
from labspine.testing.doors import Blocking, Loop
from labspine.testing.waiting import wait_until
from labspine.variables import AsyncVariables, Variable, Variables

RUN = new_sender()[:8]
CURRENT = Variable(f"{RUN}.current", float, doc="Current in the ring, in mA.")
SHUTTER = Variable(f"{RUN}.shutter", str, doc="What the shutter does.", expire_s=0.2)
LOGIN = Variable(f"{RUN}.login.{{session}}", str, doc="Whose session it is.", expire_s=60.0)
NAMES = Variable(f"{RUN}.names", list[str], doc="Who is on shift.")
IMAGE = Variable(f"{RUN}.image", np.ndarray, doc="The last picture.")
LAST = Variable(f"{RUN}.last", ScanMessage, doc="The last point.")
COUNT = Variable(f"{RUN}-count", int, doc="How often.", layout="raw")
CATALOGUE: list[Variable[Any]] = [CURRENT, SHUTTER, LOGIN, NAMES, IMAGE, LAST, COUNT]


@pytest.fixture(params=["sync", "async"])
def variables(request: pytest.FixtureRequest, broker_url: str) -> Iterator[Any]:
    if request.param == "sync":
        with RedisConnector(broker_url) as bus:
            yield Variables(bus, CATALOGUE)
        return
    loop = Loop()
    made: list[AsyncConnector] = []

    async def build() -> AsyncVariables:
        made.append(AsyncConnector(broker_url))
        return AsyncVariables(made[0], CATALOGUE)

    yield Blocking(loop.run(build()), loop)
    loop.run(made[0].close())
    loop.close()


def test_a_variable_is_set_and_read_with_its_type(variables: Any) -> None:
    variables.delete(CURRENT)
    assert variables.get(CURRENT) is None

    variables.set(CURRENT, 350)
    variables.set(NAMES, ["Ada", "Émilie"])

    assert variables.get(CURRENT) == 350.0
    assert type(variables.get(CURRENT)) is float
    assert variables.get(NAMES) == ["Ada", "Émilie"]
    assert variables.delete(CURRENT)
    assert not variables.delete(CURRENT)


def test_arrays_messages_and_raw_values_can_be_kept(variables: Any, broker_url: str) -> None:
    point = ScanMessage(point_id=1, scan_id="s", data={})

    variables.set(IMAGE, np.arange(6).reshape(2, 3))
    variables.set(LAST, point)
    variables.set(COUNT, 7)

    np.testing.assert_array_equal(variables.get(IMAGE), np.arange(6).reshape(2, 3))
    assert variables.get(LAST) == point
    assert variables.get(COUNT) == 7


def test_a_variable_vanishes_after_its_time(variables: Any) -> None:
    variables.set(SHUTTER, "open")
    wait_until(lambda: variables.get(SHUTTER) is None, timeout_s=10.0, what="the end of the variable")

    variables.set(SHUTTER, "shut", expire_s=60)
    assert variables.get(SHUTTER) == "shut"


def test_a_family_has_one_variable_a_name(variables: Any) -> None:
    one, other = LOGIN.of(session="a"), LOGIN.of(session="b")
    variables.set(one, "Ada")
    variables.delete(other)

    assert (variables.get(one), variables.get(other)) == ("Ada", None)
    assert variables.get(LOGIN.of(session="a")) == "Ada"
    with pytest.raises(InvalidArgument, match=r"is a family: name one with of\(session="):
        variables.get(LOGIN)
    with pytest.raises(InvalidArgument, match="takes session, got none"):
        LOGIN.of()
    for wrong in ("*", "a/b", ""):
        with pytest.raises(InvalidName):
            LOGIN.of(session=wrong)


def test_a_ticket_is_used_once(variables: Any, broker_url: str) -> None:
    ticket = LOGIN.of(session="ticket")
    variables.set(ticket, "Ada")
    found: list[str | None] = []

    def take() -> None:
        found.append(variables.take(ticket))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert sorted(found, key=str) == ["Ada"] + [None] * 7


def test_a_value_of_another_type_is_refused_before_it_is_sent(variables: Any) -> None:
    variables.set(CURRENT, 1.0)
    wrong: list[tuple[Variable[Any], object]] = [
        (CURRENT, "much"), (CURRENT, None), (NAMES, [1]), (IMAGE, [1]), (LAST, VariableMessage(value=1)), (COUNT, 1.5),
    ]  # fmt: skip
    for variable, value in wrong:
        with pytest.raises(InvalidMessage, match=f"variable {variable.name}"):
            variables.set(variable, value)
    for expire_s in (0, -1, float("nan")):
        with pytest.raises(InvalidArgument, match="expire_s"):
            variables.set(CURRENT, 2.0, expire_s=expire_s)
    assert variables.get(CURRENT) == 1.0


def test_what_somebody_else_stored_is_told(variables: Any, broker_url: str) -> None:
    with RedisConnector(broker_url) as bus:
        bus.set(MessageEndpoints.global_vars(CURRENT.name), VariableMessage(value="text"))

    with pytest.raises(DecodeError, match=r"holds something else: .*Expected `float`, got `str`"):
        variables.get(CURRENT)
    variables.delete(CURRENT)


def test_only_what_is_declared_can_be_used(variables: Any) -> None:
    stranger = Variable("current", float, doc="Another one.")
    assert set(variables.catalogue) == {v.name for v in CATALOGUE}
    assert variables.catalogue[CURRENT.name].__doc__ == "Current in the ring, in mA."
    for wrong in (stranger, Variable(CURRENT.name, float, doc="A copy.")):
        with pytest.raises(InvalidArgument, match="is not in this catalogue"):
            variables.get(wrong)
    with pytest.raises(InvalidArgument, match="is no Variable"):
        variables.get("current")


@pytest.mark.parametrize(
    ("declare", "error"),
    [
        (lambda: Variable("a b", float, doc="x"), InvalidName),
        (lambda: Variable("a{", float, doc="x"), InvalidName),
        (lambda: Variable("", float, doc="x"), InvalidName),
        (lambda: Variable(3, float, doc="x"), InvalidArgument),  # type: ignore[arg-type]
        (lambda: Variable("a", float, doc=""), InvalidArgument),
        (lambda: Variable("a", float, doc="x", expire_s=0), InvalidArgument),
        (lambda: Variable("a", float, doc="x", layout="json"), InvalidArgument),  # type: ignore[arg-type]
        (lambda: Variable("a", list, doc="x", layout="raw"), ConfigError),
    ],
)  # fmt: skip
def test_a_declaration_that_cannot_work_is_refused(
    declare: Callable[[], object], error: type[LabspineError]
) -> None:
    with pytest.raises(error):
        declare()


def test_two_variables_of_one_name_are_refused(broker_url: str) -> None:
    with RedisConnector(broker_url) as bus, pytest.raises(ConfigError, match="two variables have the name"):
        Variables(bus, [CURRENT, Variable(CURRENT.name, int, doc="x")])
