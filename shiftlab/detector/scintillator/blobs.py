"""Blobs: energy that no track and no photon claims, grouped by closeness in space."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor

from shiftlab.detector.scintillator.clusters import Clusters

__all__ = ["connect", "joined"]

_APART = 1.0e5
"""Distance between two events along the fourth axis of the search tree, cm: more than any detector is long."""


def connect(clusters: Clusters, rows: Tensor, gap: float) -> tuple[Tensor, int]:
    """Return int64 (row,), the blob of each cluster in ``rows``, and the number of blobs.

    Two clusters of one event belong to one blob when a chain of clusters joins them with no step longer
    than ``gap`` (cm). Blobs are numbered in the order of their first cluster.
    """
    return joined(clusters.event[rows], clusters.position[rows], gap)


def joined(event: Tensor, position: Tensor, gap: float) -> tuple[Tensor, int]:
    """Return int64 (row,), the group of each place, and the number of groups, in the order of their first place.

    Args:
        event: int64 (row,); places of two events never join.
        position: float64 (row, 3).
        gap: longest step between two places of a group, in the unit of ``position``.
    """
    if len(event) == 0:
        return event, 0
    apart = event.double() * _APART
    where = torch.cat([position, apart[:, None]], dim=1).cpu().numpy()
    pairs = cKDTree(where).query_pairs(gap, output_type="ndarray")
    links = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(len(event), len(event)))
    count, label = connected_components(links, directed=False)
    _, first, number = np.unique(label, return_index=True, return_inverse=True)
    place = np.empty(count, dtype=np.int64)
    place[np.argsort(first, kind="stable")] = np.arange(count)
    return torch.from_numpy(place[number]).to(event.device), int(count)
