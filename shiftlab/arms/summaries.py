"""Summary quantities of images as a classic selection uses them: per event, and per block at several scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shiftlab.arms.contract import InputContract
from shiftlab.arms.patches import Patches
from shiftlab.events.image import Image

__all__ = ["BLOCK", "Summaries", "summarise"]

BLOCK: Final = 4
"""Edge of a block, cells; all voxels of a block get one class."""

_SCALES: Final = (4, 8, 16, 32)
_RADII: Final = (1.0, 2.0, 4.0, 8.0)
_DISTANCES: Final = (5.0, 10.0, 20.0, 40.0)
_CORE: Final = 3.0
_START: Final = 3.0

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


def summarise(image: Image, patches: Patches, contract: InputContract) -> Summaries:
    """Return the summary quantities of every event and block."""
    index = image.index.cpu().numpy()
    energy = np.maximum(image.energy.cpu().numpy().astype(np.float64), contract.energy_floor)
    event = image.event_index.cpu().numpy()
    overall = patches.overall.cpu().numpy().astype(np.float64)
    position = (index + 0.5) * contract.pitch
    shapes = _event_shapes(position, energy, event, image.offsets.cpu().numpy())
    block, voxel_block = _blocks(index, energy, event, overall)
    return Summaries(np.hstack([overall, shapes]).astype(np.float32), block, voxel_block)


def _sums(columns: Doubles, offsets: Integers) -> Doubles:
    total = np.zeros((len(columns) + 1, columns.shape[1]))
    np.cumsum(columns, axis=0, out=total[1:])
    sums: Doubles = total[offsets[1:]] - total[offsets[:-1]]
    return sums


def _event_shapes(position: Doubles, energy: Doubles, event: Integers, offsets: Integers) -> Doubles:
    """Return (event, quantity): where the energy is, how it spreads and how dense its ends are."""
    total = np.maximum(_sums(energy[:, None], offsets), 1e-9)
    centre = _sums(position * energy[:, None], offsets) / total
    away = position - centre[event]
    pairs = away[:, [0, 1, 2, 0, 0, 1]] * away[:, [0, 1, 2, 1, 2, 2]] * energy[:, None]
    spread = (_sums(pairs, offsets) / total)[:, [0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(-1, 3, 3)
    values, vectors = np.linalg.eigh(spread)
    values = np.sqrt(np.maximum(values, 1e-4))
    along = np.einsum("vi,vi->v", away, vectors[event, :, 2])
    aside = np.sqrt(np.maximum(np.einsum("vi,vi->v", away, away) - along**2, 0.0))
    distance = np.hypot(along, aside)
    near = [aside < radius for radius in _RADII] + [distance < limit for limit in _DISTANCES]
    inside = np.stack([energy * mask for mask in near], axis=1)
    counted = np.stack([mask.astype(np.float64) for mask in near], axis=1)
    fraction, number = _sums(inside, offsets) / total, _sums(counted, offsets)
    mean = fraction * total / np.maximum(number, 1.0)
    return np.hstack([centre, np.log(values), fraction, mean, _ends(along, aside, energy, event, offsets)])


def _ends(along: Doubles, aside: Doubles, energy: Doubles, event: Integers, offsets: Integers) -> Doubles:
    """Return (event, 6): dE/dx (MeV/cm) of both ends of the core along the main axis, and its length."""
    order = np.lexsort((along, event))
    along, core = along[order], energy[order] * (aside[order] < _CORE)
    running = np.concatenate([[0.0], np.cumsum(core)])
    first, last = offsets[:-1], offsets[1:]
    total = running[last] - running[first]
    shifted = along + (event * 1e4)
    quantities = []
    for low, high in ((0.02, 0.98), (0.05, 0.95)):
        start = np.searchsorted(running, running[first] + low * total, side="right") - 1
        stop = np.searchsorted(running, running[first] + high * total, side="left") - 1
        start, stop = np.clip(start, 0, max(len(along) - 1, 0)), np.clip(stop, 0, max(len(along) - 1, 0))
        if not len(along):
            return np.zeros((len(first), 6))
        ahead = np.searchsorted(shifted, shifted[start] + _START)
        behind = np.searchsorted(shifted, shifted[stop] - _START)
        one = (running[np.minimum(ahead, last)] - running[start]) / _START
        other = (running[stop + 1] - running[np.maximum(behind, first)]) / _START
        quantities += [np.minimum(one, other), np.maximum(one, other), along[stop] - along[start]]
    ends: Doubles = np.where((last > first)[:, None], np.stack(quantities, axis=1), 0.0)
    return ends


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
