"""Flow matching of token momenta: noise in the contract's own units, the path to it, and the loss per particle.

Source: OmniLearned (arXiv:2510.24066) and its package's ``diffusion.perturb`` and ``utils.get_loss``: the point
z = (1 - t) x + t e, the velocity e - x, and its squared error summed over the columns and averaged over the valid
particles of an event, then over events. The package's noise has the mean and width of jet constituents in GeV, whatever
it is given; here both are the contract's.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from shiftlab.arms.tokens.batch import TokenBatch
from shiftlab.arms.tokens.contract import KINEMATICS, TokenContract

__all__ = ["along", "flow_loss", "noise", "times"]


def noise(batch: TokenBatch, contract: TokenContract, generator: Generator) -> Tensor:
    """Return float32 (token, 4): normal draws with ``centre`` and ``spread`` of the contract's momentum columns."""
    drawn = torch.randn((len(batch.values), KINEMATICS), generator=generator).to(batch.device)
    centre, spread = (drawn.new_tensor(given[:KINEMATICS]) for given in (contract.centre, contract.spread))
    return drawn * spread + centre


def times(batch: TokenBatch, generator: Generator) -> Tensor:
    """Return float32 (event,): noise levels, even over 0 to 1."""
    return torch.rand(len(batch), generator=generator).to(batch.device)


def along(momenta: Tensor, drawn: Tensor, time: Tensor) -> Tensor:
    """Return (token, 4): the point at ``time`` (token, 1) on the straight line from momenta (0) to noise (1)."""
    return (1 - time) * momenta + time * drawn


def flow_loss(predicted: Tensor, velocity: Tensor, batch: TokenBatch) -> Tensor:
    """Return the squared error of the velocity, (token, 4) each: summed over columns, mean over particles, then events.

    An event without tokens counts as 0.
    """
    error = ((predicted - velocity).square() * batch.valid[:, :KINEMATICS]).sum(dim=1)
    summed = error.new_zeros(len(batch)).index_add(0, batch.token_event, error)
    return (summed / batch.lengths.clamp(min=1)).mean()
