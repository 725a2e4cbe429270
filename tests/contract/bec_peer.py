"""
The other side of the interop test: bec_lib's own connector, in a process of its own.

It repeats what it hears on one endpoint on another, and does what it is told on its standard input.
"""

from __future__ import annotations

import json
import sys

from bec_lib import messages
from bec_lib.endpoints import MessageEndpoints
from bec_lib.redis_connector import RedisConnector


def main() -> None:
    bus = RedisConnector("localhost:1", unix_socket_path=sys.argv[1])
    heard: list[object] = []

    def hear(message: object, **_: object) -> None:
        value = message.value  # type: ignore[attr-defined]
        parts = value if isinstance(value, list) else [value]
        heard.append(
            [{"type": type(p).__name__, "content": repr(p.content), "metadata": p.metadata} for p in parts]
        )

    bus.register(MessageEndpoints.scan_status(), cb=hear)
    bus.register(MessageEndpoints.scan_segment(), cb=hear)
    bus.register(patterns=MessageEndpoints.device_read("*").endpoint, cb=hear)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        word = json.loads(line)
        answer: object = None
        if word == "heard":
            answer = heard
        elif word == "read":
            reading = bus.get(MessageEndpoints.device_read("samx"))
            answer = {"signals": repr(reading.signals), "metadata": reading.metadata}
            bus.set(
                MessageEndpoints.device_info("samx"),
                messages.DeviceInfoMessage(device="samx", info={"a": [1]}),
            )
        elif word == "publish":
            for number in range(20):
                bus.set_and_publish(
                    MessageEndpoints.device_read("samy"),
                    messages.DeviceMessage(signals={"samy": {"value": number}}, metadata={"n": number}),
                )
            points = [messages.ScanMessage(point_id=n, scan_id="s", data={}, metadata={}) for n in range(3)]
            bus.send(MessageEndpoints.scan_segment(), messages.BundleMessage(messages=points))
        print(json.dumps(answer), flush=True)
    bus.shutdown()


if __name__ == "__main__":
    main()
