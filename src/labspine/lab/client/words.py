"""From the words that a person types to a scan request."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from labspine.errors import InvalidArgument, shown
from labspine.messages import ScanQueueMessage

__all__ = ["words_to_request"]

_WITHOUT_DETECTORS = frozenset({"mv"})


def words_to_request(
    plan: str,
    words: Sequence[str],
    *,
    metadata: Mapping[str, object] | None = None,
    first_parameter: str | None = None,
) -> ScanQueueMessage:
    """
    Turn words into a scan request; devices stay names, nothing is looked up or evaluated.

    ``scan det,i0 x -5 5 101`` becomes args ``[["det", "i0"], "x", -5, 5, 101]``. Numbers and Python
    literals such as ``[1, 2, 3]``, ``True`` or ``None`` become values, ``key=value`` a keyword argument, and
    everything else stays text.

    Args:
        plan: Name of the plan.
        words: What follows the name of the plan.
        metadata: What the person says about the sample and the purpose; goes into the start of the run.
        first_parameter: Name of the plan's first parameter, as ``available_scans`` tells; only
            ``detectors`` makes a list of the first word. None decides by the name of the plan.

    Returns:
        The request; send it with the client's ``submit``.

    Raises:
        InvalidArgument: If a keyword is given twice or a positional word follows a keyword.
    """
    takes_detectors = (
        plan not in _WITHOUT_DETECTORS if first_parameter is None else first_parameter == "detectors"
    )
    args: list[object] = []
    kwargs: dict[str, object] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if equals and key.isidentifier():
            if key in kwargs:
                raise InvalidArgument(f"{key} is given twice")
            kwargs[key] = _detectors(text) if key == "detectors" else _value(text)
        elif kwargs:
            raise InvalidArgument(f"{shown(word)} follows a keyword argument; put key=value words last")
        elif takes_detectors and not args:
            args.append(_detectors(word))
        else:
            args.append(_value(word))
    said = {"user_metadata": dict(metadata)} if metadata else {}
    return ScanQueueMessage(scan_type=plan, parameter={"args": args, "kwargs": kwargs}, metadata=said)


def _detectors(word: str) -> list[str]:
    return [name for name in word.strip("[]").replace(" ", "").split(",") if name]


def _value(text: str) -> object:
    """Read a literal; names, calls and anything too deep or long stay text, and nothing is evaluated."""
    if len(text) > 100_000:
        raise InvalidArgument(f"a word of {len(text)} characters is too long; 100000 are possible")
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
