"""
Empty tasks for celery and taskiq; ``queues.py`` runs this with the Python of their own environment.

It stands in a folder of its own: the names of the other benchmarks would hide packages that these need.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

URL = os.environ.get("QUEUE_URL", "unix:///nowhere")
COUNT = int(os.environ.get("QUEUE_COUNT", "1000"))
NOTE = os.environ.get("QUEUE_NOTE", "/dev/null")
PEER = os.environ.get("QUEUE_PEER", "")

done = 0
began = 0.0


def count() -> None:
    """Be the task: empty, but for telling how long all of them took from the first to the last."""
    global done, began  # noqa: PLW0603  # one process, one figure
    if not done:
        began = time.perf_counter()
    done += 1
    if done == COUNT:
        Path(NOTE).write_text(str((COUNT - 1) / (time.perf_counter() - began)), encoding="utf-8")


if PEER == "celery":
    from celery import Celery  # type: ignore[import-not-found]  # lives in the other environment

    app = Celery("peer", broker=URL.replace("unix://", "redis+socket://"))
    app.conf.task_ignore_result = True
    app.conf.worker_prefetch_multiplier = 100
    celery_task = app.task(name="empty")(count)
elif PEER.startswith("taskiq"):
    from taskiq_redis import ListQueueBroker, RedisStreamBroker  # type: ignore[import-not-found]

    broker = (ListQueueBroker if PEER == "taskiq list" else RedisStreamBroker)(url=URL)

    @broker.task(task_name="empty")
    async def taskiq_task() -> None:
        count()


def put_all() -> None:
    """Put the tasks, each as its library does it."""
    if PEER == "celery":
        for _ in range(COUNT):
            celery_task.delay()
        return
    import asyncio

    async def put() -> None:
        await broker.startup()
        for _ in range(COUNT):
            await taskiq_task.kiq()
        await broker.shutdown()

    asyncio.run(put())


def main() -> None:
    """Put the tasks, start a worker, wait for its note, end it; print both rates."""
    began_put = time.perf_counter()
    put_all()
    put_rate = COUNT / (time.perf_counter() - began_put)
    here = Path(__file__)
    program = {"celery": "celery"}.get(PEER, "taskiq")
    words = (
        ["-A", here.stem, "worker", "-P", "solo", "-c", "1", "--loglevel", "ERROR", "--without-gossip"]
        if PEER == "celery"
        else ["worker", f"{here.stem}:broker", "--workers", "1", "--log-level", "ERROR"]
    )
    command = [str(Path(sys.executable).with_name(program)), *words]
    worker = subprocess.Popen(
        command, cwd=here.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not Path(NOTE).exists() or not Path(NOTE).read_text(encoding="utf-8"):
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    os.killpg(worker.pid, signal.SIGKILL)  # taskiq's children outlive a plain end
    worker.wait(20)
    print(put_rate, Path(NOTE).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
