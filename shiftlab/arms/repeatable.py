"""Repeatable sums: what torch computes inside has the same bits each time, on one machine and device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

__all__ = ["repeatable"]

_WORKSPACE: Final = "CUBLAS_WORKSPACE_CONFIG"
_SIZE: Final = ":4096:8"


@contextmanager
def repeatable(device: torch.device | str) -> Iterator[None]:
    """Let torch take nothing but algorithms whose sums have a fixed order; as before afterwards.

    Without it several threads add to one number in the order in which they arrive: on a graphics card in sums by index
    (``index_add``, ``scatter_add``) and in the gradients of gathers and attention, on the CPU with more than one torch
    thread in the gradient of indexing. One thread on the CPU gives the same bits with it and without. An operation that
    has no such algorithm fails (``torch.use_deterministic_algorithms`` lists them).

    cuBLAS needs a fixed workspace besides, which it reads once, before its first product in a process. On CUDA the
    variable ``CUBLAS_WORKSPACE_CONFIG`` is set here where it is not; a process that has multiplied matrices on the card
    before must have been started with it, or torch says so.

    Args:
        device: Where the numbers are computed.
    """
    if torch.device(device).type == "cuda":
        os.environ.setdefault(_WORKSPACE, _SIZE)
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
