"""Images in the project's own sample files: occupied cells with charge and energy, exact or to 0.1%."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import torch

from shiftlab.errors import DataError
from shiftlab.events.image import Image
from shiftlab.events.reader import Level
from shiftlab.events.sample import packing
from shiftlab.events.sample.columns import EventColumns, Rows, column, read_rows
from shiftlab.events.sample.source import SampleSource

__all__ = ["DECODING", "ImageSource", "encode_images"]

DECODING: Final = (
    "cell = (ix * ny + iy) * nz + iz with shape = (nx, ny, nz). Where log_step is given, charge (electrons) and "
    "energy (MeV) are 0 if code is 0, else smallest * exp((code - 1) * log_step)."
)
_VALUES: Final = {"charge": "electrons", "energy": "MeV"}


def encode_images(images: Image, *, exact: bool) -> Rows:
    """Return the rows of images; cells are kept as they are, charge and energy packed unless ``exact``.

    Raises:
        DataError: a charge or energy is not finite, or is negative and shall be packed, or a cell is outside the shape.
    """
    cells = int(np.prod(np.array(images.shape, dtype=np.int64)))
    cell = images.cell.numpy()
    if len(cell) and (cell.min() < 0 or cell.max() >= cells):
        raise DataError(f"cells {cell.min()} to {cell.max()}; an image of shape {images.shape} has 0 to {cells - 1}.")
    rows = {"images/cell": cell.astype(np.uint32) if cells <= 2**32 else cell}
    for name in _VALUES:
        values = getattr(images, name).numpy()
        if not np.isfinite(values).all():
            raise DataError(f"{name}: NaN or infinite.")
        if not exact and (values < 0).any():
            raise DataError(f"{name}: only values that are not negative can be packed; write with exact=True.")
        rows[f"images/{name}"] = values if exact else packing.encode_log(values)
    constants: dict[str, str | list[int]] = {"dataset": images.events.dataset, "shape": [int(n) for n in images.shape]}
    units = {f"images/{name}": unit for name, unit in _VALUES.items()}
    return Rows(rows, {"images": images.offsets[1:].numpy()}, constants, units)


class ImageSource(SampleSource):
    """An open sample of images; only the rows of a slice are read."""

    holds: ClassVar[Level] = "images"

    def __init__(self, path: Path, file: Any) -> None:
        """Look for the columns.

        Raises:
            DataError: one is missing, of another type or of another length.
        """
        super().__init__(path, file, EventColumns(path, file, 2))
        self._columns = {"cell": column(path, file, "images/cell", ("<u4", "<i8"))}
        self._columns |= {name: column(path, file, f"images/{name}", ("<f4", "<u2")) for name in _VALUES}
        self._offsets = self._table("events/offsets", self._columns)
        shape = np.asarray(file.attrs.get("shape", ()))
        if shape.shape != (3,) or shape.dtype.kind not in "iu" or (shape < 1).any():
            raise DataError(f"{path}: attribute 'shape' must be three numbers of cells; it is {shape.tolist()}.")
        self._shape = (int(shape[0]), int(shape[1]), int(shape[2]))

    def rows(self) -> dict[str, int]:
        """Return the number of voxels."""
        return {"voxels": self._offsets.total}

    def units(self) -> dict[str, str]:
        """Return the unit of each column."""
        return {"cell": "1", **_VALUES}

    def read(self, events: slice) -> Image:
        """Return some events."""
        rows, offsets = self._offsets.read(events)
        read = read_rows(self.path, self._columns, rows)
        cell = read.pop("cell").astype(np.int64, copy=False)
        tensors = {
            name: torch.from_numpy(packing.decode_log(one) if one.dtype.kind == "u" else one)
            for name, one in read.items()
        }
        return Image(
            offsets=torch.from_numpy(offsets),
            cell=torch.from_numpy(cell),
            charge=tensors["charge"],
            energy=tensors["energy"],
            shape=self._shape,
            events=self._events.read(events),
        )
