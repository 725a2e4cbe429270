"""A worker in a process of its own: notes each item in a file, and prints a word when it has begun one."""

from __future__ import annotations

import os
import sys
import time

from labspine.connector import RedisConnector
from labspine.queues import Item, Worker, worker


def main(url: str, queue: str, notes: str, work_s: str) -> None:
    file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @worker(queue, lease_s=0.5, max_attempts=100)
    def note(item: Item) -> None:
        os.write(file, f"{item.id}\n".encode())
        print("begun", flush=True)
        time.sleep(float(work_s))

    with RedisConnector(url) as bus:
        Worker(bus, note).run()
    os.write(file, b"end\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
