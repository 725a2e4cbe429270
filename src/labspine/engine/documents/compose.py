"""
Compose documents of event-model by hand.

Start, descriptor and stop are checked: by a quick look (10 µs) where that is sure, by the schema (0.6 ms)
otherwise. Events are checked against their descriptor only (1 µs), which is what a schema cannot do.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ...errors import shown
from ...ids import new_uid
from ..errors import InvalidDocument
from .plain import is_surely_descriptor, is_surely_start, is_surely_stop, unstorable

__all__ = ["Document", "check", "descriptor", "start", "stop"]

Document = dict[str, Any]
"""A document of event-model."""

RESERVED_IN_START = ("uid", "time")


def check(name: str, doc: Document) -> None:
    """
    Check a document against the schema of event-model.

    Args:
        name: Name of the document type, for example ``start``.
        doc: The document.

    Raises:
        InvalidDocument: If it does not follow the schema; the text names the field.
    """
    # Imported here because event_model costs 140 ms, which a plan without runs need not pay.
    import event_model

    try:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
    except Exception as error:
        path = ".".join(str(part) for part in getattr(error, "absolute_path", ()))
        words = getattr(error, "message", str(error))
        raise InvalidDocument(
            f"the {name} document is not valid at {path or 'top'}: {shown(words, 200)}"
        ) from error


def start(metadata: Mapping[Any, Any]) -> Document:
    """
    Compose a start document.

    Args:
        metadata: Everything that describes the run; keys are text without dots and slashes.

    Returns:
        The checked document.

    Raises:
        InvalidDocument: If a key is reserved or not allowed, or a value does not follow the schema.
    """
    for key in metadata:
        if not isinstance(key, str):
            raise InvalidDocument(f"metadata key {shown(key)} is {type(key).__name__}; keys must be text")
        if key in RESERVED_IN_START:
            raise InvalidDocument(f'metadata key "{key}" is reserved; choose another name')
        if "." in key or "/" in key:
            raise InvalidDocument(f'metadata key "{shown(key)}" has a dot or slash; use "_" instead')
    problem = unstorable(metadata)
    if problem is not None:
        raise InvalidDocument(
            f"metadata {problem}, which cannot be stored; use text, numbers, lists, dicts or arrays"
        )
    doc: Document = {"uid": new_uid(), "time": time.time(), **metadata}
    if not is_surely_start(doc):
        check("start", doc)
    return doc


def descriptor(
    run_uid: str,
    name: str,
    *,
    data_keys: Document,
    configuration: Document,
    object_keys: Document,
    hints: Document,
) -> Document:
    """
    Compose a descriptor, which tells what the events of one stream contain.

    Args:
        run_uid: Identifier of the start document.
        name: Name of the stream.
        data_keys: Description by key.
        configuration: Configuration by object name.
        object_keys: Keys by object name.
        hints: Hints by object name.

    Returns:
        The checked document.

    Raises:
        InvalidDocument: If a device described itself wrongly.
    """
    doc = {
        "configuration": configuration,
        "data_keys": data_keys,
        "name": name,
        "object_keys": object_keys,
        "run_start": run_uid,
        "time": time.time(),
        "uid": new_uid(),
        "object_classes": {},
        "hints": hints,
    }
    if not is_surely_descriptor(doc):
        check("descriptor", doc)
    return doc


def stop(
    run_uid: str,
    *,
    exit_status: str,
    reason: str,
    num_events: Mapping[str, int],
    more: Mapping[str, Any] | None = None,
) -> Document:
    """
    Compose a stop document.

    Args:
        run_uid: Identifier of the start document.
        exit_status: ``success``, ``abort`` or ``fail``.
        reason: Why it ended, empty for a success.
        num_events: Number of events by stream.
        more: Further entries.

    Returns:
        The checked document.

    Raises:
        InvalidDocument: If exit_status is another word or reason is not text.
    """
    doc = {
        "uid": new_uid(),
        "time": time.time(),
        "run_start": run_uid,
        "exit_status": exit_status,
        "reason": reason,
        "num_events": dict(num_events),
        **(more or {}),
    }
    if not is_surely_stop(doc):
        check("stop", doc)
    return doc
