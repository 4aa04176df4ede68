"""Maps of a distorted drift field: how far charge seems displaced, and how much the field differs, on a grid."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shiftlab.errors import ConfigError, DataError
from shiftlab.events.hdf5.file import open_hdf5, reading, refuse_short_chunks
from shiftlab.provenance import digest_file

__all__ = ["FieldMap", "read_field_map", "undisplaced"]

_UNITS: Final = {"displacement": "cm", "field": "1"}
_SLACK: Final = 1e-6


@dataclass(frozen=True, eq=False)
class FieldMap:
    """Displacement and change of the field at the nodes of an equally spaced grid, linear between them.

    The frame is the detector's: x is the distance from the anode, y and z lie in the anode. ``displacement`` takes a
    place of ionisation to where the read-out finds its charge (LArSoft calls it forward). ``field`` is the change of
    the drift field over the nominal drift field, and its x component is positive where the field is stronger.

    Attributes:
        lower: the first node, cm.
        upper: the last node, cm.
        displacement: float64 (nx, ny, nz, 3), cm.
        field: float64 (nx, ny, nz, 3).
        source: where it comes from, for messages.
        digest: SHA-256 of the file; empty without one.

    Raises:
        DataError: grids of different or too small shape, no volume, a number that is not finite, or a field that
            somewhere opposes the drift.
    """

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]
    displacement: Tensor
    field: Tensor
    source: str = "map"
    digest: str = ""

    def __post_init__(self) -> None:
        """Refuse a map that cannot be one."""
        for name in ("displacement", "field"):
            grid: Tensor = getattr(self, name)
            if grid.dim() != 4 or grid.shape[3] != 3 or min(grid.shape[:3]) < 2 or grid.shape != self.field.shape:
                raise DataError(
                    f"{self.source}: {name} has shape {tuple(grid.shape)}; both displacement and field need "
                    "(nx, ny, nz, 3) with at least two nodes along each axis."
                )
            if not bool(torch.isfinite(grid).all()):
                raise DataError(f"{self.source}: {name} has numbers that are not finite.")
        edges = list(zip(self.lower, self.upper, strict=True))
        if not all(low < high and math.isfinite(high - low) for low, high in edges):
            raise DataError(f"{self.source}: its box {self.box} cm has no volume, or no end.")
        if self.strongest >= 1.0:
            raise DataError(
                f"{self.source}: the field changes by {self.strongest:g} of the drift field, which must be below 1 "
                "for charge to drift everywhere (is it relative to the drift field?)."
            )

    @property
    def box(self) -> str:
        """The volume that it covers, as text."""
        return _box(self.lower, self.upper)

    @property
    def strongest(self) -> float:
        """Largest change of the field along the drift, relative to the nominal field."""
        return float(self.field[..., 0].abs().max())

    def at(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Return displacement (cm) and relative change of the field, float64 (point, 3) each, at points in cm.

        Trilinear between the nodes; outside the box as on its surface.

        Args:
            position: (point, 3), cm.
        """
        point = position.to(torch.float64)
        if not len(point):
            return point, point
        low, high = (torch.tensor(edge, dtype=torch.float64, device=point.device) for edge in (self.lower, self.upper))
        # grid_sample wants the last axis of the grid first, from -1 to 1.
        place = (2.0 * (point - low) / (high - low) - 1.0).flip(1)[None, :, None, None]
        found = torch.nn.functional.grid_sample(
            self._grid.to(point.device), place, mode="bilinear", padding_mode="border", align_corners=True
        )[0, :, :, 0, 0].T
        return found[:, :3], found[:, 3:]

    @cached_property
    def _grid(self) -> Tensor:
        """float64 (1, 6, nx, ny, nz)."""
        return torch.cat([self.displacement, self.field], dim=3).movedim(3, 0)[None].contiguous()

    def require_cover(self, size: tuple[float, float, float]) -> None:
        """Refuse a detector, a box from the origin to ``size`` in cm, that the map does not cover.

        Raises:
            ConfigError: naming both boxes.
        """
        if any(low > _SLACK for low in self.lower) or any(
            high < edge - _SLACK for high, edge in zip(self.upper, size, strict=True)
        ):
            raise ConfigError(
                f"{self.source} covers {self.box} cm, which does not hold the detector, "
                f"{_box((0.0, 0.0, 0.0), size)} cm."
            )

    def require_injective(self, scale: float = 1.0) -> None:
        """Refuse to invert a map, times ``scale``, that somewhere folds: two places would seem one.

        The Jacobian determinant of r + scale d(r) must be positive at every corner of every cell.

        Raises:
            ConfigError: naming the first cell that folds.
        """
        nodes = torch.tensor(self.displacement.shape[:3])
        low, high = (torch.tensor(edge, dtype=torch.float64) for edge in (self.lower, self.upper))
        step = (high - low) / (nodes - 1)
        slopes = [scale * torch.diff(self.displacement, dim=axis) / step[axis] for axis in range(3)]
        for corner in torch.cartesian_prod(*[torch.arange(2)] * 3):
            # Slopes along each axis at this corner of every cell, as the columns of the Jacobian.
            parts = [slope[_corners(corner, nodes - 1, axis)] for axis, slope in enumerate(slopes)]
            folded = torch.linalg.det(torch.stack(parts, dim=-1) + torch.eye(3, dtype=torch.float64)) <= 0
            if bool(folded.any()):
                place = [round(x, 3) for x in (low + torch.nonzero(folded)[0] * step).tolist()]
                raise ConfigError(f"{self.source}, times {scale:g}, is not invertible: it folds near {place} cm.")


def _corners(corner: Tensor, cells: Tensor, along: int) -> tuple[slice, ...]:
    """Return which slopes along one axis belong to one corner of every cell."""
    first = corner.clone()
    first[along] = 0
    return tuple(slice(int(a), int(a + n)) for a, n in zip(first, cells, strict=True))


def undisplaced(
    displaced: Tensor, displacement: Callable[[Tensor], Tensor], tolerance: float = 1e-9, steps: int = 200
) -> Tensor:
    """Return float64 (point, 3), cm: the places r with r + d(r) = ``displaced``, by fixed-point iteration.

    Args:
        displaced: (point, 3), cm.
        displacement: d, which takes (point, 3) to (point, 3), cm.
        tolerance: cm; largest last step.
        steps: most iterations.

    Raises:
        ConfigError: it does not converge, as where the displacement is too steep to be inverted.
    """
    target = displaced.to(torch.float64)
    place = target
    for _ in range(steps):
        found = target - displacement(place)
        change = (found - place).abs()
        place = found
        if not len(change) or float(change.max()) <= tolerance:
            return place
    raise ConfigError(
        f"the displacement is not invertible: after {steps} iterations places still move by {float(change.max()):g} cm."
    )


def read_field_map(path: str | Path) -> FieldMap:
    """Return the map of an HDF5 file.

    Datasets: ``lower`` and ``upper``, the first and last node (3 numbers, cm); ``displacement``, (nx, ny, nz, 3),
    attribute ``units`` "cm"; ``field``, (nx, ny, nz, 3), attribute ``units`` "1" (over the nominal drift field).
    Frame and signs as in ``FieldMap``.

    Raises:
        DataError: the file is not there, is damaged, or lacks a dataset or its unit; or as for ``FieldMap``.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such field map.")
    with open_hdf5(path) as file:
        lower, upper = (_numbers(path, file, name, (3,)) for name in ("lower", "upper"))
        displacement, field = (torch.from_numpy(_grid(path, file, name, unit)) for name, unit in _UNITS.items())
    low, high = ((float(edge[0]), float(edge[1]), float(edge[2])) for edge in (lower, upper))
    return FieldMap(low, high, displacement, field, source=f"field map {path}", digest=digest_file(path))


def _grid(path: Path, file: Any, name: str, unit: str) -> npt.NDArray[np.float64]:
    values = _numbers(path, file, name, None)
    with reading(path):
        given = file[name].attrs.get("units")
    if isinstance(given, bytes):
        given = given.decode(errors="replace")
    if given != unit:
        raise DataError(f"{path}: dataset '{name}' has units {given!r}; allowed: '{unit}'.")
    return values


def _numbers(path: Path, file: Any, name: str, shape: tuple[int, ...] | None) -> npt.NDArray[np.float64]:
    with reading(path):
        dataset = file.get(name)
        kind = getattr(getattr(dataset, "dtype", None), "kind", None)
        there = ", ".join(sorted(file)) or "nothing"
    if kind not in ("f", "i", "u"):
        raise DataError(
            f"{path}: no dataset '{name}' of numbers; it has {there}. A field map needs lower, upper, "
            "displacement and field."
        )
    if shape is not None and dataset.shape != shape:
        raise DataError(f"{path}: dataset '{name}' has shape {dataset.shape}; allowed: {shape}.")
    refuse_short_chunks(dataset, f"{path}: dataset '{name}'")
    with reading(path):
        return np.asarray(dataset[...], dtype=np.float64)


def _box(lower: tuple[float, float, float], upper: tuple[float, float, float]) -> str:
    return " x ".join(f"[{low:g}, {high:g}]" for low, high in zip(lower, upper, strict=True))
