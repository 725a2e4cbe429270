"""
Measure RabbitMQ through Labspine beside bare aio-pika: interleaved rounds, fresh processes, medians, ratios.

Run ``python benchmarks/amqp.py [--rounds 5]``; it starts a broker of its own. Both sides wait for the
broker's confirmation of each message. Ours encodes and checks typed messages and stamps them; aio-pika sends
the bytes as they are. CPU time is that of the measuring process (for calls: of the caller).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

Work = Callable[[], Awaitable[Any]]
BODY = b"x" * 256
CASES = ("event", "event x32", "queue put", "queue put x100", "queue get x100", "call", "call x32")
COUNTS = {"event x32": 6400, "queue put x100": 10_000, "queue get x100": 10_000, "call x32": 3200}
COUNT = 1000
WIDTH = {"event x32": 32, "call x32": 32}


async def ours(case: str, url: str, stack: AsyncExitStack) -> tuple[Work, int]:
    """Make what one measured step does, and how many messages that are."""
    from labspine.connector import connect_async
    from labspine.endpoints import MessageEndpoints
    from labspine.messages import MessagingServiceTextContent, NotificationMessage
    from labspine.queues import AsyncQueue
    from labspine.service import AsyncRpc

    bus = await stack.enter_async_context(connect_async(url))
    if case.startswith("event"):
        place = MessageEndpoints.notification("bench")
        note = NotificationMessage(event="e", message=[MessagingServiceTextContent(content="x" * 120)])
        listener = await stack.enter_async_context(connect_async(url))
        await listener.register(MessageEndpoints.notification("other"), print)
        await bus.send(place, note)
        return lambda: bus.send(place, note), 1
    if case.startswith("queue"):
        queue = await stack.enter_async_context(AsyncQueue(bus, f"bench-{os.getpid()}"))
        if case == "queue put":
            return lambda: queue.put(BODY), 1
        if case == "queue put x100":
            return lambda: queue.put_many([BODY] * 100), 100
        for _ in range(COUNTS[case] // 100 + 1):
            await queue.put_many([BODY] * 100)

        async def take() -> None:
            taken = 0
            while taken < 100:
                items = await queue.claim_many(100 - taken, wait_s=5)
                await queue.acknowledge_many(items)
                taken += len(items)

        return take, 100
    rpc = AsyncRpc(bus)
    stack.push_async_callback(rpc.close)
    return lambda: rpc.call_service("bench", "echo", BODY[:100]), 1


async def theirs(case: str, url: str, stack: AsyncExitStack) -> tuple[Work, int]:
    """Do the same with aio-pika."""
    import aio_pika

    link = await stack.enter_async_context(await aio_pika.connect_robust(url))
    channel = await link.channel(publisher_confirms=True)
    persistent = aio_pika.DeliveryMode.PERSISTENT
    if case.startswith("event"):
        exchange = await channel.declare_exchange("bench", aio_pika.ExchangeType.TOPIC, durable=True)

        async def say() -> None:
            message = aio_pika.Message(BODY, delivery_mode=persistent)
            with suppress(aio_pika.exceptions.PublishError):
                await exchange.publish(message, "a.b.c", mandatory=True)

        return say, 1
    if case.startswith("queue"):
        return await their_queue(case, channel)
    return await their_calls(channel), 1


async def their_queue(case: str, channel: Any) -> tuple[Work, int]:
    import aio_pika

    queue = await channel.declare_queue(
        f"pika-{os.getpid()}", durable=True, arguments={"x-queue-type": "quorum"}
    )
    persistent = aio_pika.DeliveryMode.PERSISTENT

    async def put() -> None:
        await channel.default_exchange.publish(aio_pika.Message(BODY, delivery_mode=persistent), queue.name)

    async def put_many() -> None:
        await asyncio.gather(*(put() for _ in range(100)))

    if case == "queue put":
        return put, 1
    if case == "queue put x100":
        return put_many, 100
    for _ in range(COUNTS[case] // 100 + 1):
        await put_many()
    await channel.set_qos(prefetch_count=100)
    come: asyncio.Queue[Any] = asyncio.Queue()
    await queue.consume(come.put)

    async def take() -> None:
        for _ in range(100):
            await (await come.get()).ack()

    return take, 100


async def their_calls(channel: Any) -> Work:
    import aio_pika

    replies = await channel.declare_queue(exclusive=True)
    waiting: dict[str, asyncio.Future[bytes]] = {}

    async def hear(message: Any) -> None:
        waiting.pop(message.correlation_id).set_result(message.body)

    await replies.consume(hear, no_ack=True)
    count = 0

    async def call() -> None:
        nonlocal count
        count += 1
        name = str(count)
        waiting[name] = answer = asyncio.get_running_loop().create_future()
        message = aio_pika.Message(BODY[:100], correlation_id=name, reply_to=replies.name, expiration=10)
        await channel.default_exchange.publish(message, "pika-echo", mandatory=True)
        await answer

    return call


async def serve_pika(url: str) -> None:
    import aio_pika

    link = await aio_pika.connect_robust(url)
    channel = await link.channel()
    await channel.set_qos(prefetch_count=64)
    queue = await channel.declare_queue("pika-echo", auto_delete=True)

    async def answer(message: Any) -> None:
        back = aio_pika.Message(message.body, correlation_id=message.correlation_id)
        await channel.default_exchange.publish(back, message.reply_to)
        await message.ack()

    await queue.consume(answer)
    print("ready", flush=True)
    await asyncio.Event().wait()


def serve_ours(url: str) -> None:
    from labspine.connector import connect
    from labspine.service import Service, procedure

    @procedure
    def echo(data: bytes) -> bytes:
        return data

    service = Service("bench", echo, connector=connect(url))
    service.start()
    print("ready", flush=True)
    sys.stdin.readline()


async def measured(who: str, case: str, url: str) -> dict[str, float]:
    """Do a case, in this process."""
    async with AsyncExitStack() as stack:
        step, size = await (ours if who == "ours" else theirs)(case, url, stack)
        count, width = COUNTS.get(case, COUNT) // size, WIDTH.get(case, 1)
        await step()

        async def some() -> None:
            for _ in range(count // width):
                await step()

        began, used = time.perf_counter(), time.process_time()
        await asyncio.gather(*(some() for _ in range(width)))
        wall, cpu = time.perf_counter() - began, time.process_time() - used
    done = count // width * width * size
    return {"per_s": done / wall, "cpu_us": cpu / done * 1e6}


def in_child(*words: str) -> Any:
    done = subprocess.run(
        [sys.executable, __file__, *words], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def start_server(who: str, url: str) -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", who, "--url", url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    return server


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="")
    for name in ("--serve", "--measure", "--case", "--url"):
        parser.add_argument(name, default="")
    chosen = parser.parse_args()
    if chosen.serve:
        asyncio.run(serve_pika(chosen.url)) if chosen.serve == "aio-pika" else serve_ours(chosen.url)
        return
    if chosen.measure:
        print(json.dumps(asyncio.run(measured(chosen.measure, chosen.case, chosen.url))))
        return
    compare(chosen.rounds, [case for case in CASES if chosen.only in case])


def compare(rounds: int, cases: list[str]) -> None:
    from labspine.testing.rabbitmq import RabbitProcess, find_rabbitmq

    scripts = find_rabbitmq()
    if scripts is None:
        raise SystemExit("needs rabbitmq-server: scripts/system-packages")
    found: dict[str, dict[str, list[dict[str, float]]]] = {c: {"ours": [], "aio-pika": []} for c in cases}
    with tempfile.TemporaryDirectory(prefix="labspine-") as place:
        broker = RabbitProcess(Path(place), scripts)
        servers: list[subprocess.Popen[str]] = []
        try:
            broker.start()
            if any(case.startswith("call") for case in cases):
                for who in ("ours", "aio-pika"):
                    servers.append(start_server(who, broker.url))
            for turn in range(rounds):
                for case in cases:
                    for who in ("ours", "aio-pika") if turn % 2 else ("aio-pika", "ours"):
                        one = in_child("--measure", who, "--case", case, "--url", broker.url)
                        found[case][who].append(one)
        finally:
            for server in servers:
                server.kill()
                server.communicate()
            broker.end()
    report(found)


def report(found: dict[str, dict[str, list[dict[str, float]]]]) -> None:
    """Print medians, and keep them."""
    print(f"{'case':16}{'ours/s':>10}{'pika/s':>10}{'ratio':>8}{'ours us':>10}{'pika us':>10}{'ratio':>8}")
    kept: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "cases": {}}
    for case, both in found.items():
        median = {
            who: {key: statistics.median(one[key] for one in both[who]) for key in ("per_s", "cpu_us")}
            for who in both
        }
        own, their = median["ours"], median["aio-pika"]
        kept["cases"][case] = median
        print(
            f"{case:16}{own['per_s']:10.0f}{their['per_s']:10.0f}{own['per_s'] / their['per_s']:8.2f}"
            f"{own['cpu_us']:10.0f}{their['cpu_us']:10.0f}{own['cpu_us'] / their['cpu_us']:8.2f}"
        )
    place = Path(__file__).parent / "results" / "amqp.json"
    place.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
