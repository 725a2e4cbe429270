"""One growing column of a NeXus file; rows wait in memory until they are written together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .columns import as_array, as_scalar

if TYPE_CHECKING:
    import h5py

__all__ = ["GrowingColumn"]


class GrowingColumn:
    """
    Collect the rows of a dataset and write them block by block: a row alone costs as much as a block.

    Args:
        dataset: Its first dimension may grow.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.dataset = dataset
        self.is_number = dataset.dtype.kind in "iufc"
        self._row_shape = dataset.shape[1:]
        self.row_bytes = int(np.prod(self._row_shape, dtype=np.int64)) * dataset.dtype.itemsize
        self._waiting: dict[int, object] = {}

    def put(self, row: int, value: object) -> bool:
        """
        Take the value of one row; a later one replaces it.

        Args:
            row: Number of the row.
            value: Of the same kind as the first value of this column.

        Returns:
            False if it is of another kind or shape; then nothing is kept.
        """
        fitting = self._fitting(value)
        if fitting is None:
            return False
        self._waiting[row] = fitting
        return True

    def _fitting(self, value: object) -> object:
        if self._row_shape:
            array = as_array(value)
            return array if array is not None and array.shape == self._row_shape else None
        scalar = as_scalar(value)
        if self.is_number:
            return scalar if isinstance(scalar, float) else None
        return str(value)

    def write(self, rows: int) -> None:
        """
        Write what waits.

        Args:
            rows: How long the column is now; rows without a value get the fill value.
        """
        if self.dataset.shape[0] < rows:
            self.dataset.resize(rows, axis=0)
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        numbers = sorted(waiting)
        if numbers[-1] - numbers[0] + 1 == len(numbers):
            block = [waiting[number] for number in numbers]
            self.dataset[numbers[0] : numbers[-1] + 1] = np.asarray(block) if self._row_shape else block
            return
        for number in numbers:
            self.dataset[number] = waiting[number]
