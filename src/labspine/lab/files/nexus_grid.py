"""The points of a complete grid scan as a grid, with the turns of a snake undone."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import h5py

__all__ = ["grid_order", "write_grid"]


def grid_order(positions: Sequence[NDArray[np.float64]], shape: Sequence[int]) -> NDArray[np.intp]:
    """
    Say which point of a scan belongs to which place of its grid.

    Args:
        positions: For each motor, slowest first, its position at each point, shape (n,).
        shape: Points along each motor, slowest first; the product is n.

    Returns:
        Point numbers, in the shape of the grid; each motor moves in the same direction everywhere, also when
        the scan went there and back like a snake.
    """
    order = np.arange(prod(shape)).reshape(shape)
    for axis in range(1, len(shape)):
        directions = {}
        for place in np.ndindex(*shape[:axis]):
            part = order[place]
            first, last = (positions[axis][part[end]].mean() for end in (0, -1))
            directions[place] = np.sign(last - first)
        wanted = directions[(0,) * axis]
        for place, direction in directions.items():
            if direction == -wanted:
                order[place] = order[place][::-1].copy()
    return order


def write_grid(file: h5py.File, shape: Sequence[int], motors: Sequence[str], points: int) -> bool:
    """
    Add ``/entry/grid`` to a file whose points fill a grid of two or more motors.

    Args:
        file: The open file with a complete ``/entry/data``.
        shape: Points along each motor, slowest first.
        motors: Columns of the motors, slowest first.
        points: Number of points in the file.

    Returns:
        Whether there is such a grid.
    """
    if len(shape) < 2 or len(shape) != len(motors) or prod(shape) != points:
        return False
    data = file["/entry/data"]
    order = grid_order([data[motor][:] for motor in motors], shape)
    grid = file.create_group("/entry/grid")
    grid.attrs["NX_class"] = "NXdata"
    grid.attrs["axes"] = list(motors)
    for name in ("signal", "auxiliary_signals"):
        if name in data.attrs:
            grid.attrs[name] = data.attrs[name]
    for axis, motor in enumerate(motors):
        values = data[motor][:][order]
        others = tuple(other for other in range(len(shape)) if other != axis)
        grid[motor] = values.mean(axis=others)
        grid[motor].make_scale(motor)
        if "units" in data[motor].attrs:
            grid[motor].attrs["units"] = data[motor].attrs["units"]
    for name, dataset in data.items():
        if (
            name in motors
            or dataset.ndim != 1
            or dataset.dtype.kind != "f"
            or dataset.is_scale
            or name == "time"
        ):
            continue
        grid[name] = dataset[:][order]
        for axis, motor in enumerate(motors):
            grid[name].dims[axis].attach_scale(grid[motor])
        if "units" in dataset.attrs:
            grid[name].attrs["units"] = dataset.attrs["units"]
    return True
