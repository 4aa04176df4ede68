"""Tables of numbers of independent codes, and the formulas of ours that must meet them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from shiftlab.detector.effect import CatalogueRegistry

__all__ = ["ORACLES", "Difference", "Oracle", "numbers"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """How one column of a table compares.

    Attributes:
        column: Name of the column.
        rows: Number of rows compared.
        worst: Largest |ours - expected| / (absolute + relative |expected|): met where it is at most 1.
        row: Row of the worst, from 0, counted without comment and header lines; -1 without rows.
        ours: Our number there.
        expected: The table's number there.
    """

    column: str
    rows: int
    worst: float
    row: int
    ours: float
    expected: float

    @property
    def met(self) -> bool:
        """Whether every row agrees."""
        return self.worst <= 1.0


class Oracle(ABC):
    """A table of independent numbers; any file whose header has these columns is checked by it.

    Class attributes:
        name: Registry name, the stem of the table in ``tests/oracles``.
        inputs: Columns that our formula takes.
        expected: Columns that it must give, each with (relative, absolute) tolerance and the reason where the
            relative one is not 1e-6.
    """

    name: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]
    expected: ClassVar[Mapping[str, tuple[float, float]]]

    @abstractmethod
    def compute(self, table: Mapping[str, npt.NDArray[np.str_]]) -> Mapping[str, Floats]:
        """Return our values of the columns ``expected``; NaN in rows that say nothing of that column.

        Args:
            table: every column of the file as text (row,); ``numbers`` makes float64 of one, NaN where it is empty.
        """

    def compare(self, table: Mapping[str, npt.NDArray[np.str_]]) -> list[Difference]:
        """Return how each expected column compares; rows where either side is NaN are left out."""
        ours = self.compute(table)
        return [
            _difference(column, ours[column], numbers(table[column]), *tolerance)
            for column, tolerance in self.expected.items()
        ]


def numbers(column: npt.NDArray[np.str_]) -> Floats:
    """Return float64 (row,) of a text column, NaN where a cell is empty."""
    return np.array([float(cell) if cell.strip() else np.nan for cell in column], dtype=np.float64)


def _difference(column: str, ours: Floats, expected: Floats, relative: float, absolute: float) -> Difference:
    used = np.flatnonzero(~np.isnan(ours) & ~np.isnan(expected))
    if not len(used):
        return Difference(column, 0, np.inf, -1, np.nan, np.nan)
    ratio = np.abs(ours[used] - expected[used]) / np.maximum(absolute + relative * np.abs(expected[used]), 1e-300)
    worst = int(np.argmax(ratio))
    row = int(used[worst])
    return Difference(column, len(used), float(ratio[worst]), row, float(ours[row]), float(expected[row]))


ORACLES: Final[CatalogueRegistry[Oracle]] = CatalogueRegistry(
    "shiftlab.shifts",
    Oracle,  # type: ignore[type-abstract]
    "oracle",
)
"""Every table that some formula of the catalogue must meet."""
