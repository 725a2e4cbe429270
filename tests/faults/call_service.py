"""A service in a process of its own, which tests kill, freeze and start again: URL NAME [CONCURRENCY]."""

from __future__ import annotations

import os
import sys
import threading
import time

from labspine.errors import InvalidOperation
from labspine.service import Service, procedure


@procedure
def work(number: int, duration_s: float = 0.0, note: str = "") -> tuple[int, int]:
    """Do something that must not be done twice; the note is for who looks at the bytes."""
    with open(os.environ["CALL_LOG"], "a", encoding="utf-8") as log:
        log.write(f"{number}\n")
    time.sleep(duration_s)
    return number, os.getpid()


@procedure(idempotent=True)
def again(number: int, duration_s: float = 0.0) -> tuple[int, int]:
    """Do something that may be done twice."""
    return work(number, duration_s)


@procedure
def block() -> None:
    """Never end by itself."""
    threading.Event().wait(60)


def main() -> int:
    url, name, *rest = sys.argv[1:]
    concurrency = int(rest[0]) if rest else 8
    service = Service(name, work, again, block, url=url, concurrency=concurrency, exclusive="x" in rest)
    try:
        service.start()
    except InvalidOperation as error:
        print(error, flush=True)
        return 2
    print("ready", flush=True)
    sys.stdin.read()
    service.stop(timeout_s=2.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
