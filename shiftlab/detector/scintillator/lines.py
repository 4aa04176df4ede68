"""Straight lines through clusters of three views: x and y as functions of z, by least squares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from shiftlab.detector.scintillator.clusters import Clusters, total
from shiftlab.detector.scintillator.strips import StripGeometry

__all__ = ["Lines", "fit_lines"]

_STEEPEST: Final = 3.0
"""Spread of the prior on slopes: a track in few planes keeps a finite direction."""

_RESOLUTION: Final = 0.25
"""Of a cluster's coordinate, cm; 2.5 mm in the vertical slice test (J. Chvojka and H. Budd)."""


@dataclass(frozen=True)
class Lines:
    """One line per group of clusters: x = x0 + a (z - z0), y = y0 + b (z - z0); cm.

    Attributes:
        point: float64 (group, 3), x0, y0, z0.
        slope: float64 (group, 2), a and b.
        first: float64 (group,), z of the upstream-most cluster.
        last: float64 (group,), z of the downstream-most cluster.
        planes: int64 (group,), planes with a cluster.
    """

    point: Tensor
    slope: Tensor
    first: Tensor
    last: Tensor
    planes: Tensor

    @property
    def direction(self) -> Tensor:
        """float64 (group, 3), the unit vector downstream."""
        forward = torch.cat([self.slope, torch.ones_like(self.slope[:, :1])], dim=1)
        size: Tensor = forward.norm(dim=1, keepdim=True)
        return forward / size

    def at(self, depth: Tensor) -> Tensor:
        """Return float64 (group, 3), cm: where each line is at ``depth`` (group,)."""
        far = (depth - self.point[:, 2])[:, None]
        return torch.cat([self.point[:, :2] + self.slope * far, depth[:, None]], dim=1)


def fit_lines(clusters: Clusters, group: Tensor, groups: int, geometry: StripGeometry) -> Lines:
    """Return the line of each group; only what the planes measure enters, the place along strips does not.

    Minimises the sum of ((x cos + y sin) - across)^2 / (2.5 mm)^2 with priors 0 +- 3 on the slopes and on x0, y0
    the hexagon's size, so that groups in fewer than three views have a line too.

    Args:
        clusters: Clusters of tracks.
        group: int64 (cluster,), the group of each.
        groups: How many groups.
        geometry: Strips.
    """
    depth = clusters.position[:, 2]
    count = torch.bincount(group, minlength=groups).clamp(min=1).double()
    middle = total(depth, group, groups) / count
    angle = geometry.angle(clusters.plane)
    lever = depth - middle[group]
    row = torch.stack([angle.cos(), angle.sin(), angle.cos() * lever, angle.sin() * lever], dim=1) / _RESOLUTION
    normal = total(row[:, :, None] * row[:, None, :], group, groups)
    prior = torch.tensor([geometry.apothem, geometry.apothem, _STEEPEST, _STEEPEST], dtype=torch.float64)
    normal += torch.diag(prior**-2).to(normal.device)
    right = total(row * (clusters.across / _RESOLUTION)[:, None], group, groups)
    solution = torch.linalg.solve(normal, right[:, :, None]).squeeze(2)
    solution[:, :2] += torch.tensor(geometry.axis, dtype=torch.float64, device=normal.device)
    first = torch.full((groups,), torch.inf, dtype=torch.float64, device=depth.device)
    pairs = torch.unique(group * geometry.planes + clusters.plane)
    return Lines(
        point=torch.cat([solution[:, :2], middle[:, None]], dim=1),
        slope=solution[:, 2:],
        first=first.scatter_reduce(0, group, depth, "amin"),
        last=(-first).scatter_reduce(0, group, depth, "amax"),
        planes=torch.bincount(pairs // geometry.planes, minlength=groups),
    )
