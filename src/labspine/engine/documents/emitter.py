"""
The single writer of documents: one total order for everybody.

Plan, monitors and interruptions all emit here, on the thread of the loop. Every subscriber gets every
document, even when an earlier one raised; the first error is raised afterwards.
"""

from __future__ import annotations

import inspect
import warnings
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from ...errors import InvalidArgument, LabspineWarning, did_you_mean, shown
from .compose import Document

__all__ = ["DOCUMENT_NAMES", "Emitter", "Subscriber", "UnknownDocument", "subscribers_by_name"]

Subscriber = Callable[[str, Document], object]
"""Receives the name of a document and the document."""

DOCUMENT_NAMES = (
    "stop",
    "start",
    "descriptor",
    "event",
    "datum",
    "resource",
    "event_page",
    "datum_page",
    "stream_resource",
    "stream_datum",
    "bulk_datum",
    "bulk_events",
)
_SUBS_KEYS = ("all", "start", "stop", "event", "descriptor")


class UnknownDocument(InvalidArgument, KeyError):
    """A subscription names a document that does not exist."""

    def __str__(self) -> str:
        return str(self.args[0])


class Emitter:
    """Hand documents to subscribers, one at a time, in one order."""

    def __init__(self) -> None:
        self.ignore_exceptions = False
        self._next_token = 0
        self._tokens: dict[int, tuple[str, object]] = {}
        self._by_name: dict[str, dict[object, tuple[Subscriber, set[int]]]] = {n: {} for n in DOCUMENT_NAMES}
        self._targets: dict[str, tuple[Subscriber, ...]] = dict.fromkeys(DOCUMENT_NAMES, ())
        self._queue: deque[tuple[str, Document]] = deque()
        self._busy = False

    def subscribe(self, func: Subscriber, name: str = "all") -> int:
        """
        Register a subscriber; registering it twice still calls it once.

        Args:
            func: Called with name and document on the thread of the loop; held until unsubscribed.
            name: One document name, or ``all``.

        Returns:
            Token for :meth:`unsubscribe`.

        Raises:
            InvalidArgument: If func cannot be called with a name and a document, or is a coroutine function.
            UnknownDocument: If there is no such document.
        """
        if name != "all" and name not in DOCUMENT_NAMES:
            known = ", ".join(("all", *DOCUMENT_NAMES))
            raise UnknownDocument(
                f'no document "{shown(name)}"{did_you_mean(str(name), DOCUMENT_NAMES)}; use {known}'
            )
        check_subscriber(func)
        token = self._next_token
        self._next_token += 1
        key = _identity(func)
        for each in DOCUMENT_NAMES if name == "all" else (name,):
            self._by_name[each].setdefault(key, (func, set()))[1].add(token)
            self._retarget(each)
        self._tokens[token] = (name, key)
        return token

    def unsubscribe(self, token: int) -> bool:
        """
        Remove a subscription.

        Args:
            token: What :meth:`subscribe` returned.

        Returns:
            False when there is no such subscription.
        """
        found = self._tokens.pop(token, None)
        if found is None:
            return False
        name, key = found
        for each in DOCUMENT_NAMES if name == "all" else (name,):
            tokens = self._by_name[each][key][1]
            tokens.discard(token)
            if not tokens:
                del self._by_name[each][key]
            self._retarget(each)
        return True

    def unsubscribe_all(self) -> None:
        """Remove every subscription."""
        for token in list(self._tokens):
            self.unsubscribe(token)

    def _retarget(self, name: str) -> None:
        # A new tuple each time: a subscriber may unsubscribe while documents are handed out.
        self._targets[name] = tuple(func for func, _ in self._by_name[name].values())

    def emit(self, name: str, doc: Document) -> None:
        """
        Hand out one document; called by subscribers themselves, it waits until this one is finished.

        Args:
            name: Name of the document.
            doc: The document, shared by all subscribers.

        Raises:
            Exception: What the first failing subscriber raised, after all of them had the document.
        """
        if self._busy:
            self._queue.append((name, doc))
            return
        targets = self._targets[name]
        if not targets:
            return
        self._busy = True
        errors: list[Exception] = []
        try:
            self._hand_out(name, doc, errors)
            while self._queue:
                self._hand_out(*self._queue.popleft(), errors)
        finally:
            self._busy = False
        if errors:
            raise errors[0]

    def _hand_out(self, name: str, doc: Document, errors: list[Exception]) -> None:
        for target in self._targets[name]:
            try:
                target(name, doc)
            except Exception as error:
                if self.ignore_exceptions:
                    warnings.warn(
                        f"{shown(target)} raised {error!r} on a {name} document; it is ignored because "
                        "ignore_callback_exceptions is set",
                        LabspineWarning,
                        stacklevel=3,
                    )
                    continue
                if errors:
                    errors[0].add_note(f"also failed: {shown(target)} on a {name} document: {error!r}")
                else:
                    errors.append(error)


def check_subscriber(func: object) -> None:
    """
    Find out whether something can receive documents.

    Args:
        func: The would-be subscriber.

    Raises:
        InvalidArgument: If it is not callable with (name, document), or is a coroutine function.
    """
    if not callable(func):
        raise InvalidArgument(f"a subscriber must be callable with (name, document); got {shown(func)}")
    if inspect.iscoroutinefunction(func):
        raise InvalidArgument(
            f"{shown(func)} is a coroutine function and would never run; use a plain function"
        )
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):  # some builtins have none
        return
    try:
        signature.bind("start", {})
    except TypeError as error:
        raise InvalidArgument(
            f"{shown(func)} cannot be called as f(name, document): {error}; its signature is {signature}"
        ) from None


def subscribers_by_name(subs: Any) -> list[tuple[str, Subscriber]]:
    """
    Read the ``subs`` argument of an engine call.

    Args:
        subs: None, a callable, an iterable of callables, or a mapping of document name to one or several.

    Returns:
        Pairs of document name and callable.

    Raises:
        InvalidArgument: If it is something else.
    """
    if subs is None:
        return []
    if callable(subs):
        return [("all", subs)]
    if hasattr(subs, "items"):
        pairs: list[tuple[str, Subscriber]] = []
        for name, funcs in subs.items():
            if name not in _SUBS_KEYS:
                raise UnknownDocument(f'subs has no key "{shown(name)}"; use one of {", ".join(_SUBS_KEYS)}')
            pairs.extend((name, func) for func in ([funcs] if callable(funcs) else funcs))
        return pairs
    if isinstance(subs, Iterable) and not isinstance(subs, str | bytes):
        return [("all", func) for func in subs]
    raise InvalidArgument(f"subs must be a callable, a list or a dict of callables; got {shown(subs)}")


def _identity(func: object) -> object:
    try:
        hash(func)
    except TypeError:
        return id(func)
    return func
