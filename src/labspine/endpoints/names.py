"""
The grammar of names: what may stand between two slashes of a channel.

A name never holds a wildcard, a slash, a control character or an odd Unicode form, so that nobody can
widen a subscription or reach another channel through a device name. Patterns go through their own call.
"""

from __future__ import annotations

import re
import unicodedata

from ..errors import InvalidArgument, InvalidName, shown

__all__ = ["MAX_NAME_BYTES", "check_glob", "check_segment"]

MAX_NAME_BYTES = 512
_SEGMENT = re.compile(r"[\w.\-]+")
_GLOB = re.compile(r"[\w.\-*?]+")
_RULE = "letters, digits and _-. are allowed"


def check_segment(value: object, *, where: str) -> str:
    """
    Check one segment of a channel name.

    Args:
        value: Text, or a whole number such as a point number.
        where: What the segment is for, for the error text.

    Returns:
        The segment as text.

    Raises:
        InvalidArgument: If it is neither text nor a whole number.
        InvalidName: If it breaks the grammar; the text says how.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise InvalidArgument(f"{where}: expected a name, got `{type(value).__name__}`")
    if _SEGMENT.fullmatch(value) and value.strip(".") and value.isascii() and len(value) <= MAX_NAME_BYTES:
        return value
    return _check_slowly(value, where=where)


def _check_slowly(value: str, *, where: str) -> str:
    name = f'{where} "{shown(value)}"'
    if not value:
        raise InvalidName(f"{where}: the name is empty")
    if any(c in "*?[]" for c in value):
        raise InvalidName(f"{name}: a wildcard needs MessageEndpoints.pattern(...)")
    if not _SEGMENT.fullmatch(value):
        bad = next(i for i, c in enumerate(value) if not _SEGMENT.fullmatch(c))
        raise InvalidName(f"{name}: character {bad + 1} is not allowed; {_RULE}")
    if not value.strip("."):
        raise InvalidName(f"{name}: a name of dots only is not allowed")
    if unicodedata.normalize("NFC", value) != value:
        raise InvalidName(f"{name}: not in the Unicode form NFC")
    if len(value.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise InvalidName(f"{name}: longer than {MAX_NAME_BYTES} bytes")
    return value


def check_glob(value: object, *, where: str) -> str:
    """
    Check one segment of a pattern: as a name, with ``*`` and ``?`` allowed.

    Raises:
        InvalidArgument: If it is not text.
        InvalidName: If it breaks the grammar.
    """
    if not isinstance(value, str):
        return check_segment(value, where=where)
    if not _GLOB.fullmatch(value):
        raise InvalidName(f'{where} "{shown(value)}": in a pattern * and ? are allowed beside {_RULE}')
    return value
