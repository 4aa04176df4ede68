"""Particle grouping: which voxels are one particle, a whole shower counting as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor

from shiftlab.tasks.classification import share
from shiftlab.tasks.particle_task import Found, ParticleTask
from shiftlab.tasks.partition import adjusted_rand, overlap
from shiftlab.tasks.quantiles import spread
from shiftlab.tasks.task import Floats
from shiftlab.tasks.voxel_truth import MatchedTruth

__all__ = ["Particles"]

_OUTPUTS: Final = (
    *("ari", "ari_known", "true", "found", "matched", "matched_iou", "purity", "efficiency"),
    *("one_ari", "one_matched", "one_matched_iou", "one_purity", "one_efficiency"),
)


class Particles(ParticleTask):
    """Which voxels are one particle; stored per event as sums, so that any bootstrap can be made of them.

    Outputs: the adjusted Rand index over the cells of true particles and whether it is asked for, which it is in events
    of two or more (of one particle it is 1 for the perfect answer and 0 for all others); true, found and matched
    particles; summed intersection over union of matches, purity of found and efficiency of true particles; and the same
    for one group of all voxels, the answer without information. Cells that the image lost are given to no particle:
    they are a part of their own for the Rand index, and missed for all else.
    """

    name = "particles"
    statistic = "mean ARI"
    unit = "1"
    better = 1
    output_names = _OUTPUTS
    observable_label = "number of particles found"
    edges = (-0.5, 1.5, 2.5, 4.5, 24.5)

    def count(self, found: Found, event: Tensor, matched: MatchedTruth) -> Tensor:
        """Return float32 (event, 13): the sums of each event."""
        owner, particles = matched.particle_truth()
        parts = []
        for query, queries in ((found.query, self.queries), (torch.zeros_like(found.query), 1)):
            shares = overlap(query, queries, owner, event, particles)
            index = adjusted_rand(shares.shared[:, 1:])
            iou = shares.union_share * shares.matched
            there = (shares.found_cells > 0).sum(dim=1).double()
            true = particles.offsets.diff().double()
            pairs = shares.matched.sum(dim=(1, 2)).double()
            parts.append([index, true, there, pairs, iou.sum(dim=(1, 2)), shares.purity(), shares.efficiency()])
        (index, *own), (one, _, _, *whole) = parts
        known = particles.offsets.diff() > 1
        columns = [index.where(known, 0.0), known.double(), *own, one.where(known, 0.0), *whole]
        return torch.stack(columns, dim=1).float()

    def score(self, outputs: Floats, truth: Floats, weights: Floats) -> Floats:
        """Return the weighted mean of the adjusted Rand index over events of two particles or more, (..., replica)."""
        return share(outputs[..., 0] @ weights.T, outputs[..., 1] @ weights.T)

    def terms(self, outputs: Floats, truth: Floats) -> Floats:
        """Return the index and whether it is asked for, (..., event, 2): the statistic is the ratio of their sums."""
        return outputs[..., :2]

    def of_sums(self, sums: Floats) -> Floats:
        """Return the mean index (...) from sums (..., 3), the first of them of weights."""
        return share(sums[..., 1], sums[..., 2])

    def observable(self, outputs: Floats) -> Floats:
        """Return how many particles are found."""
        return outputs[..., _OUTPUTS.index("found")]

    def event_loss(self, outputs: Floats, truth: Floats) -> Floats:
        """Return 1 - ARI of events of two particles or more, (..., event); 0 for the others: nothing is asked."""
        return np.asarray(outputs[..., 1] - outputs[..., 0], dtype=np.float64)

    def event_spread(self, outputs: Floats, truth: Floats, weight: Floats) -> float:
        """Return the weighted spread of the index over events of two particles or more: what one is uncertain by."""
        return float(spread(outputs[:, 0], weight[None] * outputs[:, 1])[0])

    def further(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, Floats]:
        """Return panoptic quality and its factors, detection precision and recall, purity and efficiency."""
        return _detection(*(weights @ outputs[:, 2:8]).T)

    def references(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, tuple[str, float]]:
        """Return the statistics of calling all voxels of an event one particle."""
        true, found = weights @ outputs[:, 2], weights @ (outputs[:, 2] > 0).astype(np.float64)
        sums = [np.array([value]) for value in (true, found, *(weights @ outputs[:, 9:13]))]
        mean = float(share(weights @ outputs[:, 8], weights @ outputs[:, 1]))
        further = {name: float(value[0]) for name, value in _detection(*sums).items()}
        return {name: ("one particle", value) for name, value in {self.statistic: mean, **further}.items()}


def _detection(
    true: Floats, found: Floats, matched: Floats, iou: Floats, purity: Floats, efficiency: Floats
) -> dict[str, Floats]:
    """Return what follows from summed counts: PQ = SQ RQ of Kirillov et al., arXiv:1801.00868, equation 1."""
    return {
        "PQ": share(2 * iou, true + found),
        "SQ, mean IoU of matches": share(iou, matched),
        "RQ, detection F1": share(2 * matched, true + found),
        "detection precision": share(matched, found),
        "detection recall": share(matched, true),
        "purity": share(purity, found),
        "efficiency": share(efficiency, true),
    }
