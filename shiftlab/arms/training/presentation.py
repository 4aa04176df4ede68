"""Which events a training shows, in which order, and which vertices it keeps for validation: functions of a seed."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from shiftlab.errors import ConfigError, DataError

__all__ = ["held_out", "keyed", "presentations"]

_WINDOW = 16


def keyed(*words: object) -> int:
    """Return a non-negative 63-bit seed that is a pure function of the words."""
    text = "/".join(str(word) for word in words)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def presentations(rows: Tensor, size: Tensor, total: int, batch: int, seed: int) -> list[Tensor]:
    """Return the batches of a training, each int64 (event,) on the CPU, as a pure function of the arguments.

    Every epoch is a permutation; inside windows of 16 batches events are sorted by ``size`` so that
    a batch has events of similar size and little padding, and the batches of a window are shuffled.

    Args:
        rows: int64 (event,), the events of the training.
        size: (all events,), size of each event.
        total: Number of presentations.
        batch: Events per batch.
        seed: Seed of the order.

    Raises:
        DataError: there are no events.
        ConfigError: there are no presentations.
    """
    if not len(rows):
        raise DataError("training: no event of the training sample has this task's truth. Choose another sample.")
    if total < 1:
        raise ConfigError(f"training: {total} presentations; the recipe must give 1 or more to what is trained.")
    rows, size = rows.cpu(), size.cpu()  # of images on a graphics card only the sizes lie there
    generator = torch.Generator().manual_seed(keyed(seed, "order"))
    epochs = math.ceil(total / len(rows))
    order = torch.cat([rows[torch.randperm(len(rows), generator=generator)] for _ in range(epochs)])[:total]
    found: list[Tensor] = []
    for window in torch.split(order, _WINDOW * batch):
        chunks = torch.split(window[torch.argsort(size[window], stable=True)], batch)
        found += [chunks[i] for i in torch.randperm(len(chunks), generator=generator).tolist()]
    return found


def held_out(vertices: ArrayLike, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Return which events are kept from training for validation, bool (event,).

    A vertex is held out when its hash with the seed, even over [0, 1), is below ``fraction``: all events of
    one vertex go together, and a vertex stays on its side whatever else is in the sample.

    Args:
        vertices: int64 (event,), generator vertex of each event.
        fraction: Share of the vertices that is held out, 0 to 1 (1 excluded).
        seed: Another seed holds out other vertices.

    Raises:
        ConfigError: the fraction is not in [0, 1).
    """
    if not 0 <= fraction < 1:
        raise ConfigError(f"validation: {fraction} of the vertices cannot be held out; give a fraction in [0, 1).")
    uids, place = np.unique(np.asarray(vertices, dtype=np.int64), return_inverse=True)
    hashed = np.array([keyed(seed, "held out", uid) for uid in uids.tolist()], dtype=np.float64)
    return np.asarray(hashed.reshape(-1)[place] < fraction * 2.0**63, dtype=np.bool_)
