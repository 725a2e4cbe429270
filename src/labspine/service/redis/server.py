"""Calls on Redis, the serving side; see `labspine.flows.calls` for what lies on the broker."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Sequence
from typing import Any

import msgspec

from ...clock import mono_s
from ...errors import (
    DeadlinePassed,
    DeliveryUnknown,
    InvalidOperation,
    LabspineError,
    NotConnected,
    ServerError,
)
from ...flows import Exchange
from ...flows.calls import (
    SILENCE_MS,
    Entry,
    Outgoing,
    is_no_group,
    keys_of,
    reply_item,
    reply_key,
    serving,
)
from ...wire import Address, SyncWire, Template, WireOptions
from ..transport import Control, Delivery, Reply, Serving
from .line import Line, perform

__all__ = ["RedisCallServer", "outgoing_of"]

_ANNOUNCE_S = 10.0
_SURE_S = 0.8 * SILENCE_MS / 1000
_PAUSE_S = 0.01
_SMALL_BYTES = 16 * 1024
_LOST = (NotConnected, DeliveryUnknown, DeadlinePassed)


class RedisCallServer:
    """
    Serve one instance through a stream; see `CallServer`.

    Args:
        serving: What is served.
        address: Where the broker is, and as whom.
        options: Time limits and name.
        context: TLS settings.
    """

    def __init__(
        self,
        serving: Serving,
        address: Address,
        *,
        options: WireOptions,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.serving = serving
        self._keys = keys_of(serving.service)
        self._wire = SyncWire.made_for(address, options, context)
        self._taking = Line(self._wire, self._keys.stream)
        self._beating = Line(self._wire, self._keys.stream)
        self._facts = serving.facts
        self._lock = threading.Lock()
        self._unsent: list[Outgoing] = []
        self._held: set[bytes] = set()
        self._is_doubtful = False
        self._clock_ms = 0.0
        self._usual = Exchange((), block_s=-1.0)
        self._template = Template(())
        self._beaten_mono_s = 0.0
        self._announced_mono_s = -_ANNOUNCE_S
        self._is_waking = threading.Event()

    # --- life ---

    def start(self) -> None:
        """See `CallServer.start`."""
        perform(self._wire, serving.begin(self._keys))
        told = self.beat({}, wait_s=0.0)
        if any(control.kind == "usurped" for control in told):
            usurper = next(control.call_id for control in told if control.kind == "usurped")
            self._close()
            raise InvalidOperation(
                f'the service "{self.serving.service}" is exclusive and already served by {usurper}; '
                "stop that one first"
            )

    def stop(self) -> None:
        """See `CallServer.stop`."""
        self._is_waking.set()
        with contextlib.suppress(LabspineError):
            if self._unsent:
                self._wire.exchange(Exchange(tuple(serving.reply_commands(self._keys, self._unsent))))
            perform(self._wire, serving.end(self._keys, self.serving.service, self.serving.instance))
        self._close()

    def _close(self) -> None:
        self._taking.close()
        self._beating.close()
        self._wire.close()

    def wake(self) -> None:
        """See `CallServer.wake`."""
        self._is_waking.set()
        for line in (self._taking, self._beating):
            with contextlib.suppress(LabspineError):
                line.unblock()

    # --- requests and replies ---

    def take(self, replies: Sequence[Reply], *, count: int, wait_s: float) -> list[Delivery]:
        """See `CallServer.take`."""
        takes = count > 0 and not self._is_waking.is_set() and self._may_take()
        if takes and len(replies) == 1 and not (self._unsent or self._is_doubtful):
            usual = self._take_usually(replies[0], count, wait_s)
            if usual is not None:
                return usual
        if takes and self._is_doubtful:
            found = self._found_again()
            if found:
                self._keep(list(map(outgoing_of, replies)))
                return found
        with self._lock:
            outgoing = [*self._unsent, *map(outgoing_of, replies)]
            self._unsent = []
        commands = serving.reply_commands(self._keys, outgoing) if outgoing else []
        if takes:
            name = self.serving.instance
            commands.append(serving.take_command(self._keys, name, count=count, wait_s=wait_s))
        if not commands:
            self._is_waking.wait(_PAUSE_S)
            return []
        return self._taken(None, Exchange(tuple(commands), block_s=wait_s if takes else None), outgoing)

    def _take_usually(self, reply: Reply, count: int, wait_s: float) -> list[Delivery] | None:
        """Do the usual step, one last reply and the next request, from a template; None if it is another."""
        handle: Any = reply.delivery.handle
        if not (reply.is_final and handle and reply.body) or len(reply.body) > _SMALL_BYTES:
            return None
        if wait_s != self._usual.block_s:
            commands = serving.usual_commands(self._keys, self.serving.instance, wait_s=wait_s)
            self._template = Template(commands)
            self._usual = Exchange(tuple((str(command[0]),) for command in commands), block_s=wait_s)
        call_id = reply.delivery.call_id
        reply_list = reply_key(call_id).encode()
        item = reply_item(call_id, reply.body)
        packed = self._template.fill(reply_list, item, reply_list, handle, handle, b"%d" % count)
        return self._taken(packed, self._usual, [outgoing_of(reply)])

    def _taken(self, packed: bytes | None, ask: Exchange, outgoing: list[Outgoing]) -> list[Delivery]:
        """Send, and read the requests that come; what could not be sent is kept."""
        try:
            if packed is None:
                found = self._taking.exchange(ask)
            else:
                found = self._taking.exchange_packed(packed, ask)
        except ServerError as error:
            if not is_no_group(error):
                self._keep(outgoing)
                raise
            perform(self._taking, serving.begin(self._keys))  # the replies before it were done
            return []
        except LabspineError:
            self._is_doubtful = True
            self._keep(outgoing)
            raise
        for one in outgoing:
            self._held.discard(one.entry)
        if ask.block_s is None or not found[-1]:
            return []
        return [self._delivery(serving.request_of(raw)) for raw in found[-1][0][1] if raw[1]]

    def _keep(self, outgoing: list[Outgoing]) -> None:
        """Send these with the next requests."""
        with self._lock:
            self._unsent = [*outgoing, *self._unsent]

    def _found_again(self) -> list[Delivery]:
        """After a broken link: requests that the broker has handed out and that never came here."""
        held = perform(self._taking, serving.held_by(self._keys, self.serving.instance))
        self._is_doubtful = False
        return [
            self._delivery(entry, is_abandoned=count > 1)
            for entry, count in held
            if entry.id not in self._held
        ]

    def _may_take(self) -> bool:
        """Tell whether an exclusive instance can be sure that no other serves by now, as after a freeze."""
        return not self.serving.is_exclusive or mono_s() - self._beaten_mono_s < _SURE_S

    def reply(self, reply: Reply) -> int:
        """See `CallServer.reply`."""
        commands = serving.reply_commands(self._keys, [outgoing_of(reply)])
        if not commands:
            return 0
        try:
            found = self._wire.exchange(Exchange(tuple(commands), readonly=True))
        except _LOST:
            if reply.is_final:
                self._keep([outgoing_of(reply)])
            return 0
        if reply.is_final:
            self._held.discard(outgoing_of(reply).entry)
        return int(found[0]) if reply.body else 0

    def _delivery(self, entry: Entry, *, is_abandoned: bool = False) -> Delivery:
        left_s = entry.limit_ms / 1000
        if entry.id:
            now_ms = self._clock_ms + mono_s() * 1000
            self._held.add(entry.id)
            waited_s = (now_ms - int(entry.id.partition(b"-")[0])) / 1000
            left_s -= max(0.0, waited_s)
        return Delivery(
            call_id=entry.call_id,
            body=entry.body,
            left_s=left_s,
            is_abandoned=is_abandoned,
            is_for_all=not entry.id,
            handle=entry.id,
        )

    # --- signs of life ---

    def beat(self, load: dict[str, object], *, wait_s: float) -> list[Control]:
        """See `CallServer.beat`."""
        facts = msgspec.msgpack.encode({**self._facts, **load})
        name, instance = self.serving.service, self.serving.instance
        sent_mono_s = mono_s()
        self._is_doubtful |= not self._beating.is_open  # it may have inherited something that got lost
        found = perform(
            self._beating,
            serving.beat(
                self._keys,
                name,
                instance,
                facts=facts,
                is_exclusive=self.serving.is_exclusive,
                wait_s=wait_s,
            ),
        )
        if found.usurper:
            return [Control("usurped", found.usurper)]
        self._clock_ms = found.now_ms - sent_mono_s * 1000
        self._beaten_mono_s = sent_mono_s
        if mono_s() - self._announced_mono_s >= _ANNOUNCE_S:
            self._announce(found.now_ms)
        told = [self._control(item) for item in found.told]
        for dead in found.dead:
            entries = perform(self._beating, serving.inherit(self._keys, dead, instance))
            told += [Control("request", e.call_id, self._delivery(e, is_abandoned=True)) for e in entries]
        return told

    def _announce(self, now_ms: int) -> None:
        """Enter the service into the list of services."""
        self._beating.exchange(serving.announce(self.serving.service, now_ms=now_ms))
        self._announced_mono_s = mono_s()

    def _control(self, item: bytes) -> Control:
        read = serving.inbox_item(item)
        if isinstance(read, str):
            return Control("cancel", read)
        return Control("request", read.call_id, self._delivery(read))


def outgoing_of(reply: Reply) -> Outgoing:
    """Write a reply as the flows read it."""
    delivery = reply.delivery
    handle: Any = delivery.handle
    return Outgoing(delivery.call_id, reply.body, handle if reply.is_final else b"")
