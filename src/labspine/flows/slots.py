"""
Where the keys of a command live on a Redis Cluster: its 16384 slots, purely.

A key belongs to the slot that CRC16 of its name gives, or of the part in braces if there is one; each slot
has one master. A command may touch keys of one slot only. What can be done key by key (MGET, DEL, XREAD of
several streams) is taken apart here and put together again; what must be one step is refused with a sentence.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..errors import InvalidOperation, shown
from .exchange import Argument, Command, Exchange

__all__ = ["ANYWHERE", "EVERYWHERE", "SCANNING", "SLOTS", "Part", "Plan", "keys_of", "planned", "slot_of"]

SLOTS = 16384
ANYWHERE = -1
"""The slot of what any node can do."""
EVERYWHERE = -2
"""The slot of what each master must be asked."""
SCANNING = -3
"""The slot of SCAN, which goes from one master to the next."""

_SUMMED = frozenset({"DEL", "UNLINK", "EXISTS", "TOUCH"})
_ALL_ARGUMENTS = _SUMMED | {"MGET", "SUNION", "SINTER", "SDIFF", "PFCOUNT", "WATCH"}
_ALL_BUT_LAST = frozenset({"BLPOP", "BRPOP", "BZPOPMIN", "BZPOPMAX"})
_FIRST_TWO = frozenset({"LMOVE", "BLMOVE", "RPOPLPUSH", "BRPOPLPUSH", "SMOVE", "RENAME", "RENAMENX", "COPY"})
_COUNTED_AT = {
    **dict.fromkeys(("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"), 2),
    **dict.fromkeys(("LMPOP", "ZMPOP", "SINTERCARD", "ZUNION", "ZINTER"), 1),
    **dict.fromkeys(("BLMPOP", "BZMPOP"), 2),
}
_SECOND = frozenset({"XINFO", "XGROUP", "OBJECT", "MEMORY"})
_EVERYWHERE = frozenset({"INFO", "SCRIPT", "FUNCTION", "DBSIZE"})
_KEYLESS = frozenset(
    (
        *("PING", "ECHO", "TIME", "CLIENT", "CONFIG", "COMMAND", "AUTH", "SELECT", "ROLE", "ACL", "LASTSAVE"),
        *("WAIT", "WAITAOF", "MULTI", "EXEC", "DISCARD", "CLUSTER", "ASKING", "LATENCY", "SLOWLOG"),
        *("PUBSUB", "SUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE"),
    )
)


def slot_of(key: Argument) -> int:
    """
    Find the slot of a key.

    Args:
        key: Its whole name; a part in braces alone decides.

    Returns:
        0 to 16383.

    Source:
        https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ (key distribution model).
    """
    name = key if isinstance(key, bytes) else str(key).encode()
    opened = name.find(b"{")
    if opened >= 0:
        closed = name.find(b"}", opened + 1)
        if closed > opened + 1:
            name = name[opened + 1 : closed]
    return crc_hqx(name, 0) % SLOTS


def keys_of(command: Command) -> Sequence[Argument]:
    """
    Find the keys in a command.

    Args:
        command: Name and arguments.

    Returns:
        Its keys, in order; empty if it has none.
    """
    word = _word(command[0])
    if len(command) < 2 or word in _KEYLESS or word in _EVERYWHERE or word in ("SCAN", "PUBLISH"):
        return ()
    if word in _ALL_ARGUMENTS:
        return command[1:]
    if word in _ALL_BUT_LAST:
        return command[1:-1]
    if word in _FIRST_TWO:
        return command[1:3]
    if word in ("MSET", "MSETNX"):
        return command[1::2]
    if word in _COUNTED_AT:
        at = _COUNTED_AT[word]
        return command[at + 1 : at + 1 + int(command[at])]
    if word in ("XREAD", "XREADGROUP"):
        first = next(at for at, part in enumerate(command) if _word(part) == "STREAMS") + 1
        return command[first : first + (len(command) - first) // 2]
    return command[2:3] if word in _SECOND else command[1:2]


def _word(argument: Argument) -> str:
    return (argument.decode("ascii", "replace") if isinstance(argument, bytes) else str(argument)).upper()


class Part(NamedTuple):
    """
    A piece of an exchange that one node can do.

    Args:
        slot: Where; or `ANYWHERE`, `EVERYWHERE`, `SCANNING`.
        ask: What to do there.
        places: For each of its commands: the number of the command in the whole, and which of that one's
            items (keys) it answers.
    """

    slot: int
    ask: Exchange
    places: tuple[tuple[int, tuple[int, ...]], ...]


class Plan(NamedTuple):
    """
    How an exchange is done on a cluster.

    Args:
        ask: The whole.
        parts: What it is taken apart into; one if it need not be.
    """

    ask: Exchange
    parts: tuple[Part, ...]

    def joined(self, replies: Sequence[Sequence[Any]]) -> list[Any]:
        """
        Put the replies to the parts together.

        Args:
            replies: For each part one reply a command.

        Returns:
            One reply a command of the whole.
        """
        if len(self.parts) == 1:
            return list(replies[0])
        found: list[list[tuple[tuple[int, ...], Any]]] = [[] for _ in self.ask.commands]
        for part, answers in zip(self.parts, replies, strict=True):
            for (number, items), answer in zip(part.places, answers, strict=True):
                found[number].append((items, answer))
        return [_joined(command, pieces) for command, pieces in zip(self.ask.commands, found, strict=True)]


def planned(ask: Exchange) -> Plan:
    """
    Take an exchange apart into pieces that one node can do each.

    Args:
        ask: Any exchange.

    Returns:
        The plan.

    Raises:
        InvalidOperation: If it must be one step, and its keys are not in one slot.
    """
    commands = ask.commands
    if len(commands) == 1:
        keys = keys_of(commands[0])
        if len(keys) == 1:
            return Plan(ask, (Part(slot_of(keys[0]), ask, ((0, (0,)),)),))
    if ask.transaction or _word(commands[0][0]) == "MULTI":
        slot = _one_slot(ask)
        return Plan(ask, (Part(slot, ask, ((0, ()),)),))
    pieces: dict[int, tuple[list[Command], list[tuple[int, tuple[int, ...]]]]] = {}
    for number, command in enumerate(commands):
        for slot, piece, items in _pieces(command):
            some, places = pieces.setdefault(slot, ([], []))
            some.append(piece)
            places.append((number, items))
    if ANYWHERE in pieces and len(pieces) == 2 and max(pieces) >= 0:
        del pieces[ANYWHERE]  # it goes with the others: one write, and the clock of the node that has them
    if len(pieces) == 1:
        (slot,) = pieces
        return Plan(ask, (Part(slot, ask, tuple((n, ()) for n in range(len(commands)))),))
    parts = [
        Part(slot, Exchange(tuple(some), False, ask.readonly, None, ask.keep_order), tuple(places))
        for slot, (some, places) in pieces.items()
    ]
    return Plan(ask, tuple(parts))


def _one_slot(ask: Exchange) -> int:
    """Find the slot of something that is one step; what only publishes stays with its channel."""
    keys = [key for command in ask.commands for key in keys_of(command)]
    if not keys:
        channels = [command[1] for command in ask.commands if _word(command[0]) == "PUBLISH"]
        return _slot_of_channel(channels[0]) if channels else ANYWHERE
    slots = {slot_of(key) for key in keys}
    if len(slots) > 1:
        raise _cannot_be_one_step("a transaction", keys)
    return slots.pop()


def _slot_of_channel(channel: Argument) -> int:
    """
    Choose who publishes: any node could, and hands it on to all.

    The order of what one sender says wants always the same, also under a pattern over channels of one parent.
    """
    name = channel if isinstance(channel, bytes) else str(channel).encode()
    return slot_of(name.rpartition(b"/")[0] or name)


def _cannot_be_one_step(what: str, keys: Sequence[Argument]) -> InvalidOperation:
    by_slot = {slot_of(key): key for key in keys}
    first, second, *_ = (
        shown(k.decode("utf-8", "replace") if isinstance(k, bytes) else k) for k in by_slot.values()
    )
    return InvalidOperation(
        f'{what} on "{first}" and "{second}" cannot be one step on a Redis Cluster: they lie on different '
        "slots; do it in two calls, or give both names the same part in braces"
    )


def _pieces(command: Command) -> list[tuple[int, Command, tuple[int, ...]]]:
    word = _word(command[0])
    if word == "SCAN":
        return [(SCANNING, command, ())]
    if word in _EVERYWHERE:
        return [(EVERYWHERE, command, ())]
    if word == "PUBLISH":
        return [(_slot_of_channel(command[1]), command, ())]
    keys = keys_of(command)
    if not keys:
        return [(ANYWHERE, command, ())]
    by_slot: dict[int, list[int]] = {}
    for at, key in enumerate(keys):
        by_slot.setdefault(slot_of(key), []).append(at)
    if len(by_slot) == 1:
        return [(next(iter(by_slot)), command, tuple(range(len(keys))))]
    if word in _SUMMED or word == "MGET":
        return [(s, (command[0], *(keys[at] for at in items)), tuple(items)) for s, items in by_slot.items()]
    if word == "XREAD":
        return [(s, _stream_piece(command, keys, items), tuple(items)) for s, items in by_slot.items()]
    raise _cannot_be_one_step(word, keys)


def _stream_piece(command: Command, keys: Sequence[Argument], items: Sequence[int]) -> Command:
    """Read some streams only, and do not wait: who asks for several slots comes back by itself."""
    first = len(command) - 2 * len(keys)
    words = list(command[:first])
    block = next((at for at, part in enumerate(words) if _word(part) == "BLOCK"), None)
    if block is not None:
        del words[block : block + 2]
    after = command[first + len(keys) :]
    return (*words, *(keys[at] for at in items), *(after[at] for at in items))


def _joined(command: Command, pieces: list[tuple[tuple[int, ...], Any]]) -> Any:
    if len(pieces) == 1:
        return pieces[0][1]
    return _JOINS[_word(command[0])](pieces)


def _joined_values(pieces: list[tuple[tuple[int, ...], Any]]) -> list[Any]:
    by_item = {item: value for items, values in pieces for item, value in zip(items, values, strict=True)}
    return [by_item[item] for item in sorted(by_item)]


def _joined_streams(pieces: list[tuple[tuple[int, ...], Any]]) -> list[Any] | None:
    return [stream for _, found in pieces for stream in found or ()] or None


def _summed(pieces: list[tuple[tuple[int, ...], Any]]) -> int:
    return sum(count for _, count in pieces)


_JOINS: dict[str, Callable[[list[tuple[tuple[int, ...], Any]]], Any]] = {
    "MGET": _joined_values,
    "XREAD": _joined_streams,
    **dict.fromkeys(_SUMMED, _summed),
}
