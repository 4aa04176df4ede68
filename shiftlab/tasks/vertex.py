"""Vertex: where the neutrino interacted, in the detector's frame, cm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from torch import Tensor
from torch.nn import functional

from shiftlab.events.deposits import EventTable
from shiftlab.tasks.event_summary import EventSummary
from shiftlab.tasks.quantiles import spread, weighted_quantile
from shiftlab.tasks.task import CANDIDATES, NEUTRINOS, Booleans, Floats, Task, of_samples

__all__ = ["Vertex"]

_SCALE: Final = 20.0
"""cm; the unit of a head's numbers, about the distance of vertex and charge centroid."""

_NEAR: Final = 5.0
"""cm; distance within which a vertex counts as found."""


class Vertex(Task):
    """Place of the interaction; a head gives it about the charge centroid in units of 20 cm.

    The statistic is the distance within which 68% of the vertices are found, as the field quotes it. A shift of the
    drift coordinate moves the mean of x, which stands beside it with its sign.
    """

    name = "vertex"
    opt_in = True
    statistic = "68% distance"
    unit = "cm"
    better = -1
    kind = "regression"
    raw = 3
    odd = (1,)
    output_names = ("vertex_x_cm", "vertex_y_cm", "vertex_z_cm")
    empty = (115.2, 115.2, 115.2)
    truth_columns = ("vertex_x", "vertex_y", "vertex_z")
    observable_label = "reconstructed vertex, distance to the anode [cm]"
    edges = (0.0, 60.0, 115.2, 170.0, 230.4)

    def scored(self, events: EventTable) -> Booleans:
        """Return the neutrino candidates."""
        return of_samples(events, CANDIDATES)

    def evaluated(self, events: EventTable) -> Booleans:
        """Return the charged-current events with a known vertex."""
        return of_samples(events, NEUTRINOS) & np.isfinite(self.truth(events)).all(axis=1)

    def target(self, truth: Floats, event: EventSummary) -> Floats:
        """Return (event, 3), the vertex about the centroid in units of 20 cm."""
        relative: Floats = (truth - event.centroid.cpu().double().numpy()) / _SCALE
        return relative

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the Huber loss of the coordinates, quadratic within 20 cm."""
        return functional.smooth_l1_loss(raw, target)

    def decode(self, raw: Tensor, event: EventSummary) -> Tensor:
        """Return the vertex in the detector's frame, cm."""
        return event.centroid + _SCALE * raw

    def score(self, outputs: Floats, truth: Floats, weights: Floats) -> Floats:
        """Return the weighted 68% quantile of the distance between found and true vertex, (..., replica)."""
        return weighted_quantile(np.linalg.norm(outputs - truth, axis=-1), weights, 0.68)

    def observable(self, outputs: Floats) -> Floats:
        """Return the found x, cm."""
        return outputs[..., 0]

    def event_loss(self, outputs: Floats, truth: Floats) -> Floats:
        """Return the distance between found and true vertex, cm, (..., event)."""
        return np.asarray(np.linalg.norm(outputs - truth, axis=-1), dtype=np.float64)

    def event_spread(self, outputs: Floats, truth: Floats, weight: Floats) -> float:
        """Return the weighted spread of the distance, cm: what one event is uncertain by."""
        return float(spread(np.linalg.norm(outputs - truth, axis=-1), weight[None])[0])

    def further(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, Floats]:
        """Return the median distance, the share found within 5 cm and the mean signed displacement along each axis."""
        distance = np.linalg.norm(outputs - truth, axis=-1)
        mean = weights @ (outputs - truth) / weights.sum(axis=1, keepdims=True)
        return {
            "median distance [cm]": weighted_quantile(distance, weights, 0.5),
            "share within 5 cm": weights @ (distance < _NEAR) / weights.sum(axis=1),
            **{f"mean of {axis}, reco - true [cm]": mean[:, i] for i, axis in enumerate(("x (drift)", "y", "z"))},
        }

    def references(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, tuple[str, float]]:
        """Return the statistics of answering the mean vertex for every event."""
        constant = np.broadcast_to(np.average(truth, axis=0, weights=weights), truth.shape)
        return self.reached("mean predictor", constant, truth, weights)
