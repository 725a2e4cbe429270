"""Call with OpenTera's own client, in its own environment: PORT KEY CALLS; prints p50 and rates as JSON."""

import json
import statistics
import sys
import threading
import time

from opentera.redis.RedisRPCClient import RedisRPCClient

port, key, calls = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
config = {"hostname": "127.0.0.1", "port": port, "db": 0, "username": "", "password": ""}


def call(client: RedisRPCClient, count: int) -> list[float]:
    took = []
    for number in range(count):
        begin = time.perf_counter()
        assert client.call_service(key, "add", number, 22) == number + 22
        took.append(time.perf_counter() - begin)
    return took


alone = RedisRPCClient(config, timeout=10)
call(alone, 20)
begin = time.perf_counter()
took = call(alone, calls)
rate = calls / (time.perf_counter() - begin)
# Their client is not made for several threads: each has its own.
threads = [
    threading.Thread(target=call, args=(RedisRPCClient(config, timeout=10), calls // 32)) for _ in range(32)
]
begin = time.perf_counter()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
together = calls // 32 * 32 / (time.perf_counter() - begin)
print(json.dumps([statistics.median(took), rate, together]))
