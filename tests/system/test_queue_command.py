"""``labspine queue`` as a person types it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable

import pytest

from labspine.connector import RedisConnector
from labspine.queues import Queue

from .conftest import COMMAND

Labspine = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def labspine(fresh_broker_url: str) -> Labspine:
    def run(*words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "LABSPINE_URL": fresh_broker_url, "COLUMNS": "200"},
        )

    return run


def test_work_is_put_looked_at_buried_and_put_back(labspine: Labspine, fresh_broker_url: str) -> None:
    assert labspine("queue", "ls").stdout == "there are no queues of work\n"
    first = labspine("queue", "put", "render", '{"file": "a.h5"}', "--priority", "high")
    assert first.returncode == 0, first.stderr
    assert labspine("queue", "put", "render", "-", "--id", "mine", stdin="just text").stdout == "mine\n"
    assert "was there before" in labspine("queue", "put", "render", "x", "--id", "mine").stdout
    seen = [json.loads(line) for line in labspine("queue", "peek", "render", "--json").stdout.splitlines()]
    assert [(s["id"], s["value"]) for s in seen] == [
        (first.stdout.strip(), {"file": "a.h5"}),
        ("mine", "just text"),
    ]
    with RedisConnector(fresh_broker_url) as bus:
        queue = Queue(bus, "render")
        queue.bury(queue.claim(wait_s=5), "the disk\nis full")

    listed = labspine("queue", "ls", "--json").stdout
    assert json.loads(listed) == {"queue": "render", "ready": 1, "claimed": 0, "delayed": 0, "dead": 1}
    assert "is full" in labspine("queue", "dead", "render").stdout
    assert labspine("queue", "requeue", "render", first.stdout.strip()).returncode == 0
    assert labspine("queue", "dead", "render").stdout == "nothing is buried\n"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["put", "a b", "1"], 2, "not allowed"),
        (["put", "render", "{bad"], 2, "begins like JSON"),
        (["put", "render", "1", "--priority", "urgent"], 2, "use high, normal, low"),
        (["requeue", "render", "nothing"], 2, "nothing with this id"),
    ],
)
def test_a_wrong_word_is_a_sentence(labspine: Labspine, words: list[str], code: int, sentence: str) -> None:
    done = labspine("queue", *words)

    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_word_it_shows_the_scans(labspine: Labspine) -> None:
    assert labspine("queue").stdout == "the queue is empty\n"
