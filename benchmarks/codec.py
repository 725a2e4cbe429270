"""
Messages beside bec_lib's and beside bare msgspec: encode, decode with validation, construct, import.

Rounds are interleaved (ours, bec_lib, msgspec, ours, ...) in one process; CPU time is compared, so that a
busy machine disturbs all alike. Payloads are equal byte for byte.

Run: ``python benchmarks/codec.py [rounds]``.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from bec_lib import messages as bec
from bec_lib.serialization import MsgpackSerialization

from labspine import messages

DATA = {f"dev{n}": {f"dev{n}": {"value": 1.5 * n, "timestamp": 1.7e9 + n}} for n in range(10)}
RID = {"RID": "6f1c7dd2-7a1e-4f3c-9d55-3c2f4a7c2e11"}
POINT = {"scan_id": "d3471acc-309d-43b7", "scan_type": "step", "scan_report_devices": ["samx"]}
READING = {f"s{n}": {"value": 1.5, "timestamp": 1.7e9} for n in range(3)}
SCALARS = {f"s{n}": {"value": np.int64(n), "timestamp": 1.7e9} for n in range(3)}
LINE = np.random.default_rng(1).random(131072)
IMAGE = {"eye": {"value": np.ones((512, 256)), "timestamp": 1.7e9}}
PLAN = {"args": [["det"], "x", -5, 5, 11], "kwargs": {}}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "point of 10 devices": (
        "ScanMessage",
        {"point_id": 1, "scan_id": "d3471acc", "data": DATA, "metadata": POINT},
    ),
    "command: abort": (
        "ScanQueueModificationMessage",
        {"scan_id": None, "action": "abort", "parameter": {}, "metadata": RID},
    ),
    "command: scan": ("ScanQueueMessage", {"scan_type": "scan", "parameter": PLAN, "metadata": RID}),
    "command: stage": (
        "DeviceInstructionMessage",
        {"device": "samx", "action": "stage", "parameter": {}, "metadata": RID},
    ),
    "progress": ("ProgressMessage", {"value": 1.0, "max_value": 10.0, "done": False}),
    "variable": ("VariableMessage", {"value": 5}),
    "reading of 3 signals": ("DeviceMessage", {"signals": READING, "metadata": RID}),
    "numpy scalars": ("DeviceMessage", {"signals": SCALARS}),
    "1 MiB array": ("DeviceMonitor1DMessage", {"device": "w", "data": LINE, "timestamp": 1.7e9}),
    "1 MiB image in a reading": ("DeviceMessage", {"signals": IMAGE}),
}
IMPORTS = {
    "labspine.messages": "bec_lib.messages",
    "labspine.endpoints, labspine.messages": "bec_lib.endpoints, bec_lib.messages",
    "labspine.connector, labspine.messages": "bec_lib.redis_connector, bec_lib.messages",
}


def cpu_us(call: Callable[[], Any], count: int) -> float:
    gc.collect()
    started = time.process_time_ns()
    for _ in range(count):
        call()
    return (time.process_time_ns() - started) / count / 1000


def bare(kind: type[messages.Message]) -> type[msgspec.Struct]:
    """Make a struct with the same fields and without rules of ours: the floor."""
    fields = [(field.name, field.type) for field in msgspec.structs.fields(kind)]
    return msgspec.defstruct("Bare", fields, frozen=True)


def calls(name: str, fields: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    ours, theirs = getattr(messages, name)(**fields), getattr(bec, name)(**fields)
    payload = messages.encode(ours)
    assert payload == MsgpackSerialization.dumps(theirs)
    kind, their_kind = type(ours), type(theirs)
    made = {
        "ours encode": lambda: messages.encode(ours),
        "bec encode": lambda: MsgpackSerialization.dumps(theirs),
        "ours decode": lambda: messages.decode(payload, kind),
        "bec decode": lambda: MsgpackSerialization.loads(payload),
        "ours construct": lambda: kind(**fields),
        "bec construct": lambda: their_kind(**fields),
    }
    if b"__bec_codec__" not in payload[20:]:
        struct = bare(kind)
        value = struct(**{f: getattr(ours, f) for f in kind.__struct_fields__})
        encoder, decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(struct)
        body = encoder.encode(value)
        made |= {
            "msgspec encode": lambda: encoder.encode(value),
            "msgspec decode": lambda: decoder.decode(body),
        }
    return made


def measure(rounds: int) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    blob = np.random.default_rng(1).random(131072).tobytes()
    copies = []
    for case, (name, fields) in CASES.items():
        made = calls(name, fields)
        count = 300 if "MiB" in case else 4000
        times: dict[str, list[float]] = {what: [] for what in made}
        for _ in range(rounds):
            for what, call in made.items():
                times[what].append(cpu_us(call, count))
            copies.append(cpu_us(lambda: bytearray(blob), 300))
        table[case] = {what: statistics.median(values) for what, values in times.items()}
    table["copy of 1 MiB"] = {"memcpy": statistics.median(copies)}
    return table


def measure_imports(rounds: int) -> dict[str, tuple[float, float]]:
    """CPU seconds of cold imports, interleaved."""
    times: dict[str, list[float]] = {name: [] for pair in IMPORTS.items() for name in pair}
    for _ in range(rounds):
        for name, seconds in times.items():
            program = f"import time; t = time.process_time(); import {name}; print(time.process_time() - t)"
            run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
            seconds.append(float(run.stdout.split()[-1]))
    return {
        ours: (statistics.median(times[ours]), statistics.median(times[theirs]))
        for ours, theirs in IMPORTS.items()
    }


HEADER = """
| message | encode: ours | bec_lib | msgspec | decode: ours | bec_lib | msgspec | times faster | construct: ours | bec_lib |
|---|---|---|---|---|---|---|---|---|---|"""  # noqa: E501  # one table row
COLUMNS = [f"{who} {what}" for what in ("encode", "decode") for who in ("ours", "bec", "msgspec")]


def show(table: dict[str, dict[str, float]]) -> None:
    print(HEADER)
    for case, row in table.items():
        if case in CASES:
            cells = [f"{row[column]:.2f}" if column in row else "" for column in COLUMNS]
            faster = (row["bec encode"] + row["bec decode"]) / (row["ours encode"] + row["ours decode"])
            built = f"{row['ours construct']:.2f} | {row['bec construct']:.2f}"
            print(f"| {case} | {' | '.join(cells)} | **{faster:.1f}** | {built} |")
    memcpy = table["copy of 1 MiB"]["memcpy"]
    for case in ("1 MiB array", "1 MiB image in a reading"):
        encode, decode = table[case]["ours encode"] / memcpy, table[case]["ours decode"] / memcpy
        print(f"\n{case}: encode {encode:.2f} copies, decode {decode:.2f} copies")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    table, imports = measure(rounds), measure_imports(rounds)
    print(f"CPU us, medians of {rounds} interleaved rounds; decode includes validation")
    show(table)
    for name, (ours, theirs) in imports.items():
        times = f"{ours * 1000:.0f} ms CPU, bec_lib's {theirs * 1000:.0f} ms"
        print(f"\nimport {name}: {times}: 1/{theirs / ours:.1f}")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    record = {"rounds": rounds, "cpu_us": table, "import_cpu_s": imports}
    (results / "codec.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
