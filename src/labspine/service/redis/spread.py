"""Calls on a Redis Cluster, the serving side: replies lie on other nodes than requests."""

from __future__ import annotations

import contextlib
import logging
import ssl
import threading
from collections.abc import Sequence
from dataclasses import replace

from ...clock import mono_s
from ...errors import DeadlinePassed, DeliveryUnknown, LabspineError, NotConnected, ServerError
from ...flows import Exchange
from ...flows.calls import Outgoing, serving
from ...wire import Address, SyncWire, WireOptions
from ..transport import Delivery, Reply, Serving
from .server import RedisCallServer, outgoing_of

__all__ = ["SpreadCallServer"]

_log = logging.getLogger("labspine.service")
_ASIDE_S = 1.0
_SOON_S = 0.1
_LOST = (NotConnected, DeliveryUnknown, DeadlinePassed)


class SpreadCallServer(RedisCallServer):
    """
    Serve one instance on a cluster; see `CallServer`.

    A reply is a write of its own to the node of its caller; the request is acknowledged when that is done.
    A node that is down delays the replies that lie there, and nothing else; one that is frozen holds up the
    others for a second at each attempt, until its replica is elected.

    Args:
        serving: What is served.
        address: Of the cluster, and as whom.
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
        super().__init__(serving, address, options=options, context=context)
        limit_s = min(_ASIDE_S, options.timeout_s)
        impatient = replace(options, timeout_s=limit_s, connect_timeout_s=limit_s, patience_s=0.0)
        self._aside = SyncWire.made_for(address, impatient, context)
        self._undelivered: list[Outgoing] = []
        self._announcing: threading.Thread | None = None

    def start(self) -> None:
        """See `CallServer.start`."""
        super().start()
        if self._announcing is not None:
            self._announcing.join(_ASIDE_S)

    def stop(self) -> None:
        """See `CallServer.stop`."""
        self._deliver(self._taken_over(), self._wire)
        super().stop()

    def _close(self) -> None:
        self._aside.close()
        super()._close()

    # --- replies ---

    def take(self, replies: Sequence[Reply], *, count: int, wait_s: float) -> list[Delivery]:
        """See `CallServer.take`."""
        self._deliver([*self._taken_over(), *map(outgoing_of, replies)], self._aside)
        is_late = bool(self._undelivered)
        return super().take((), count=count, wait_s=min(_SOON_S, wait_s) if is_late else wait_s)

    def reply(self, reply: Reply) -> int:
        """See `CallServer.reply`."""
        one = outgoing_of(reply)
        if not one.body:
            return super().reply(reply)
        try:
            found = self._wire.exchange(self._push(one))
        except _LOST:
            if reply.is_final:
                with self._lock:
                    self._undelivered.append(one)
            return 0
        if reply.is_final:
            super().reply(Reply(reply.delivery, b"", True))
        return int(found[0])

    def _push(self, one: Outgoing) -> Exchange:
        """Say what puts a reply into its list; twice does no harm, the caller drops the second."""
        commands = serving.reply_commands(self._keys, [one._replace(entry=b"")])
        return Exchange(tuple(commands), readonly=True)

    def _taken_over(self) -> list[Outgoing]:
        with self._lock:
            late, self._undelivered = self._undelivered, []
        return late

    def _deliver(self, replies: Sequence[Outgoing], wire: SyncWire) -> None:
        """Send replies; what is done is acknowledged with the next requests, what is lost is kept."""
        bodies = [one for one in replies if one.body]
        results = wire.exchange_many([self._push(one) for one in bodies]) if bodies else []
        done, late = [one for one in replies if not one.body], []
        for one, result in zip(bodies, results, strict=True):
            if isinstance(result, (*_LOST, ServerError)):
                late.append(one)
                continue
            if isinstance(result, LabspineError):
                _log.warning("%s: a reply was refused: %s", self.serving.service, result)
            done.append(one)
        with self._lock:
            self._undelivered = [*late, *self._undelivered]
        self._keep([one._replace(body=b"") for one in done if one.entry])

    # --- signs of life ---

    def _announce(self, now_ms: int) -> None:
        """Enter the service into the list of services, aside: a dead node must not hold up the beat."""
        if self._announcing is None or not self._announcing.is_alive():
            self._announcing = threading.Thread(
                target=self._announce_now, args=(now_ms,), name="labspine-service-announce", daemon=True
            )
            self._announcing.start()

    def _announce_now(self, now_ms: int) -> None:
        with contextlib.suppress(LabspineError):
            self._aside.exchange(serving.announce(self.serving.service, now_ms=now_ms))
            self._announced_mono_s = mono_s()
