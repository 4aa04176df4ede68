"""Loss of a set of predicted particles: each true one is assigned to one query, then masks and kinds are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from shiftlab.tasks.particle_truth import VOID, TrueParticles

__all__ = ["SetAnswer", "SetTarget", "assign", "set_loss"]

FOCAL: Final = 2.0
DICE: Final = 5.0
KIND: Final = 2.0
NO_PARTICLE: Final = 0.5
"""Weights of the terms and of the class "no particle", those of Panda's detector (arXiv:2512.01324, its configs)."""

_ALPHA: Final = 0.25
_GAMMA: Final = 2.0
"""Constants of the focal loss (Lin et al., arXiv:1708.02002)."""

_IGNORED: Final = -100


@dataclass(frozen=True)
class SetAnswer:
    """What a head says of a packed batch; voxels of event i are rows ``voxel_offsets[i]:voxel_offsets[i + 1]``.

    Attributes:
        mask: float32 (voxel, query), logit that a voxel belongs to a query of its event.
        kind: float32 (event, query, kind + 1), logits of the kinds and, last, of no particle.
        voxel_offsets: int64 (event + 1,).
    """

    mask: Tensor
    kind: Tensor
    voxel_offsets: Tensor

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.voxel_offsets) - 1

    @property
    def event_index(self) -> Tensor:
        """int64 (voxel,): the event of each voxel."""
        count = torch.arange(len(self), device=self.voxel_offsets.device)
        return torch.repeat_interleave(count, self.voxel_offsets.diff())


@dataclass(frozen=True)
class SetTarget:
    """The true particles of the same batch.

    Attributes:
        owner: int64 (voxel,), as ``MatchedTruth.owner``; voxels of ``VOID`` teach nothing.
        particles: The true particles.
        asked: bool (event,), the events that count; None for all.
    """

    owner: Tensor
    particles: TrueParticles
    asked: Tensor | None = None


def set_loss(answer: SetAnswer, target: SetTarget) -> Tensor:
    """Return focal and dice loss of assigned masks, per true particle, plus the cross entropy of all kinds.

    A true particle of a kind that is not asked for teaches its mask alone. Events that do not count must not be all.
    """
    kinds = answer.kind.shape[-1] - 1
    wanted = torch.full(answer.kind.shape[:2], kinds, dtype=torch.int64, device=answer.kind.device)
    focal, dice = answer.mask.sum() * 0.0, answer.mask.sum() * 0.0
    pairs = 0
    asked_of = torch.ones(len(answer), dtype=torch.bool) if target.asked is None else target.asked
    wanted[~asked_of.to(wanted.device)] = _IGNORED
    for event in torch.nonzero(asked_of).flatten().tolist():
        logits, truth, kind = _one(answer, target, event)
        if not len(kind) or not len(logits):
            continue
        query, true = assign(logits, truth, answer.kind[event], kind)
        asked = (kind[true] >= 0) & (kind[true] < kinds)
        wanted[event, query] = torch.where(asked, kind[true], _IGNORED)
        focal = focal + _focal(logits[:, query], truth[:, true]).mean(dim=0).sum()
        dice = dice + _dice(logits[:, query], truth[:, true]).sum()
        pairs += len(query)
    weight = answer.kind.new_ones(kinds + 1)
    weight[kinds] = NO_PARTICLE
    flat = wanted.flatten()
    entropy = functional.cross_entropy(answer.kind.flatten(0, 1), flat, weight=weight, ignore_index=_IGNORED)
    return KIND * entropy + (FOCAL * focal + DICE * dice) / max(pairs, 1)


@torch.no_grad()
def assign(logits: Tensor, truth: Tensor, kind_logits: Tensor, kind: Tensor) -> tuple[Tensor, Tensor]:
    """Return int64 (pair,) twice: queries and the true particles that they are assigned to, at least total cost.

    The cost of a pair has the terms and weights of the loss (Mask2Former, arXiv:2112.01527); with more particles
    than queries some particles stay without.

    Args:
        logits: (voxel, query).
        truth: float (voxel, particle), 1 where a voxel belongs to a particle.
        kind_logits: (query, kind + 1).
        kind: int64 (particle,); those that are not among the kinds cost nothing.
    """
    probability = kind_logits.softmax(dim=-1)
    kinds = probability.shape[-1] - 1
    asked = (kind >= 0) & (kind < kinds)
    cost = torch.where(asked, -KIND * probability[:, kind.clamp(0, kinds - 1)], 0.0)
    voxels = len(logits)
    one, zero = _focal(logits, torch.ones_like(logits)), _focal(logits, torch.zeros_like(logits))
    cost = cost + FOCAL * (one.T @ truth + zero.T @ (1 - truth)) / voxels
    mask = logits.sigmoid()
    cost = cost + DICE * (1 - (2 * mask.T @ truth + 1) / (mask.sum(0)[:, None] + truth.sum(0)[None] + 1))
    query, true = linear_sum_assignment(cost.cpu().numpy())
    return torch.from_numpy(query).to(logits.device), torch.from_numpy(true).to(logits.device)


def _one(answer: SetAnswer, target: SetTarget, event: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits (voxel, query), truth (voxel, particle) and kinds (particle,) of one event, without void voxels."""
    first, last = int(answer.voxel_offsets[event]), int(answer.voxel_offsets[event + 1])
    begin, end = int(target.particles.offsets[event]), int(target.particles.offsets[event + 1])
    owner = target.owner[first:last]
    asked = owner != VOID
    truth = owner[asked][:, None] == torch.arange(end - begin, device=owner.device)
    # A particle that the image lost wholly teaches nothing: no query can be blamed for it.
    seen = truth.any(dim=0)
    return answer.mask[first:last][asked], truth[:, seen].to(answer.mask.dtype), target.particles.kind[begin:end][seen]


def _focal(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the focal loss of each element (Lin et al., arXiv:1708.02002)."""
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    probability = logits.sigmoid()
    miss = truth * (1 - probability) + (1 - truth) * probability
    alpha = _ALPHA * truth + (1 - _ALPHA) * (1 - truth)
    return alpha * miss**_GAMMA * entropy


def _dice(logits: Tensor, truth: Tensor) -> Tensor:
    """Return 1 - (2 |A B| + 1) / (|A| + |B| + 1) of each column, the +1 so that empty masks have a value."""
    mask = logits.sigmoid()
    return 1 - (2 * (mask * truth).sum(0) + 1) / (mask.sum(0) + truth.sum(0) + 1)
