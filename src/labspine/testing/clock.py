"""A clock that tests move by hand."""

from __future__ import annotations

import math

from ..errors import InvalidArgument

__all__ = ["FakeClock"]


class FakeClock:
    """
    Stand in for :mod:`labspine.clock`: time passes only when the test says so.

    Give its methods where the product takes a clock: ``Thing(mono_s=clock.mono_s, utc_s=clock.utc_s)``.

    Args:
        start_utc_s: Wall time at the beginning, in seconds since 1970-01-01 UTC.
        start_mono_s: Monotonic time at the beginning, in seconds.
    """

    def __init__(self, *, start_utc_s: float = 1_750_000_000.0, start_mono_s: float = 1000.0) -> None:
        self._utc_s = start_utc_s
        self._mono_s = start_mono_s

    def utc_s(self) -> float:
        """
        Tell the wall time.

        Returns:
            Seconds since 1970-01-01 UTC.
        """
        return self._utc_s

    def mono_s(self) -> float:
        """
        Tell the monotonic time.

        Returns:
            Seconds since some moment; never falls.
        """
        return self._mono_s

    def advance(self, duration_s: float) -> None:
        """
        Let time pass on both clocks.

        Args:
            duration_s: How long, in seconds, zero or more.

        Raises:
            InvalidArgument: If the duration is negative or not finite; use :meth:`jump_utc` for wall time
                that is set back.
        """
        if not (math.isfinite(duration_s) and duration_s >= 0):
            raise InvalidArgument(
                f"cannot advance a clock by {duration_s!r} s; allowed are finite numbers from zero upwards"
            )
        self._utc_s += duration_s
        self._mono_s += duration_s

    def jump_utc(self, offset_s: float) -> None:
        """
        Set the wall clock, as somebody or NTP does; the monotonic clock does not notice.

        Args:
            offset_s: Change in seconds; negative sets it back.
        """
        self._utc_s += offset_s
