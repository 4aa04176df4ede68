"""Directions of steps to the drift field: from the file, or estimated from the deposits nearby."""

from __future__ import annotations

from itertools import pairwise
from typing import Final, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from shiftlab.events.deposits import Deposits

__all__ = ["DIRECTIONS", "NEIGHBOURHOOD", "UNKNOWN_COSINE", "Directions", "cosines", "local_directions"]

Directions: TypeAlias = Literal["file", "local"]

DIRECTIONS: Final[tuple[Directions, ...]] = ("file", "local")
"""Where the directions of steps come from: the file, or the estimate ``local_directions``."""

NEIGHBOURHOOD: Final = 1.5
"""cm; deposits of the same particle within this distance give the local direction."""

UNKNOWN_COSINE: Final = 3.0**-0.5
"""|cos| of a point deposit, and of one without neighbours: the root mean square over all directions."""


def cosines(deposits: Deposits, directions: Directions) -> Tensor | None:
    """Return float64 (deposit,): |cos| of the angle between each step and the drift axis x; None where unknown.

    Deposits without a direction get ``UNKNOWN_COSINE``.

    Args:
        deposits: of a file.
        directions: ``file`` takes the file's own; ``local`` estimates them, whatever the file has.
    """
    found = local_directions(deposits) if directions == "local" else deposits.direction
    if found is None:
        return None
    along = found[:, 0].to(torch.float64).abs().clamp(max=1.0)
    return torch.where((found == 0).all(dim=1), UNKNOWN_COSINE, along)


def local_directions(deposits: Deposits, reach: float = NEIGHBOURHOOD) -> Tensor:
    """Return float64 (deposit, 3): the axis along which the deposits of the same particle nearby spread most.

    An approximation: it is that of the track, not of the step, it blurs kinks and scattering shorter than ``reach``,
    and mixes branches of one particle. Files that do not number particles are taken by kind of particle, where
    crossing tracks of one kind mix too. Against the true steps of simulated muons and neutrino events |cos| is off by
    0.03 to 0.06 on average, weighted with energy, which moves the ellipsoid box by 2% of a step's charge and 0.02% of
    an event's. 0 where a deposit has no neighbour at another place.

    Args:
        deposits: of a file; each event is worked out alone, so that no batch changes a bit.
        reach: cm.
    """
    position = deposits.position.cpu().numpy().astype(np.float64)
    owner = (deposits.particle if deposits.instance is None else deposits.instance).cpu().numpy()
    result = np.zeros_like(position)
    offsets = deposits.offsets.tolist()
    for first, last in pairwise(offsets):
        result[first:last] = _axes(position[first:last], owner[first:last], reach)
    return torch.from_numpy(result).to(deposits.position.device)


def _axes(position: NDArray[np.float64], owner: NDArray[np.generic], reach: float) -> NDArray[np.float64]:
    """Return float64 (deposit, 3): principal axes of one event's deposits with their neighbours."""
    _, particle = np.unique(owner, return_inverse=True)
    # A fourth coordinate keeps deposits of different particles out of each other's reach.
    place = np.column_stack([position, 2.0 * reach * particle])
    pairs = cKDTree(place).query_pairs(reach, output_type="ndarray")
    here, there = np.concatenate([pairs, pairs[:, ::-1]]).T
    away = position[there] - position[here]
    count = 1.0 + np.bincount(here, minlength=len(position))
    mean = np.stack([np.bincount(here, away[:, i], len(position)) for i in range(3)], axis=1) / count[:, None]
    spread = np.empty((len(position), 3, 3))
    for i in range(3):
        for j in range(i, 3):
            square = np.bincount(here, away[:, i] * away[:, j], len(position)) / count
            spread[:, i, j] = spread[:, j, i] = square - mean[:, i] * mean[:, j]
    values, vectors = np.linalg.eigh(spread)
    # Below a micrometre neighbours are the same place.
    return np.where(values[:, 2:] > 1e-8, vectors[:, :, 2], 0.0)
