"""Deliver messages to callbacks: live ones and, from the history, missed ones; each once and in order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import DeadlinePassed, LabspineError, NotConnected, ServerError
from ...flows import history, streams
from ...flows.history import Entry
from ...messages import decode
from ..callbacks import callback_name
from ..counters import Counters
from ..message_object import Gap, MessageObject
from ..pages import SharedPages
from ..subscriptions import CATCH_UP, LAST_VALUE, Item, Subscription
from ..tracking import Mark, Verdict, read_mark
from .workers import AsyncGate, call, pause

__all__ = ["AsyncDelivery"]

_log = logging.getLogger("labspine.connector")
_RETRY_S = 0.2
_MOST_PLAIN_CHANNELS = 1000


class AsyncDelivery:
    """
    Work on subscriptions.

    Args:
        perform: Performs a flow on the connector's wire.
        counters: Where to count.
    """

    def __init__(self, perform: Callable[..., Any], counters: Counters) -> None:
        self._perform = perform
        self._counters = counters
        self._pages = SharedPages()
        self._reading = AsyncGate()

    async def work(self, subscription: Subscription) -> bool:
        """Do all that a subscription has to do now, whatever goes wrong; tells whether anybody was called."""
        delivered = self._counters.delivered
        while True:
            work = subscription.take()
            if work is None:
                return self._counters.delivered != delivered
            try:
                if isinstance(work, list):
                    await self._deliver(subscription, work)
                elif work is CATCH_UP:
                    await self._catch_up(subscription)
                elif work is LAST_VALUE:
                    await self._repeat_last_value(subscription)
            except Exception:
                _log.exception("delivery on %s failed and goes on", subscription.endpoint.endpoint)

    # --- live ---

    async def _deliver(self, subscription: Subscription, items: Sequence[Item]) -> None:
        source, follows = subscription.source, subscription.tracker.follows
        message_type = subscription.message_type
        for channel, payload, _ in items:
            if subscription.is_closed:
                return
            if type(payload) is not bytes:
                await self._deliver_other(subscription, channel, payload)
                continue
            if source is None:
                if subscription.is_value:
                    self._remember_plain(subscription, channel, payload)
            elif not (follows(channel, payload) or await self._is_news(subscription, channel, payload)):
                self._counters.repeats += 1
                continue
            try:
                value = decode(payload, message_type)
            except LabspineError as error:
                self._undecodable(subscription, channel, error)
            else:
                await self._call(subscription, channel, value)

    async def _deliver_other(self, subscription: Subscription, channel: bytes, item: Any) -> None:
        if isinstance(item, Gap):
            await self._tell_gap(subscription, channel, item.missed)
        else:
            await self._deliver_entry(subscription, item)

    async def _is_news(self, subscription: Subscription, channel: bytes, payload: bytes) -> bool:
        """Judge an event that is not simply the next one; when some are missing, read them first."""
        mark = read_mark(payload)
        if mark is None:
            return True
        tracker = subscription.tracker
        verdict = tracker.judge(channel, *mark)
        if verdict is Verdict.AFTER_HOLE:
            subscription.fall_behind()
            await self._catch_up(subscription)
            verdict = tracker.judge(channel, *mark)
        if verdict is Verdict.SEEN:
            return False
        tracker.mark(channel, *mark)
        return True

    def _remember_plain(self, subscription: Subscription, channel: bytes, payload: bytes) -> None:
        seen = subscription.last_plain
        if channel not in seen and len(seen) >= _MOST_PLAIN_CHANNELS:
            del seen[next(iter(seen))]
        seen[channel] = hash(payload)

    async def _repeat_last_value(self, subscription: Subscription) -> None:
        """After a reconnect: deliver the stored value of each channel, unless it is what came last."""
        channels = list(subscription.last_plain) if subscription.endpoint.is_pattern else [subscription.key]
        for channel in channels:
            payload = await self._perform(history.stored_value(subscription.endpoint.tag.encode() + channel))
            if payload is None or subscription.last_plain.get(channel) == hash(payload):
                continue
            await self._deliver(subscription, [(channel, payload, 0)])

    # --- from the history ---

    async def _catch_up(self, subscription: Subscription) -> None:
        """Read what was missed, until nothing is missing and the queue takes over again."""
        self._pages.begin(subscription)
        try:
            while subscription.may_read():
                try:
                    await self._read_on(subscription)
                    subscription.settling()
                    await self._read_on(subscription)
                    subscription.settled()
                except (NotConnected, DeadlinePassed, ServerError) as error:
                    _log.warning(
                        "cannot read what %s missed, trying again: %s", subscription.endpoint.endpoint, error
                    )
                    subscription.unsettled()
                    await pause(_RETRY_S)
                except LabspineError:
                    _log.exception("cannot read what %s missed", subscription.endpoint.endpoint)
                    subscription.settling()
                    subscription.settled()
                    await self._tell_gap(subscription, subscription.key, None)
        finally:
            self._pages.end(subscription)

    async def _read_on(self, subscription: Subscription) -> None:
        """Read from the present position to the end."""
        if subscription.is_stream:
            await self._read_stream(subscription)
            return
        count, is_trimmed = 0, False
        while not subscription.is_closed:
            page = await self._page(subscription, count)
            is_trimmed = is_trimmed or (page.is_trimmed and subscription.tells_trimmed)
            for entry in page.entries:
                if subscription.listens_to(entry.channel):
                    await self._replay(subscription, entry, is_trimmed)
            subscription.position = page.last
            if page.is_last:
                subscription.tells_trimmed = True
                return
            count = page.next_count

    async def _page(self, subscription: Subscription, count: int) -> history.Page:
        """Read a page of the history, unless another subscription that is behind has just read the same."""
        source, position = subscription.source or "", subscription.position
        key = (source, subscription.heard_since, position, count)
        async with self._reading:
            page = self._pages.get(key)
            if page is None:
                page = await self._perform(history.page(source, position, count))
                self._pages.put(key, page)
            return page

    async def _replay(self, subscription: Subscription, entry: Entry, is_trimmed: bool) -> None:
        mark = read_mark(b"\x82" + entry.stamp)
        if mark is None or subscription.is_closed:
            return
        tracker = subscription.tracker
        verdict = tracker.judge(entry.channel, *mark)
        if verdict is Verdict.SEEN:
            return
        if is_trimmed:
            await self._tell_trimmed(subscription, entry.channel, mark)
        payload = entry.payload
        if payload is None:
            payload = await self._held(subscription, entry)
        tracker.mark(entry.channel, *mark)
        if payload is None:
            await self._tell_gap(subscription, entry.channel, 1)
        else:
            await self._give(subscription, entry.channel, payload)

    async def _tell_trimmed(self, subscription: Subscription, channel: bytes, mark: Mark) -> None:
        """Tell what is missing before an event when the history has lost its beginning."""
        sender, number = mark
        tracker = subscription.tracker
        if not tracker.knows(channel, sender):
            if number > 1:
                await self._tell_gap(subscription, channel, None)
            return
        missed = tracker.close_holes(channel, sender, number)
        if missed:
            await self._tell_gap(subscription, channel, missed)

    async def _held(self, subscription: Subscription, entry: Entry) -> bytes | None:
        """Find a payload that was too large for the history, if it was heard live."""
        payload = subscription.take_held(entry.stamp)
        tries = 100 if entry.id > subscription.heard_since else 0
        while payload is None and tries and subscription.is_ready and not subscription.is_closed:
            await pause(0.01)
            payload = subscription.take_held(entry.stamp)
            tries -= 1
        return payload

    # --- streams ---

    async def _read_stream(self, subscription: Subscription) -> None:
        if subscription.newest_only:
            entries = await self._perform(streams.newest_entry(subscription.source or ""))
            for entry in entries:
                await self._deliver_entry(subscription, entry)
            return
        count = 0
        while not subscription.is_closed:
            source = subscription.source or ""
            entries, is_trimmed = await self._perform(
                streams.stream_page(source, subscription.position, count)
            )
            if is_trimmed and subscription.tells_trimmed:
                await self._tell_gap(subscription, subscription.key, None)
            for entry in entries:
                await self._deliver_entry(subscription, entry)
            subscription.tells_trimmed = True
            if len(entries) < (count or streams.FIRST_COUNT):
                return
            count = streams.FIRST_COUNT

    async def _deliver_entry(self, subscription: Subscription, entry: tuple[Any, list[bytes]]) -> None:
        entry_id, fields = entry
        if subscription.is_closed or entry_id <= subscription.position:
            return
        subscription.position = entry_id
        try:
            record = streams.decoded_record(fields)
        except LabspineError as error:
            self._undecodable(subscription, subscription.key, error)
            return
        value = record["data"] if len(record) == 1 and "data" in record else record
        await self._call(subscription, subscription.key, value)

    # --- to the callback ---

    async def _give(self, subscription: Subscription, channel: bytes, payload: bytes) -> None:
        try:
            value = decode(payload, subscription.message_type)
        except LabspineError as error:
            self._undecodable(subscription, channel, error)
            return
        await self._call(subscription, channel, value)

    def _undecodable(self, subscription: Subscription, channel: bytes, error: LabspineError) -> None:
        self._counters.undecodable += 1
        _log.error(
            "a payload on %s is not %s: %s", channel, subscription.endpoint.message_type.__name__, error
        )

    async def _tell_gap(self, subscription: Subscription, channel: bytes, missed: int | None) -> None:
        self._counters.gaps += 1
        await self._call(subscription, channel, Gap(missed))

    async def _call(self, subscription: Subscription, channel: bytes, value: object) -> None:
        self._counters.delivered += 1
        try:
            await call(subscription.callback, MessageObject(channel.decode(), value), subscription.kwargs)
        except Exception:
            self._counters.callback_errors += 1
            _log.exception("callback %s failed on %s", callback_name(subscription.callback), channel.decode())
