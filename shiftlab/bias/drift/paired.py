"""Features of the same events, nominal and shifted, checked to be what every measure of drift needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["FEWEST_VERTICES", "Features", "pair", "vertex_sums"]

FEWEST_VERTICES: Final = 8
"""Fewest vertices that any measure of drift is made of (convention)."""


@dataclass(frozen=True)
class Features:
    """One layer's features of the same events in two universes.

    Attributes:
        nominal: (event, feature).
        shifted: (event, feature), the same events in the same order.
        vertex: int64 (event,), the number of each event's generator vertex, 0, 1, ... without a gap.
        layer: Name of the layer, for messages.
    """

    nominal: Floats
    shifted: Floats
    vertex: npt.NDArray[np.int64]
    layer: str = ""

    @property
    def vertices(self) -> int:
        """Number of different vertices."""
        return int(self.vertex.max()) + 1

    @property
    def same(self) -> bool:
        """Whether the shift moves nothing at all."""
        return bool(np.array_equal(self.nominal, self.shifted))


def pair(
    nominal: npt.ArrayLike, shifted: npt.ArrayLike, vertex_uid: npt.NDArray[np.int64] | None = None, layer: str = ""
) -> Features:
    """Return the features of one layer, in double precision.

    Args:
        nominal: (event, feature).
        shifted: (event, feature), the same events in the same order.
        vertex_uid: (event,); events of one vertex (twins, re-throws) are one draw. All different by default.
        layer: Name, for messages.

    Raises:
        DataError: shapes differ, there are fewer than 8 vertices, or a value is not finite.
    """
    first, second = (np.asarray(side, dtype=np.float64) for side in (nominal, shifted))
    where = f"layer '{layer}': " if layer else ""
    if first.ndim != 2 or first.shape != second.shape or not first.shape[1]:
        raise DataError(
            f"{where}features of shapes {first.shape} and {second.shape}: both must be (event, feature) of the same "
            "events in the same order."
        )
    uid = np.arange(len(first)) if vertex_uid is None else np.asarray(vertex_uid)
    if uid.shape != (len(first),):
        raise DataError(f"{where}{uid.shape} vertex uids for {len(first)} events; one for each is needed.")
    for side, name in ((first, "nominal"), (second, "shifted")):
        bad = np.flatnonzero(~np.isfinite(side).all(axis=1))
        if len(bad):
            raise DataError(
                f"{where}{name} features of {len(bad)} events are not finite, the first is event number {bad[0]}."
            )
    vertex = np.unique(uid, return_inverse=True)[1].astype(np.int64)
    number = int(vertex.max(initial=-1)) + 1
    if number < FEWEST_VERTICES:
        raise DataError(
            f"{where}{number} vertices are too few for a measure of drift; {FEWEST_VERTICES} or more are needed."
        )
    return Features(first, second, vertex, layer)


def vertex_sums(values: Floats, features: Features) -> Floats:
    """Return the sum over the events of each vertex, (vertex, ...), of (event, ...)."""
    total = np.zeros((features.vertices, *values.shape[1:]))
    np.add.at(total, features.vertex, values)
    return total
