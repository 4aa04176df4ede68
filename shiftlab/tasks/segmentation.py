"""Semantic segmentation: shower, track, Michel, delta or low-energy, for every observed voxel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shiftlab.events.deposits import EventTable
from shiftlab.tasks.calibration import BINS, binned_excess, expected_error
from shiftlab.tasks.classification import f1_mean, per_class, share
from shiftlab.tasks.event_summary import EventSummary
from shiftlab.tasks.task import Booleans, Floats, VoxelTask
from shiftlab.tasks.voxel_truth import NONE, MatchedTruth
from shiftlab.units import SEMANTIC

__all__ = ["Segmentation", "macro_f1"]

_SIDE: Final = NONE + 1


class Segmentation(VoxelTask):
    """Five classes per voxel; stored per event as counts, so that any bootstrap can be made of them.

    Outputs: 36 counts, true class (five, then none) by predicted class (five, then lost), 15 sums for the
    calibration, and the calibrated energy of the voxels called shower and of all voxels, MeV. A truth cell that
    the image lost is a miss of its class. Voxels of true class none enter no F1; they stay apart in their row.
    """

    name = "segmentation"
    statistic = "macro-F1"
    unit = "1"
    kind = "classes"
    raw = len(SEMANTIC)
    output_names = (
        *(f"{true}_as_{seen}" for true in (*SEMANTIC, "none") for seen in (*SEMANTIC, "lost")),
        *(f"excess_{place}" for place in range(BINS)),
        "shower_energy_MeV",
        "total_energy_MeV",
    )
    class_weight = (1.0, 1.0, 8.0, 5.0, 1.5)
    truth_columns = ("visible_energy",)
    observable_label = "predicted shower fraction of the calibrated energy"
    edges = (0.0, 0.25, 0.5, 0.75, 1.0)

    def scored(self, events: EventTable) -> Booleans:
        """Return every event."""
        return np.ones(len(events), dtype=np.bool_)

    def evaluated(self, events: EventTable) -> Booleans:
        """Return every event: one without truth cells adds nothing to any count."""
        return self.scored(events)

    def truth(self, events: EventTable) -> Floats:
        """Return the visible energy, MeV; the truth of the voxels is inside the counts."""
        return events.truth["visible_energy"].cpu().double().numpy()[:, None]

    def target(self, truth: Floats, event: EventSummary) -> Floats:
        """Return NaN: the target is per voxel, ``MatchedTruth.label``."""
        return np.full(len(truth), np.nan)

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the cross entropy over voxels of a true class; rare classes weigh more."""
        weight = raw.new_tensor(self.class_weight)
        return functional.cross_entropy(raw, target.long(), weight=weight, ignore_index=NONE)

    def decode(self, raw: Tensor, event: EventSummary) -> Tensor:
        """Return ``raw``; a voxel-level head is summarised by ``count``."""
        return raw

    def count(
        self, predicted: Tensor, probability: Tensor, energy: Tensor, event: Tensor, matched: MatchedTruth
    ) -> Tensor:
        """Return float32 (event, 53): the counts, the calibration sums and the two energies of each event."""
        events = len(matched.lost)
        place = (event * _SIDE + matched.label) * _SIDE + predicted
        counts = torch.bincount(place, minlength=events * _SIDE * _SIDE).view(events, _SIDE, _SIDE)
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
        counts = np.einsum("...ec,re->...rc", outputs[..., : _SIDE * _SIDE], weights, optimize=True)
        return macro_f1(counts.reshape(*counts.shape[:-1], _SIDE, _SIDE))

    def observable(self, outputs: Floats) -> Floats:
        """Return the energy called shower over the total; 0 for an empty image."""
        total = outputs[..., -1]
        fraction: Floats = np.divide(outputs[..., -2], total, out=np.zeros_like(total), where=total > 0)
        return fraction

    def further(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, Floats]:
        """Return mean IoU, accuracy and calibration of the voxels, and precision, recall and F1 of each class.

        Lost cells are missed by mean IoU, accuracy, recall and F1. The calibration is that of observed voxels.
        """
        counts = (weights @ outputs[:, : _SIDE * _SIDE]).reshape(-1, _SIDE, _SIDE)
        excess = weights @ outputs[:, _SIDE * _SIDE : _SIDE * _SIDE + BINS]
        found = {**_whole(counts), "ECE": expected_error(excess, counts[:, :NONE, :NONE].sum(axis=(1, 2)))}
        own = per_class(*_sums(counts))
        for place, name in enumerate(SEMANTIC):
            found |= {f"{what} of {name}": own[what][:, place] for what in ("F1", "precision", "recall")}
        return found

    def references(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, tuple[str, float]]:
        """Return the statistics of calling every observed voxel the one class that does best in each."""
        counts = (weights @ outputs[:, : _SIDE * _SIDE]).reshape(_SIDE, _SIDE)
        best = {self.statistic: 0.0, "mean IoU": 0.0, "accuracy": 0.0}
        for index in range(NONE):
            constant = np.zeros_like(counts)
            constant[:, index] = counts[:, :NONE].sum(axis=1)
            constant[:, NONE] = counts[:, NONE]
            values = {self.statistic: macro_f1(constant), **_whole(constant)}
            best = {name: max(value, float(values[name])) for name, value in best.items()}
        reached = {name: ("best constant", value) for name, value in best.items()}
        return {**reached, "ECE": ("shares of the classes", 0.0)}


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
