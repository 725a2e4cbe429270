"""Turn the arguments of ``register`` and ``unregister`` into subscriptions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

from ..endpoints import EndpointInfo
from ..errors import InvalidArgument, shown
from ..flows import checks, located, located_pattern
from .callbacks import check_callback
from .options import ConnectorOptions
from .subscriptions import Subscription

__all__ = ["Endpoints", "Registration", "chosen_endpoints", "matching", "not_yet_there"]

Endpoint: TypeAlias = EndpointInfo[Any]
Endpoints: TypeAlias = Endpoint | Sequence[Endpoint]


class Registration:
    """
    Check what a caller wants to listen to, and make the subscriptions.

    Args:
        options: Of the connector.
        new_lock: Makes the guard of a queue.
        work: Works on a subscription; becomes its ``run``.
        may_be_coroutine: Whether callbacks may be coroutine functions.
    """

    def __init__(
        self,
        options: ConnectorOptions,
        new_lock: Callable[[], AbstractContextManager[Any]],
        work: Callable[[Subscription], Any],
        *,
        may_be_coroutine: bool,
    ) -> None:
        self._options = options
        self._new_lock = new_lock
        self._work = work
        self._may_be_coroutine = may_be_coroutine

    def subscriptions(
        self,
        endpoints: Sequence[Endpoint],
        callback: object,
        kwargs: Mapping[str, Any],
        *,
        from_start: bool,
        since_utc_s: float | None,
        newest_only: bool,
    ) -> list[Subscription]:
        """
        Make one subscription an endpoint.

        Args:
            endpoints: Where, in the profile of the connector.
            callback: Whom to call.
            kwargs: Keyword arguments of each call.
            from_start: Deliver first what is still recorded.
            since_utc_s: Deliver first what was recorded since this time.
            newest_only: Keep only the newest message while the callback is busy.

        Returns:
            The subscriptions, streams and events mixed.

        Raises:
            InvalidArgument: If the callback cannot be called or the options do not go together.
            InvalidOperation: If an endpoint does not allow ``register``.
        """
        checked = check_callback(callback, kwargs, may_be_coroutine=self._may_be_coroutine)
        if newest_only and (from_start or since_utc_s is not None):
            raise InvalidArgument("newest_only cannot go together with from_start or since_utc_s: choose one")
        if from_start and since_utc_s is not None:
            raise InvalidArgument("from_start and since_utc_s cannot go together: choose one")
        made: list[Subscription] = []
        for endpoint in endpoints:
            endpoint.require("register")
            is_stream = endpoint.message_op.name == "STREAM"
            if is_stream and endpoint.is_pattern:
                raise InvalidArgument(
                    f"{endpoint.name} is a stream, and streams cannot be registered by pattern: name each one"
                )
            source = endpoint.endpoint if is_stream else endpoint.history
            if not is_stream and (newest_only or not self._options.history):
                source = None
            if source is None and (from_start or since_utc_s is not None):
                raise InvalidArgument(
                    f"{endpoint.name} ({endpoint.endpoint}) has no history, which a replay needs"
                )
            made.append(self._made(endpoint, checked, kwargs, source, newest_only))
        for subscription in made:
            _start_at(subscription, from_start, since_utc_s)
        return made

    def _made(
        self,
        endpoint: Endpoint,
        callback: Callable[..., Any],
        kwargs: Mapping[str, Any],
        source: str | None,
        newest_only: bool,
    ) -> Subscription:
        subscription = Subscription(endpoint, callback, kwargs, source=source, lock=self._new_lock())
        subscription.newest_only = newest_only
        subscription.most_entries = self._options.queue_size
        subscription.most_bytes = self._options.queue_bytes
        subscription.run = lambda: self._work(subscription)
        return subscription


def _start_at(subscription: Subscription, from_start: bool, since_utc_s: float | None) -> None:
    if since_utc_s is not None:
        ms = round(checks.seconds("since_utc_s", since_utc_s) * 1000)
        subscription.position = (max(0, ms - 1), 2**64 - 1)
    if from_start or since_utc_s is not None or (subscription.newest_only and subscription.is_stream):
        subscription.is_replay = True
        subscription.tells_trimmed = False


def chosen_endpoints(
    topics: Endpoints | None, patterns: Endpoints | None, options: ConnectorOptions
) -> list[Endpoint]:
    """
    Collect the endpoints that a call names.

    Args:
        topics: One endpoint or several.
        patterns: One pattern or several.
        options: Of the connector, for the profile.

    Returns:
        The endpoints as the broker knows them, each once.

    Raises:
        InvalidArgument: If there is none, or if one is not an endpoint.
    """
    chosen: dict[tuple[str, bool], Endpoint] = {}
    for topic in _listed(topics):
        found: Endpoint = located(topic, options.profile, in_cluster=options.in_cluster)
        chosen[found.endpoint, found.is_pattern] = found
    for pattern in _listed(patterns):
        found = located_pattern(pattern, options.profile, in_cluster=options.in_cluster)
        chosen[found.endpoint, found.is_pattern] = found
    if not chosen:
        raise InvalidArgument("nothing to listen to: register(endpoint, cb=function)")
    return list(chosen.values())


def _listed(endpoints: Endpoints | None) -> Iterable[Endpoint]:
    if endpoints is None:
        return ()
    if isinstance(endpoints, (list, tuple, set, frozenset)):
        return endpoints
    if isinstance(endpoints, Mapping):
        raise InvalidArgument(f"expected an endpoint or a list of them, got {shown(endpoints)}")
    return (endpoints,)  # type: ignore[return-value]  # one that is none is refused by `located`


def matching(
    subscriptions: Iterable[Subscription], endpoints: Sequence[Endpoint] | None, callback: object
) -> list[Subscription]:
    """
    Find the subscriptions that a call of ``unregister`` means.

    Args:
        subscriptions: All there are.
        endpoints: Where; None for everywhere.
        callback: Which callback; None for all. Bound methods are compared by value.

    Returns:
        Those that match.
    """
    places = None if endpoints is None else {(e.endpoint, e.is_pattern) for e in endpoints}
    return [
        s
        for s in subscriptions
        if (places is None or (s.endpoint.endpoint, s.endpoint.is_pattern) in places)
        and (callback is None or s.callback == callback)
    ]


def not_yet_there(made: Iterable[Subscription], existing: Iterable[Subscription]) -> list[Subscription]:
    """
    Leave out what is registered already: same place, same callback, equal keyword arguments.

    Args:
        made: New subscriptions.
        existing: Those that there are.

    Returns:
        The new ones that are not there yet.
    """
    present = list(existing)
    return [new for new in made if not any(_is_same(new, old) for old in present)]


def _is_same(new: Subscription, old: Subscription) -> bool:
    if (new.key, new.endpoint.is_pattern) != (old.key, old.endpoint.is_pattern):
        return False
    if new.callback != old.callback or new.kwargs.keys() != old.kwargs.keys():
        return False
    return all(_is_equal(value, old.kwargs[name]) for name, value in new.kwargs.items())


def _is_equal(one: object, other: object) -> bool:
    """Compare like ``==``; things that cannot say (arrays) are equal only to themselves."""
    try:
        return one is other or bool(one == other)
    except Exception:
        return False
