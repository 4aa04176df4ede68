"""Particle id: gamma, electron, muon, pion or proton, for every true particle; one that is not found is missed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor

from shiftlab.errors import DataError
from shiftlab.events.deposits import Deposits
from shiftlab.tasks.calibration import BINS, binned_excess, expected_error
from shiftlab.tasks.classification import (
    best_constant,
    class_terms,
    confusion,
    f1_mean,
    f1_of_terms,
    named_scores,
    share,
)
from shiftlab.tasks.particle_task import KINDS, Found, ParticleTask
from shiftlab.tasks.partition import overlap
from shiftlab.tasks.quantiles import binomial_spread
from shiftlab.tasks.task import Floats
from shiftlab.tasks.voxel_truth import MatchedTruth

__all__ = ["ParticleId"]

_SIDE: Final = len(KINDS) + 1
_COUNTS: Final = _SIDE * _SIDE


class ParticleId(ParticleTask):
    """Kind of each found particle: gamma, electron, muon, pion or proton; stored per event as counts.

    Outputs: 36 counts, true kind (five, then none) by called kind (five, then missed), and 15 sums for the
    calibration. A true particle that no found one matches (intersection over union above 0.5) is missed; a found one
    that matches no true one has true kind none, and is a false positive of its kind. A match with a true particle of
    another kind (a kaon, a nucleus) or of an unknown one is not counted.
    """

    name = "particle_id"
    statistic = "macro-F1"
    unit = "1"
    better = 1
    output_names = (
        *(f"{true}_as_{called}" for true in (*KINDS, "none") for called in (*KINDS, "missed")),
        *(f"excess_{place}" for place in range(BINS)),
    )
    observable_label = "number of protons found"
    edges = (-0.5, 0.5, 1.5, 2.5, 24.5)

    def with_truth(self, deposits: Deposits) -> Deposits:
        """Return the events as they are.

        Raises:
            DataError: the deposits do not say which particle made them, or the kind of none is known.
        """
        if len(deposits.particle) and bool((deposits.particle < 0).all()):
            raise DataError("task 'particle_id' needs the kind of particles, which is unknown for all of these events.")
        return super().with_truth(deposits)

    def count(self, found: Found, event: Tensor, matched: MatchedTruth) -> Tensor:
        """Return float32 (event, 51): the counts and the calibration sums of each event."""
        owner, particles = matched.particle_truth()
        shares = overlap(found.query, self.queries, owner, event, particles)
        called = found.probability[..., :-1].argmax(dim=-1)
        missed, none, events = len(KINDS), len(KINDS), len(particles)
        asked = (shares.kind >= 0) & (shares.kind < len(KINDS))
        pairs = shares.matched
        of_event, true, query = torch.nonzero(pairs & asked[:, :, None], as_tuple=True)
        lost_event, lost = torch.nonzero(asked & ~pairs.any(dim=2), as_tuple=True)
        extra_event, extra = torch.nonzero((shares.found_cells > 0) & ~pairs.any(dim=1), as_tuple=True)
        kind, answer = shares.kind[of_event, true], called[of_event, query]
        cells = torch.cat(
            [
                (of_event * _SIDE + kind) * _SIDE + answer,
                (lost_event * _SIDE + shares.kind[lost_event, lost]) * _SIDE + missed,
                (extra_event * _SIDE + none) * _SIDE + called[extra_event, extra],
            ]
        )
        counts = torch.bincount(cells, minlength=events * _COUNTS).view(events, _COUNTS)
        chance = found.probability[of_event, query, :-1]
        stated = chance.amax(dim=1) / chance.sum(dim=1).clamp(min=1e-12)
        excess = binned_excess(stated, answer == kind, of_event, events)
        return torch.cat([counts.float(), excess.float()], dim=1)

    def score(self, outputs: Floats, truth: Floats, weights: Floats) -> Floats:
        """Return the mean F1 of the kinds, missed and made-up particles counted, (..., replica)."""
        counts = np.einsum("...ec,re->...rc", outputs[..., :_COUNTS], weights, optimize=True)
        return f1_mean(*_sums(confusion(counts, _SIDE)))

    def terms(self, outputs: Floats, truth: Floats) -> Floats:
        """Return right calls, true and called particles of each kind, (..., event, 15), of whose sums F1 is made."""
        return class_terms(outputs[..., :_COUNTS], _SIDE, made_up=True)

    def of_sums(self, sums: Floats) -> Floats:
        """Return the macro-F1 (...) from sums (..., 16), the first of them of weights."""
        return f1_of_terms(sums[..., 1:])

    def observable(self, outputs: Floats) -> Floats:
        """Return how many protons are found."""
        protons: Floats = confusion(outputs[..., :_COUNTS], _SIDE)[..., KINDS.index("proton")].sum(axis=-1)
        return protons

    def event_loss(self, outputs: Floats, truth: Floats) -> Floats:
        """Return the share of true particles that are called wrongly or missed, (..., event); 0 where there is none."""
        hit, true, _ = _sums(confusion(outputs[..., :_COUNTS], _SIDE))
        return 1.0 - share(hit.sum(axis=-1), true.sum(axis=-1), empty=1.0)

    def event_spread(self, outputs: Floats, truth: Floats, weight: Floats) -> float:
        """Return sqrt(p (1 - p)) of the macro-F1 p: what one event is uncertain by."""
        return binomial_spread(float(self.score(outputs, truth, weight[None])[0]))

    def further(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, Floats]:
        """Return macro-F1, accuracy and calibration on matches alone, and F1, precision and recall of each kind."""
        counts = confusion(weights @ outputs[:, :_COUNTS], _SIDE)
        error = expected_error(weights @ outputs[:, _COUNTS:], counts[:, :-1, :-1].sum(axis=(-2, -1)))
        return {**_of_matches(counts), "ECE of matches": error, **named_scores(KINDS, *_sums(counts))}

    def references(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, tuple[str, float]]:
        """Return the statistics of calling every found particle the one kind that does best."""
        counts = confusion(weights @ outputs[:, :_COUNTS], _SIDE)
        best = best_constant(counts, lambda one: {self.statistic: f1_mean(*_sums(one)), **_of_matches(one)})
        return {**best, "ECE of matches": ("shares of the kinds", 0.0)}


def _sums(counts: Floats) -> tuple[Floats, Floats, Floats]:
    """Return right calls, true and called particles of each kind, (..., kind), from counts (..., 6, 6)."""
    hit = np.diagonal(counts, axis1=-2, axis2=-1)[..., :-1]
    return hit, counts[..., :-1, :].sum(axis=-1), counts[..., :-1].sum(axis=-2)


def _of_matches(counts: Floats) -> dict[str, Floats]:
    """Return macro-F1 and accuracy of the particles that were found, from counts (..., 6, 6)."""
    pairs = counts[..., :-1, :-1]
    hit = np.diagonal(pairs, axis1=-2, axis2=-1)
    return {
        "macro-F1 of matches": f1_mean(hit, pairs.sum(axis=-1), pairs.sum(axis=-2)),
        "accuracy of matches": share(hit.sum(axis=-1), pairs.sum(axis=(-2, -1))),
    }
