"""Semantic segmentation: shower, track, Michel, delta or low-energy, for every observed voxel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shiftlab.tasks.calibration import BINS, binned_excess, expected_error
from shiftlab.tasks.classification import (
    best_constant,
    class_terms,
    confusion,
    f1_mean,
    f1_of_terms,
    named_scores,
    per_class,
    share,
)
from shiftlab.tasks.quantiles import binomial_spread
from shiftlab.tasks.task import Floats, VoxelTask
from shiftlab.tasks.voxel_truth import NONE, MatchedTruth
from shiftlab.units import SEMANTIC

__all__ = ["Segmentation", "macro_f1"]

_SIDE: Final = NONE + 1
_COUNTS: Final = _SIDE * _SIDE


class Segmentation(VoxelTask):
    """Class of each voxel: shower, track, Michel, delta or low-energy; stored per event as counts.

    Outputs: 36 counts, true class (five, then none) by predicted class (five, then lost), 15 sums for the
    calibration, and the calibrated energy of the voxels called shower and of all voxels, MeV. A truth cell that
    the image lost is a miss of its class. Voxels of true class none enter no F1; they stay apart in their row.
    """

    name = "segmentation"
    statistic = "macro-F1"
    unit = "1"
    better = 1
    kind = "classes"
    raw = len(SEMANTIC)
    output_names = (
        *(f"{true}_as_{seen}" for true in (*SEMANTIC, "none") for seen in (*SEMANTIC, "lost")),
        *(f"excess_{place}" for place in range(BINS)),
        "shower_energy_MeV",
        "total_energy_MeV",
    )
    class_weight = (1.0, 1.0, 8.0, 5.0, 1.5)
    observable_label = "predicted shower fraction of the calibrated energy"
    edges = (0.0, 0.25, 0.5, 0.75, 1.0)

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the cross entropy over voxels of a true class; rare classes weigh more."""
        weight = raw.new_tensor(self.class_weight)
        return functional.cross_entropy(raw, target.long(), weight=weight, ignore_index=NONE)

    def count(
        self, predicted: Tensor, probability: Tensor, energy: Tensor, event: Tensor, matched: MatchedTruth
    ) -> Tensor:
        """Return float32 (event, 53): the counts, the calibration sums and the two energies of each event."""
        events = len(matched.lost)
        place = (event * _SIDE + matched.label) * _SIDE + predicted
        counts = torch.bincount(place, minlength=events * _COUNTS).view(events, _SIDE, _SIDE)
        counts[:, :NONE, NONE] += matched.lost
        right = predicted == matched.label
        excess = binned_excess(probability, right, event, events, matched.label != NONE)
        sums = torch.zeros(events, 2, dtype=torch.float64, device=energy.device)
        sums[:, 1].index_add_(0, event, energy.double())
        shower = predicted == SEMANTIC.index("shower")
        sums[:, 0].index_add_(0, event[shower], energy[shower].double())
        return torch.cat([counts.flatten(1).float(), excess.float(), sums.float()], dim=1)

    def score(self, outputs: Floats, truth: Floats, weights: Floats) -> Floats:
        """Return the macro-F1 of the summed counts, (..., replica)."""
        counts = np.einsum("...ec,re->...rc", outputs[..., :_COUNTS], weights, optimize=True)
        return macro_f1(confusion(counts, _SIDE))

    def terms(self, outputs: Floats, truth: Floats) -> Floats:
        """Return right calls, true and called cells of each class, (..., event, 15), of whose sums F1 is made."""
        return class_terms(outputs[..., :_COUNTS], _SIDE, made_up=False)

    def of_sums(self, sums: Floats) -> Floats:
        """Return the macro-F1 (...) from sums (..., 16), the first of them of weights."""
        return f1_of_terms(sums[..., 1:])

    def observable(self, outputs: Floats) -> Floats:
        """Return the energy called shower over the total; 0 for an empty image."""
        total = outputs[..., -1]
        fraction: Floats = np.divide(outputs[..., -2], total, out=np.zeros_like(total), where=total > 0)
        return fraction

    def event_loss(self, outputs: Floats, truth: Floats) -> Floats:
        """Return the share of an event's true cells that are called wrongly or lost, (..., event); 0 without any."""
        hit, true, _ = _sums(confusion(outputs[..., :_COUNTS], _SIDE))
        return 1.0 - share(hit.sum(axis=-1), true.sum(axis=-1), empty=1.0)

    def event_spread(self, outputs: Floats, truth: Floats, weight: Floats) -> float:
        """Return sqrt(p (1 - p)) of the macro-F1 p: what one event is uncertain by."""
        return binomial_spread(float(self.score(outputs, truth, weight[None])[0]))

    def further(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, Floats]:
        """Return mean IoU, accuracy and calibration of the voxels, and precision, recall and F1 of each class.

        Lost cells are missed by mean IoU, accuracy, recall and F1. The calibration is that of observed voxels.
        """
        counts = confusion(weights @ outputs[:, :_COUNTS], _SIDE)
        excess = weights @ outputs[:, _COUNTS : _COUNTS + BINS]
        error = expected_error(excess, counts[:, :NONE, :NONE].sum(axis=(1, 2)))
        return {**_whole(counts), "ECE": error, **named_scores(SEMANTIC, *_sums(counts))}

    def references(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, tuple[str, float]]:
        """Return the statistics of calling every observed voxel the one class that does best in each."""
        counts = confusion(weights @ outputs[:, :_COUNTS], _SIDE)
        best = best_constant(counts, lambda one: {self.statistic: macro_f1(one), **_whole(one)})
        return {**best, "ECE": ("shares of the classes", 0.0)}


def _sums(counts: Floats) -> tuple[Floats, Floats, Floats]:
    """Return right calls, true cells and calls of each class, (..., class), from counts (..., 6, 6)."""
    known = counts[..., :NONE, :]
    called = known[..., :NONE]
    return np.diagonal(called, axis1=-2, axis2=-1), known.sum(axis=-1), called.sum(axis=-2)


def _whole(counts: Floats) -> dict[str, Floats]:
    """Return the mean IoU over the classes that are there, and the accuracy, from counts (..., 6, 6)."""
    hit, true, called = _sums(counts)
    iou = per_class(hit, true, called)["IoU"]
    there = np.isfinite(iou)
    mean = share(np.where(there, iou, 0.0).sum(axis=-1), there.sum(axis=-1))
    return {"mean IoU": mean, "accuracy": share(hit.sum(axis=-1), true.sum(axis=-1))}


def macro_f1(counts: Floats) -> Floats:
    """Return the mean over the five classes of F1 = 2 TP / (2 TP + FP + FN).

    Args:
        counts: (..., 6, 6), true class (five, then none) by predicted class (five, then lost).
            Lost cells are false negatives; the row none is left out. A class without truth and
            without prediction is left out of the mean.

    Returns:
        float64 (...); NaN where no class is left.
    """
    return f1_mean(*_sums(counts))
