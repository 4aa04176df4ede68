"""A task that is asked of the set of an event's particles: masks over its voxels, and a kind for each mask."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor

from shiftlab.errors import DataError
from shiftlab.events.deposits import Deposits
from shiftlab.tasks.particle_truth import LEAST_CELLS, particle_numbers
from shiftlab.tasks.set_loss import SetAnswer, SetTarget, set_loss
from shiftlab.tasks.task import CountedTask
from shiftlab.tasks.voxel_truth import MatchedTruth
from shiftlab.units import PARTICLES

__all__ = ["KINDS", "Found", "ParticleTask"]

KINDS: Final = PARTICLES[:5]
"""Kinds of particles that a head tells apart: gamma, electron, muon, pion, proton."""

_MASK: Final = 0.5
"""Probability from which a voxel may belong to a mask, as Panda's ``mask_threshold``."""


@dataclass(frozen=True)
class Found:
    """Particles that a head found in some events.

    Attributes:
        query: int64 (voxel,), number of the mask that each voxel belongs to, -1 for none.
        probability: float32 (event, query, kind + 1), of each kind and, last, of no particle.
    """

    query: Tensor
    probability: Tensor


class ParticleTask(CountedTask):
    """A task about sets; a head gives masks and kinds of a fixed number of queries.

    Attributes:
        queries: Particles that a head can find in an event; the events with more are counted in ``true``.
    """

    level = "particle"
    kind = "classes"
    opt_in = True
    raw = len(KINDS) + 1
    queries: ClassVar[int] = 24

    def with_truth(self, deposits: Deposits) -> Deposits:
        """Return the events as they are.

        Raises:
            DataError: the deposits do not say which particle made them, or none has a class.
        """
        if deposits.instance is None:
            particle_numbers(deposits)  # says what is missing
        if len(deposits.semantic) and bool((deposits.semantic < 0).all()):
            raise DataError(f"task '{self.name}' needs the class of deposits, which is unknown for all of these.")
        return deposits

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Refuse: the loss of sets is ``set_loss``."""
        raise TypeError(f"task '{self.name}' is trained on sets: use set_loss.")

    def set_loss(self, answer: SetAnswer, target: SetTarget) -> Tensor:
        """Return the training loss of masks and kinds after the best assignment of queries to true particles."""
        return set_loss(answer, target)

    def find(self, answer: SetAnswer) -> Found:
        """Return the particles of a head's answer.

        A query whose likeliest kind is "no particle" finds nothing. A voxel goes to the query of largest mask
        probability times kind probability among those whose mask probability is at least 0.5, as in the panoptic
        inference of Mask2Former (arXiv:2112.01527). What then has fewer than 5 voxels is dropped, as among the true.
        """
        probability = answer.kind.softmax(dim=-1)
        best, which = probability.max(dim=-1)
        weight = torch.where(which < len(KINDS), best, 0.0)
        event = answer.event_index
        mask = answer.mask.sigmoid()
        score = torch.where(mask >= _MASK, mask * weight[event], 0.0)
        value, query = score.max(dim=1)
        query = torch.where(value > 0, query, -1)
        held = query >= 0
        place = event * self.queries + query
        sizes = torch.bincount(place[held], minlength=len(answer) * self.queries)
        kept = held & (sizes[place.clamp(min=0)] >= LEAST_CELLS)
        return Found(torch.where(kept, query, -1), probability)

    @abstractmethod
    def count(self, found: Found, event: Tensor, matched: MatchedTruth) -> Tensor:
        """Return float32 (event, output): the stored outputs.

        Args:
            found: What a head found, voxels in the order of the image.
            event: int64 (voxel,), event of each voxel.
            matched: Truth of the same voxels, with particles.
        """
