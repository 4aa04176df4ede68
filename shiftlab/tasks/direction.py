"""Direction: the unit vector of the leading lepton of an interaction, or of the only particle of an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from torch import Tensor
from torch.nn import functional

from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.tasks.event_summary import EventSummary
from shiftlab.tasks.leading_particle import DIRECTION, with_direction
from shiftlab.tasks.quantiles import spread, weighted_quantile
from shiftlab.tasks.task import NEUTRINOS, Booleans, Floats, Task, of_samples

__all__ = ["Direction"]

_SINGLES: Final = ("single_electron", "single_gamma", "single_muon", "single_pion", "single_proton")
_NORM: Final = 0.1
"""Weight of the term that keeps the length of a head's vector near 1."""


class Direction(Task):
    """Direction of the leading lepton, a unit vector; a head gives three numbers that point there.

    The statistic is the angle within which 68% of the directions are found. A head that does not know which end of a
    track came first answers at 180 degrees as often as at 0: the mean cosine shows it.
    """

    name = "direction"
    opt_in = True
    statistic = "68% angular resolution"
    unit = "deg"
    better = -1
    kind = "regression"
    raw = 3
    odd = (1,)
    output_names = ("direction_x", "direction_y", "direction_z")
    output_scale = "unit"
    empty = (0.0, 0.0, 1.0)
    truth_columns = DIRECTION
    observable_label = "cosine of the angle to the beam"
    edges = (-1.0, 0.0, 0.6, 0.85, 1.0)

    def scored(self, events: EventTable) -> Booleans:
        """Return charged-current and photon candidates and the single particles."""
        return of_samples(events, (*NEUTRINOS, "photon_protons", *_SINGLES))

    def evaluated(self, events: EventTable) -> Booleans:
        """Return the charged-current events and single particles with a known direction."""
        return of_samples(events, (*NEUTRINOS, *_SINGLES)) & np.isfinite(self.truth(events)).all(axis=1)

    def with_truth(self, deposits: Deposits) -> Deposits:
        """Return the events with the direction of their leading particle, from their table of particles."""
        return with_direction(deposits)

    def target(self, truth: Floats, event: EventSummary) -> Floats:
        """Return (event, 3), the unit vector."""
        return truth

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the mean of 1 - cos, with a small term that keeps the vector's length near 1."""
        length = raw.square().sum(dim=1).add(1e-12).sqrt()
        cosine = functional.cosine_similarity(raw, target, dim=1)
        return (1 - cosine + _NORM * (length - 1).square()).mean()

    def decode(self, raw: Tensor, event: EventSummary) -> Tensor:
        """Return unit vectors; the beam's direction where the head gives the null vector."""
        length = raw.norm(dim=1, keepdim=True)
        beam = raw.new_tensor(self.empty).expand_as(raw)
        return raw.div(length.clamp(min=1e-12)).where(length > 1e-12, beam)

    def score(self, outputs: Floats, truth: Floats, weights: Floats) -> Floats:
        """Return the weighted 68% quantile of the angle between found and true direction, degrees, (..., replica)."""
        return weighted_quantile(_angle(outputs, truth), weights, 0.68)

    def observable(self, outputs: Floats) -> Floats:
        """Return the cosine of the angle to the beam."""
        return outputs[..., 2]

    def event_loss(self, outputs: Floats, truth: Floats) -> Floats:
        """Return the angle between found and true direction, degrees, (..., event)."""
        return _angle(outputs, truth)

    def event_spread(self, outputs: Floats, truth: Floats, weight: Floats) -> float:
        """Return the weighted spread of the angle, degrees: what one event is uncertain by."""
        return float(spread(_angle(outputs, truth), weight[None])[0])

    def further(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, Floats]:
        """Return the mean cosine of the angle between found and true, and the share found backwards."""
        cosine = (outputs * truth).sum(axis=-1)
        total = weights.sum(axis=1)
        return {"mean cosine": weights @ cosine / total, "share beyond 90 degrees": weights @ (cosine < 0) / total}

    def references(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, tuple[str, float]]:
        """Return the statistics of answering the mean direction for every event."""
        mean = np.average(truth, axis=0, weights=weights)
        length = float(np.linalg.norm(mean))
        constant = np.broadcast_to(mean / length if length > 0 else np.array(self.empty), truth.shape)
        return self.reached("mean direction", constant, truth, weights)


def _angle(first: Floats, second: Floats) -> Floats:
    """Return the angle between unit vectors (..., 3), degrees.

    From the chord, 2 asin(|a - b| / 2): the arc cosine of float32 outputs loses angles below 0.03 degrees.
    """
    chord = np.linalg.norm(first - second, axis=-1)
    angle: Floats = np.degrees(2.0 * np.arcsin(np.minimum(chord / 2.0, 1.0)))
    return angle
