"""What the buttons mean."""

from __future__ import annotations

import pytest

from labspine.gateway.commands import ACTIONS, Situation, reasons, request_for


def situation(status: str | None, *, broker: str = "connected", server: bool = True) -> Situation:
    """A situation with a scan."""
    return Situation(broker=broker, has_scan_server=server, scan_id="s" if status else None, status=status)


@pytest.mark.parametrize(
    ("now", "works"),
    [
        (situation("open"), {"pause", "abort"}),
        (situation("paused"), {"resume", "abort"}),
        (situation("open", server=False), {"abort"}),
        (situation("paused", server=False), {"abort"}),
        (situation("open", broker="down"), set()),
        (situation("open", broker="connecting"), set()),
        (situation("closed"), set()),
        (situation("aborted"), set()),
        (situation("halted"), set()),
        (situation("user_completed"), set()),
        (situation(None), set()),
    ],
)
def test_each_state_enables_what_makes_sense_and_says_why_not(now: Situation, works: set[str]) -> None:
    said = reasons(now)
    assert {name for name, reason in said.items() if reason is None} == works
    assert all(reason is None or reason.endswith(".") for reason in said.values())


def test_requests_are_the_messages_that_scan_servers_know() -> None:
    sent = {action: request_for(action, "abc", pressed_by="me") for action in ACTIONS}
    assert [message.action for message in sent.values()] == ["deferred_pause", "continue", "abort"]
    assert all(
        m.scan_id == "abc" and m.parameter == {} and m.metadata["session"] == "me" for m in sent.values()
    )
