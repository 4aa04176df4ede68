"""Flat rows that belong to groups: the rows of some of the groups."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ragged_rows"]


def ragged_rows(offsets: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of the groups at ``index`` one after another, and their new offsets.

    Args:
        offsets: int64 (group + 1,), rows of group i are ``offsets[i]:offsets[i + 1]``.
        index: int64 (chosen,).
    """
    counts = offsets.diff()[index]
    new = torch.zeros(len(index) + 1, dtype=torch.int64, device=counts.device)
    torch.cumsum(counts, 0, out=new[1:])
    rows = torch.repeat_interleave(offsets[:-1][index] - new[:-1], counts)
    rows += torch.arange(len(rows), device=counts.device)
    return rows, new
