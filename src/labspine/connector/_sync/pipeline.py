# Generated from connector/_async/pipeline.py by scripts/unasync.py: change the source and run it.
"""Send many calls in one write."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from ...flows import Recording
from ...wire import SyncWire
from ..batch import Batch
from ..options import ConnectorOptions

__all__ = ["Pipeline"]


class Pipeline(Batch):
    """
    Collect calls with the names of the connector's methods; `execute` sends them in one write.

    As a context manager it executes at the end of the block, unless the block raised or did it itself.

    Args:
        wire: Where to send.
        options: Of the connector.
        recording: Gives how events are recorded.
    """

    def __init__(
        self, wire: SyncWire, options: ConnectorOptions, recording: Callable[[], Recording | None]
    ) -> None:
        super().__init__(options, recording)
        self._wire = wire

    def execute(self, *, return_errors: bool = False) -> list[Any]:
        """
        Send what was collected.

        Calls are not undone when another fails.

        Args:
            return_errors: Put errors into the list instead of raising the first.

        Returns:
            One result a call, in order, as the connector's method would return it.

        Raises:
            InvalidArgument: If it was executed before.
            LabspineError: The first error; its notes say what was done.
        """
        self._begin()
        asks, numbers = self._round()
        while asks:
            self._answer(numbers, self._wire.exchange_many(asks))
            asks, numbers = self._round()
        return self._concluded(return_errors)

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and len(self) and not self._is_done:
            self.execute()
