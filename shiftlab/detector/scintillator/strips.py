"""Planes of triangular scintillator strips in three views: which strip a point is in, and where a strip is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from shiftlab.errors import ConfigError

__all__ = ["VIEW_ANGLES", "StripGeometry"]

VIEW_ANGLES: Final = {"X": 0.0, "U": math.radians(60.0), "V": math.radians(-60.0)}
"""Angle of the measured coordinate from x towards y; X strips run along y, U and V strips at 60 degrees to them."""


@dataclass(frozen=True)
class StripGeometry:
    """A stack of hexagonal planes without gaps; each plane is a row of triangular strips, apex up, apex down, ...

    Two neighbouring triangles overlap over the whole of the plane's depth, so a track leaves light in
    both of them, in the ratio that its place between them says. Lengths in cm, frame of the deposits, the
    beam along z. The defaults fit a box of 230 x 230 x 600 cm with its corner at 0.

    Attributes:
        planes: Number of planes.
        strips: Strips in a plane; odd, so that strip ``strips // 2`` is at the centre.
        base: Base of a strip's triangle; the strips' pitch is half of it.
        thickness: Height of the triangle, and of a plane; 3.3 and 1.7 are those of NIM A743 (2014) 130.
        apothem: Distance from the beam to each of the hexagon's six sides.
        axis: x and y of the hexagons' centres.
        first: z of the upstream face of plane 0.
        views: View of plane i is letter ``i % len(views)``.

    Raises:
        ConfigError: a number is not positive, ``strips`` is even, or a view is not X, U or V.
    """

    planes: int = 352
    strips: int = 127
    base: float = 3.3
    thickness: float = 1.7
    apothem: float = 107.0
    axis: tuple[float, float] = (115.0, 115.0)
    first: float = 0.0
    views: str = "UXVX"

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        for name in ("planes", "strips", "base", "thickness", "apothem"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"geometry.{name} = {getattr(self, name)}; it must be positive.")
        if self.strips % 2 == 0:
            raise ConfigError(f"geometry.strips = {self.strips}; it must be odd, so that one strip is at the centre.")
        if not self.views or set(self.views) - set(VIEW_ANGLES):
            raise ConfigError(f"geometry.views = '{self.views}'; its letters must be among X, U and V.")

    @property
    def pitch(self) -> float:
        """Distance between the centres of neighbouring strips, cm."""
        return self.base / 2

    @property
    def last(self) -> float:
        """Z of the downstream face, cm."""
        return self.first + self.planes * self.thickness

    def angle(self, plane: Tensor) -> Tensor:
        """Return float64 (...): the angle of each plane's measured coordinate, radians."""
        angles = [VIEW_ANGLES[view] for view in self.views]
        return torch.tensor(angles, dtype=torch.float64, device=plane.device)[plane % len(self.views)]

    def from_centre(self, position: Tensor) -> Tensor:
        """Return float64 (point,), cm: the largest distance of each point from the axis towards a side."""
        x, y = self._offset(position)
        return torch.stack([(x * math.cos(a) + y * math.sin(a)).abs() for a in VIEW_ANGLES.values()]).amax(dim=0)

    def inside(self, position: Tensor) -> Tensor:
        """Return bool (point,): points within the hexagon, between the first and the last face."""
        z = position[:, 2].double()
        return (z >= self.first) & (z < self.last) & (self.from_centre(position) <= self.apothem)

    def _offset(self, position: Tensor) -> tuple[Tensor, Tensor]:
        return position[:, 0].double() - self.axis[0], position[:, 1].double() - self.axis[1]

    def plane(self, position: Tensor) -> Tensor:
        """Return int64 (point,): the plane of each point (clamped at the ends)."""
        depth = (position[:, 2].double() - self.first) / self.thickness
        return depth.floor().long().clamp(0, self.planes - 1)

    def coordinates(self, position: Tensor, plane: Tensor) -> tuple[Tensor, Tensor]:
        """Return float64 (point,) twice, cm: the coordinate that a plane measures and the one along its strips."""
        x, y = self._offset(position)
        angle = self.angle(plane)
        return x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()

    def strip(self, position: Tensor, plane: Tensor) -> Tensor:
        """Return int64 (point,): the triangle that holds each point; points beyond the last strip get that one.

        At the fraction t of the plane's depth a triangle with its base upstream is wide ``base (1 - t)``, its
        neighbours, with their apex there, ``base t``; between two centres the border is at 1 - t of the pitch.
        """
        across, _ = self.coordinates(position, plane)
        depth = (position[:, 2].double() - self.first) / self.thickness - plane
        where = across / self.pitch
        upstream = 2 * torch.round(where / 2)  # nearest triangle with its base upstream
        side = torch.where(where >= upstream, 1.0, -1.0)
        number = torch.where((where - upstream).abs() <= 1.0 - depth, upstream, upstream + side)
        return (number.long() + self.strips // 2).clamp(0, self.strips - 1)

    def across(self, strip: Tensor) -> Tensor:
        """Return float64 (...): the measured coordinate of strips' centres, cm."""
        return (strip.double() - self.strips // 2) * self.pitch

    def depth(self, plane: Tensor) -> Tensor:
        """Return float64 (...): z of planes' centres, cm."""
        return self.first + (plane.double() + 0.5) * self.thickness

    def half_length(self, across: Tensor) -> Tensor:
        """Return float64 (...): half the length of a strip whose centre is at ``across``, cm."""
        return (2 * self.apothem - across.abs()) / math.sqrt(3.0)

    def transverse(self, plane: Tensor, across: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
        """Return x and y, cm, from the coordinates of a plane: the inverse of ``coordinates``."""
        angle = self.angle(plane)
        x = across * angle.cos() - along * angle.sin()
        y = across * angle.sin() + along * angle.cos()
        return x + self.axis[0], y + self.axis[1]
