"""
The other side: OpenTera's own classes, unmodified, in a process of their own with a Python of their own.

It runs a service and a module of OpenTera, and does what it is told on its standard input, one line of JSON
each: calls with their RedisRPCClient, events, variables, and their protobuf classes as an oracle.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from types import SimpleNamespace

ANSWERS = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # their classes print a lot

import opentera.messages.python as messages  # noqa: E402
import redis  # noqa: E402
from google.protobuf.json_format import MessageToDict  # noqa: E402
from opentera.messages.python import ArchiveEvent_pb2, LogEvent_pb2, LoginEvent_pb2  # noqa: E402
from opentera.modules.BaseModule import BaseModule  # noqa: E402
from opentera.redis.RedisRPCClient import RedisRPCClient  # noqa: E402
from opentera.redis.RedisVars import RedisVars  # noqa: E402
from opentera.services.ServiceOpenTera import ServiceOpenTera  # noqa: E402
from twisted.internet import reactor  # noqa: E402

KINDS = {
    **{name: getattr(messages, name) for name in (
        "UserEvent", "ParticipantEvent", "DeviceEvent", "JoinSessionEvent", "JoinSessionReplyEvent",
        "LeaveSessionEvent", "StopSessionEvent", "DatabaseEvent", "TeraEvent", "TeraModuleMessage")},
    "LogEvent": LogEvent_pb2.LogEvent,
    "LoginEvent": LoginEvent_pb2.LoginEvent,
    "ArchiveEvent": ArchiveEvent_pb2.ArchiveEvent,
    "RPCMessage": messages.RPCMessage,
}  # fmt: skip
heard: list[object] = []


def echo(*args: object) -> list[object]:
    return [[type(a).__name__, a.hex() if isinstance(a, bytes) else a] for a in args]


def fail() -> None:
    raise ValueError("broken")


def slow(pause_s: float) -> float:
    time.sleep(pause_s)
    return pause_s


API = {
    "add": lambda a, b: a + b, "echo": echo, "fail": fail, "nothing": lambda: None, "slow": slow,
    "table": lambda: {"online": ["a", "é"], "count": 2, "ratio": 0.5, "none": None},
}  # fmt: skip


class PeerService(ServiceOpenTera):
    """A service of OpenTera with some procedures; it keeps the events that it hears."""

    def setup_rpc_interface(self) -> None:
        super().setup_rpc_interface()
        for name, function in API.items():
            self.rpc_api[name] = {"args": [], "returns": "dict", "callback": function}

    def register_to_events(self) -> None:
        key = self.service_info["service_key"]
        self.subscribe_pattern_with_callback(RedisVars.build_service_event_topic(key), self.hear)
        self.subscribe_pattern_with_callback("websocket.user.*.events", self.hear)

    def notify_service_messages(self, pattern: str, channel: str, message: bytes) -> None:
        heard.append(_as_plain(messages.TeraModuleMessage, message))

    def hear(self, pattern: str, channel: str, message: bytes) -> None:
        heard.append(_as_plain(messages.TeraEvent, message))


class PeerModule(BaseModule):
    """A module of OpenTera with the same procedures."""

    def setup_rpc_interface(self) -> None:
        for name, function in API.items():
            self.rpc_api[name] = {"args": [], "returns": "dict", "callback": function}


def _as_plain(kind: type, payload: bytes) -> object:
    message = kind()
    message.ParseFromString(payload)
    return MessageToDict(message, preserving_proto_field_name=True, use_integers_for_enums=True)


def _filled(kind: str, fields: dict) -> object:
    """Build one of their messages; events and args are given as [kind, value] pairs."""
    message = KINDS[kind]()
    for name, value in fields.items():
        if name in ("header", "head"):
            for key, item in value.items():
                setattr(getattr(message, name), key, item)
        elif name in ("events", "data"):
            for inner_kind, inner in value:
                getattr(message, name).add().Pack(_filled(inner_kind, inner))
        elif name == "log_header":
            message.log_header.CopyFrom(_filled("LogEvent", value))
        elif name == "args":
            for field, item in value:
                setattr(message.args.add(), field, bytes.fromhex(item) if field == "bytes_value" else item)
        elif isinstance(value, list):
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)
    return message


class Told:
    """What it can be told; each method is one word of the conversation."""

    def __init__(self, config: dict) -> None:
        self.config = config
        self.clients: dict[float, RedisRPCClient] = {}
        self.keys = redis.Redis(host=config["hostname"], port=config["port"])
        for name in vars(RedisVars):
            if name.endswith("TokenAPIKey"):
                self.keys.set(getattr(RedisVars, name), "a-secret-of-thirty-two-characters")
        manager = SimpleNamespace(
            redis_config=config,
            service_config={"name": "PeerService", "ServiceUUID": "00000000-0000-4000-8000-000000000001"},
            backend_config={"hostname": "localhost", "port": 1},
        )
        info = {"service_key": "PeerService", "service_uuid": manager.service_config["ServiceUUID"]}
        self.service = PeerService(manager, info)
        self.module = PeerModule("TeraServer.PeerModule", manager)

    def client(self, timeout: float) -> RedisRPCClient:
        return self.clients.setdefault(timeout, RedisRPCClient(self.config, timeout=timeout))

    def call_service(self, key: str, function: str, args: list, timeout: float) -> object:
        return self.client(timeout).call_service(key, function, *_typed(args))

    def call(self, module: str, function: str, args: list, timeout: float) -> object:
        return self.client(timeout).call(module, function, *_typed(args))

    def rate(self, key: str, function: str, count: int) -> float:
        client = self.client(10.0)
        begin = time.perf_counter()
        for _ in range(count):
            client.call_service(key, function, 20, 22)
        return (time.perf_counter() - begin) / count

    def codec_rate(self, count: int) -> list[float]:
        """Measure seconds for writing and for reading one request with their classes."""
        args = [["int_value", 20], ["double_value", 2.5], ["string_value", "text"], ["bool_value", True]]
        fields = {
            "method": "add",
            "reply_to": "labspine.rpc.0123456789",
            "id": 7,
            "timestamp": 1.5e9,
            "args": args,
        }
        message = _filled("RPCMessage", fields)
        payload = message.SerializeToString()
        begin = time.perf_counter()
        for _ in range(count):
            message.SerializeToString()
        half = time.perf_counter()
        for _ in range(count):
            found = messages.RPCMessage()
            found.ParseFromString(payload)
            [getattr(value, value.WhichOneof("arg_value")) for value in found.args]
        return [(half - begin) / count, (time.perf_counter() - half) / count]

    def encode(self, kind: str, fields: dict) -> str:
        return _filled(kind, fields).SerializeToString().hex()

    def encode_many(self, items: list) -> list[str]:
        return [self.encode(kind, fields) for kind, fields in items]

    def decode(self, kind: str, payload: str) -> object:
        return _as_plain(KINDS[kind], bytes.fromhex(payload))

    def again(self, kind: str, payloads: list) -> list[str]:
        """Read with their classes and write again."""
        found = []
        for payload in payloads:
            message = KINDS[kind]()
            message.ParseFromString(bytes.fromhex(payload))
            found.append(message.SerializeToString().hex())
        return found

    def send_event(self, topic: str, kind: str, fields: dict) -> int:
        return self.service.send_event_message(_filled(kind, fields), topic) or 0

    def send_message(self, dest: str, kind: str, fields: dict) -> int:
        return self.service.send_tera_message(_filled(kind, fields), "service.PeerService.messages", dest)

    def set(self, key: str, value: str, expire_s: int | None) -> None:
        self.service.redisSet(key, value, ex=expire_s)

    def get(self, key: str) -> str | None:
        value = self.service.redisGet(key)
        return None if value is None else value.decode()

    def heard(self) -> list[object]:
        return list(heard)

    def topics_served(self) -> int:
        """Count the patterns to which these classes listen."""
        return int(self.keys.execute_command("PUBSUB", "NUMPAT"))


def _typed(args: list) -> list[object]:
    return [bytes.fromhex(a["bytes"]) if isinstance(a, dict) else a for a in args]


def converse(told: Told) -> None:
    print(json.dumps(["ok", "ready"]), file=ANSWERS)
    for line in sys.stdin:
        word, *args = json.loads(line)
        try:
            answer = ["ok", getattr(told, word)(*args)]
        except Exception:
            answer = ["error", traceback.format_exc()]
        print(json.dumps(answer), file=ANSWERS)
    reactor.callFromThread(reactor.stop)


def main() -> None:
    config = {"hostname": "127.0.0.1", "port": int(sys.argv[1]), "db": 0, "username": "", "password": ""}
    told = Told(config)
    threading.Thread(target=converse, args=(told,), daemon=True).start()
    reactor.run(installSignalHandlers=False)


if __name__ == "__main__":
    main()
