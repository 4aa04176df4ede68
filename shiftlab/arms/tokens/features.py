"""What bodies for tokens share: standardised columns and globals, and the packed result."""

from __future__ import annotations

import torch
from torch import Tensor

from shiftlab.arms.encoded import Encoded
from shiftlab.arms.tokens.batch import TokenBatch
from shiftlab.arms.tokens.contract import TokenContract

__all__ = ["encoded_tokens", "standard_numbers", "standard_values"]


def standard_values(batch: TokenBatch, contract: TokenContract) -> Tensor:
    """Return float32 (token, column): (value - centre) / spread, 0 where an entry is blank."""
    return _standard(batch.values, batch.valid, contract.centre, contract.spread)


def standard_numbers(batch: TokenBatch, contract: TokenContract) -> Tensor:
    """Return float32 (event, global + 1): the same of the globals, and ln of the number of tokens."""
    numbers = _standard(batch.numbers, batch.numbers_valid, contract.global_centre, contract.global_spread)
    return torch.cat([numbers, torch.log(batch.lengths.clamp(min=1).float())[:, None]], dim=1)


def encoded_tokens(tokens: Tensor, batch: TokenBatch, overall: Tensor) -> Encoded:
    """Return what heads read: (token, features) and (event, overall features) of a batch, without places or voxels."""
    none = torch.zeros(0, dtype=torch.int64, device=batch.device)
    return Encoded(
        tokens=tokens,
        offsets=batch.offsets,
        position=tokens.new_zeros(len(tokens), 3),
        centroid=batch.centroid,
        overall=overall,
        voxel_offsets=torch.zeros_like(batch.offsets),
        voxel_token=none,
        place=none,
        value=tokens.new_zeros(0),
    )


def _standard(values: Tensor, valid: Tensor, centre: tuple[float, ...], spread: tuple[float, ...]) -> Tensor:
    return (values - values.new_tensor(centre)) / values.new_tensor(spread) * valid
