"""Summary quantities of images as a classic selection uses them: per event, and per block at several scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from shiftlab.arms.contract import InputContract
from shiftlab.arms.patches import Patches, group
from shiftlab.events.image import Image

__all__ = ["BLOCK", "Summaries", "summarise"]

BLOCK: Final = 4
"""Edge of a block, cells; all voxels of a block get one class."""

_SCALES: Final = (4, 8, 16, 32)

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Summaries:
    """Summary quantities of one chunk of images.

    Attributes:
        event: float32 (event, quantity); an empty event has zeros.
        block: float32 (block, quantity).
        voxel_block: int64 (voxel,), the block of each voxel of the image.
    """

    event: Array
    block: Array
    voxel_block: Integers


def summarise(image: Image, patches: Patches | None, contract: InputContract) -> Summaries:
    """Return the summary quantities of every event and block; of wires those of each plane, and no blocks.

    ``patches`` are those of the image, where they are known already.
    """
    if contract.views > 1:
        plane = image.index[:, 1]
        planes = [group(image.keep(plane == one), contract).overall for one in range(contract.views)]
        nothing = np.zeros((0, 0), dtype=np.float32)
        return Summaries(torch.cat(planes, dim=1).cpu().numpy(), nothing, np.zeros(0, dtype=np.int64))
    patches = group(image, contract) if patches is None else patches
    index = image.index.cpu().numpy()
    energy = np.maximum(image.energy.cpu().numpy().astype(np.float64), contract.energy_floor)
    event = image.event_index.cpu().numpy()
    overall = patches.overall.cpu().numpy().astype(np.float64)
    block, voxel_block = _blocks(index, energy, event, overall)
    return Summaries(overall.astype(np.float32), block, voxel_block)


def _blocks(index: Integers, energy: Doubles, event: Integers, overall: Doubles) -> tuple[Array, Integers]:
    """Return (block, quantity) and the block of each voxel: content and shape at every scale around it."""
    coarse = index // _SCALES[-1]
    across = int(coarse.max(initial=0)) + 1
    key = ((event * across + coarse[:, 0]) * across + coarse[:, 1]) * across + coarse[:, 2]
    for scale in reversed(_SCALES[:-1]):
        child = index // scale % 2
        key = key * 8 + child[:, 0] * 4 + child[:, 1] * 2 + child[:, 2]
    order = np.argsort(key, kind="stable")
    key = key[order]
    local = (index % _SCALES[-1]).astype(np.float64)[order]
    products = local[:, [0, 1, 2, 0, 0, 1]] * local[:, [0, 1, 2, 1, 2, 2]]
    columns = np.column_stack([np.ones(len(key)), energy[order], energy[order] ** 2, local, products])
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    sums = np.add.reduceat(columns, starts, axis=0) if len(key) else columns
    block_key = key[starts]
    brightest = np.maximum.reduceat(energy[order], starts) if len(key) else energy
    owner = event[order][starts]
    quantities = [np.log(brightest)[:, None], overall[owner][:, :2]]
    for level, _ in enumerate(_SCALES):
        parent = block_key >> (3 * level)
        begin = np.flatnonzero(np.diff(parent, prepend=-1))
        total = np.add.reduceat(sums, begin, axis=0) if len(begin) else sums
        spread_back = np.repeat(np.arange(len(begin)), np.diff(begin, append=len(parent)))
        quantities.append(_content(total)[spread_back])
    voxel_block = np.empty(len(key), dtype=np.int64)
    voxel_block[order] = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(key)))
    return np.hstack(quantities).astype(np.float32), voxel_block


def _content(sums: Doubles) -> Doubles:
    """Return (cube, 4): ln count, ln mean energy, relative spread of energy, and how linear the voxels lie."""
    count = np.maximum(sums[:, 0], 1.0)
    mean = sums[:, 1] / count
    variance = np.maximum(sums[:, 2] / count - mean**2, 0.0)
    middle = sums[:, 3:6] / count[:, None]
    moment = sums[:, 6:12] / count[:, None] - middle[:, [0, 1, 2, 0, 0, 1]] * middle[:, [0, 1, 2, 1, 2, 2]]
    trace = moment[:, :3].sum(axis=1)
    square = (moment[:, :3] ** 2).sum(axis=1) + 2 * (moment[:, 3:] ** 2).sum(axis=1)
    linear = np.divide(square, trace**2, out=np.zeros_like(trace), where=trace > 1e-9)
    return np.stack(
        [np.log(count), np.log(np.maximum(mean, 1e-6)), np.sqrt(variance) / mean.clip(1e-6), linear], axis=1
    )
