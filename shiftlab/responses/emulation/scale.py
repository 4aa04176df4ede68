"""The unbounded scale on which the outputs of an event are taken to move linearly and quadratically."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from shiftlab.errors import DataError

__all__ = ["LARGEST_LOGARITHM", "OutputScale", "Scale", "scale_of"]

OutputScale: TypeAlias = Literal["real", "positive", "sum", "unit"]
"""What a task's outputs are: any number (logits, coordinates), a positive one (energies), parts of sums over events
(counts, energies of classes), or a unit vector."""

LARGEST_LOGARITHM: Final = 0.25
"""Largest |ln(output / nominal)| in the universes that a response is made from for which it is taken in the logarithm.

An event that moves by more is near 0 or jumps, and the exponential of an extrapolated jump would be absurd (a choice:
at 3 sigma, 0.25 (3 + 9) is a factor 20 at most).
"""

_SHORT: Final = 1e-3
"""Length below which a sum of displacements of a unit vector has no direction."""

Singles: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scale:
    """Displacements of outputs from nominal on the unbounded scale, and the way back.

    Attributes:
        kind: What the outputs are.
        nominal: float32 (event, output).
        logarithmic: bool (event, output): displacements are ln(output / nominal), elsewhere output - nominal.
    """

    kind: OutputScale
    nominal: Singles
    logarithmic: npt.NDArray[np.bool_]

    def displacement(self, outputs: npt.ArrayLike) -> Singles:
        """Return displacements, float32 (..., event, output), of outputs of the same shape.

        Where the logarithm is taken, outputs must be positive (see ``scale_of``); one that is not counts as e^-10 of
        nominal, which can be so in universes that closure is measured with only.
        """
        given = np.asarray(outputs, dtype=np.float64)
        linear = given - self.nominal
        if not self.logarithmic.any():
            return linear.astype(np.float32)
        ratio = np.divide(given, self.nominal, out=np.ones_like(given), where=self.logarithmic)
        return np.where(self.logarithmic, np.log(np.maximum(ratio, np.exp(-10.0))), linear).astype(np.float32)

    def outputs(self, displacement: Singles) -> Singles:
        """Return outputs (..., event, output) of displacements of that shape, whose memory is used.

        Positive outputs end at 0. Sums do not: clipping the small negative counts of single events would push every
        sum over events up. Unit vectors are brought back to length 1, and stay nominal where nothing is left of them.
        """
        if self.kind == "positive":
            found = np.where(
                self.logarithmic,
                self.nominal * np.exp(np.where(self.logarithmic, displacement, 0.0)),
                np.maximum(self.nominal + displacement, 0.0),
            )
            return found.astype(np.float32, copy=False)
        displacement += self.nominal
        if self.kind == "unit":
            length = np.linalg.norm(displacement, axis=-1, keepdims=True)
            return np.where(length > _SHORT, displacement / np.maximum(length, _SHORT), self.nominal)
        return displacement


def scale_of(kind: OutputScale, nominal: npt.ArrayLike, anchors: npt.ArrayLike, where: str) -> Scale:
    """Return the scale of the outputs of one head.

    Args:
        kind: What the outputs are.
        nominal: (event, output).
        anchors: (universe, event, output), outputs in the universes that the response is made from.
        where: Arm, seed and task, for the message.

    Raises:
        DataError: positive outputs are negative.
    """
    base = np.asarray(nominal, dtype=np.float32)
    if kind != "positive":
        return Scale(kind, base, np.zeros(base.shape, dtype=np.bool_))
    every = np.asarray(anchors, dtype=np.float64)
    bad = (base < 0) | (every < 0).any(axis=0)
    if bad.any():
        raise DataError(
            f"{where}: {int(bad.any(axis=-1).sum())} events have negative outputs of a task whose outputs are declared "
            "positive; declare them 'real'."
        )
    floor = np.exp(-LARGEST_LOGARITHM)
    inside = (every >= base * floor) & (every <= base / floor)
    return Scale(kind, base, (base > 0) & inside.all(axis=0))
