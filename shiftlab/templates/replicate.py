"""Histograms of many universes in many event bootstraps at once: only events that migrate are added up again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["REPLICAS_AT_ONCE", "Migrations", "migrations"]

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

EVENTS_AT_ONCE: Final = 2**15
"""Events summed up in single precision before they join the sum in double precision: rounding stays below 1e-5 of
the bootstrap's own spread."""

_ROUNDING: Final = 1e-6

REPLICAS_AT_ONCE: Final = 64
"""Replicas of one product: their weights of 20,000 vertices, 5 MB, stay near the processor."""


@dataclass(frozen=True, eq=False)
class Migrations:
    """Histograms of one set of events in several universes, as sparse matrices that multiply vertex weights.

    Attributes:
        cells: number of cells, bins of all samples for example.
        universes: number of universes beside the reference.
        histogram: (cell, vertex) summed weights in the reference universe.
        moved: per chunk of events, (universe * cell, vertex) difference to the reference: an event that stays in its
            cell has no entry; one that migrates has -w where it left and +w where it went.
    """

    cells: int
    universes: int
    histogram: csr_array[Any, Any]
    moved: tuple[csr_array[Any, Any], ...]

    def replicas(self, drawn: npt.NDArray[np.float32]) -> Floats:
        """Return (1 + universe, cell, replica): histograms of the reference and of the others in each replica.

        Args:
            drawn: (vertex, replica), how often each vertex occurs in each replica.
        """
        found = np.zeros((1 + self.universes, self.cells, drawn.shape[1]))
        found[0] = self.histogram @ drawn.astype(np.float64)
        rest = found[1:].reshape(-1, drawn.shape[1])
        for part in self.moved:
            rest += part @ drawn
        found[1:] += found[0]
        # What is left of a cell that all events leave is rounding.
        np.copyto(found[1:], 0.0, where=found[1:] < _ROUNDING * found[0])
        return found

    def variance(self, drawn: npt.NDArray[np.float32]) -> Floats:
        """Return (cell, replica): sum of squared weights of the reference, vertices as a whole, each copy by itself."""
        return np.asarray(self.histogram.power(2) @ drawn.astype(np.float64))


def migrations(
    cells_of: Callable[[int, slice], Ints], universes: int, weight: Floats, vertex: Ints, shape: tuple[int, int]
) -> Migrations:
    """Return the matrices of one set of events.

    Args:
        cells_of: gives the cells, -1 for none, of a slice of the events in a universe; 0 is the reference.
        universes: number of universes beside the reference.
        weight: (event,) expected events; not negative.
        vertex: (event,) number of the generator vertex, from 0.
        shape: how many cells and vertices there are.
    """
    from scipy.sparse import csr_array

    reference = cells_of(0, slice(None))
    inside = reference >= 0
    histogram = csr_array((weight[inside], (reference[inside], vertex[inside])), shape=shape)
    whole, moved = (universes * shape[0], shape[1]), []
    for start in range(0, len(weight), EVENTS_AT_ONCE):
        some = slice(start, start + EVENTS_AT_ONCE)
        others = (cells_of(1 + u, some) for u in range(universes))
        rows, columns, values = _joined(list(_moves(reference[some], others, weight[some], vertex[some], shape[0])))
        moved.append(csr_array((values, (rows, columns)), shape=whole))
    return Migrations(shape[0], universes, histogram, tuple(moved))


Moves = tuple[Ints, Ints, npt.NDArray[np.float32]]


def _moves(reference: Ints, others: Iterator[Ints], weight: Floats, vertex: Ints, cells: int) -> Iterator[Moves]:
    """Yield (row, vertex, weight) of what enters a cell of each universe, and of what leaves one."""
    for u, now in enumerate(others):
        changed = np.flatnonzero(now != reference)
        for place, sign in ((now[changed], 1.0), (reference[changed], -1.0)):
            inside = place >= 0
            events = changed[inside]
            yield place[inside] + np.int32(u * cells), vertex[events], (sign * weight[events]).astype(np.float32)


def _joined(moves: Sequence[Moves]) -> Moves:
    none = np.zeros(0, dtype=np.int32)
    if not moves:
        return none, none, np.zeros(0, dtype=np.float32)
    rows, columns, values = zip(*moves, strict=True)
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(values)
