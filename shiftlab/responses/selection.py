"""The analysis selection: score-free cuts on the observed image, run again in every universe."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shiftlab.detector import Geometry
from shiftlab.errors import ConfigError
from shiftlab.events.image import Image
from shiftlab.events.tokens import Tokens

__all__ = ["AnalysisSelection"]


@dataclass(frozen=True)
class AnalysisSelection:
    """Size, energy and containment that a neutrino-candidate search asks of an event.

    The cuts see only what the detector sees, so their migration belongs to the templates. They
    are loose on purpose: they ask for an event that is there and mostly inside, and leave
    the physics to the observables.

    Attributes:
        voxels: fewest voxels above threshold (20: about 6 cm of track at 3 mm).
        energy: least calibrated energy, MeV (50: above Michel electrons and Ar-39, below the
            lowest-energy beam neutrinos that a search uses).
        margin: width of the outer shell of the volume, cm (5: a few 3 mm cells of space-charge
            and diffusion blur at the walls; larger fiducial margins are the study's choice).
        outside: largest fraction of the energy in that shell (0.3: through-going activity fails,
            a muon that leaves does not).
        tokens: fewest tokens, where events are tokens (1: something was reconstructed); the other cuts are of images.

    Raises:
        ConfigError: a cut outside its range.
    """

    voxels: int = 20
    energy: float = 50.0
    margin: float = 5.0
    outside: float = 0.3
    tokens: int = 1

    def __post_init__(self) -> None:
        """Refuse cuts that mean nothing."""
        for key in ("voxels", "energy", "margin", "tokens"):
            value = getattr(self, key)
            if not value >= 0.0:
                raise ConfigError(f"selection.{key} = {value}; it must not be negative.")
        if not 0.0 <= self.outside <= 1.0:
            raise ConfigError(f"selection.outside = {self.outside}; it is a fraction from 0 to 1.")

    def __call__(self, image: Image | Tokens, geometry: Geometry | None) -> Tensor:
        """Return bool (event,): which events pass.

        Args:
            image: the observed image, or the reconstructed tokens.
            geometry: its volume and lattice, None for tokens; where wire planes read it out, voxels are samples of
                all planes, and the energy is the planes' mean.
        """
        if isinstance(image, Tokens) or geometry is None:
            return image.offsets.diff() >= self.tokens
        events = image.event_index
        count = image.offsets[1:] - image.offsets[:-1]
        total = _sum(image.energy, events, len(image))
        shell = _sum(image.energy * geometry.near_wall(image.index, self.margin), events, len(image))
        contained = shell <= self.outside * total
        return (count >= self.voxels) & (total >= self.energy * geometry.views) & contained


def _sum(values: Tensor, events: Tensor, n: int) -> Tensor:
    """Float64 (event,): sum of voxel values in each event, in eV, so that order does not matter."""
    total = torch.zeros(n, dtype=torch.int64, device=values.device)
    total.index_add_(0, events, torch.round(values.to(torch.float64) * 1e6).to(torch.int64))
    return total.to(torch.float64) * 1e-6
