"""Both doors behind one face: the same tests run on the blocking and on the asyncio connector."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labspine.testing.doors import connecting

Connect = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(door: str) -> Iterator[Connect]:
    """Give a function that makes connectors of the door under test; all are closed at the end."""
    with connecting(door) as make:
        yield make
