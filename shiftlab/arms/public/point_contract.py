"""Input contracts of public models that look at single voxels: coordinates, energy transform, threshold, grid."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import ClassVar, Final

import torch
from torch import Tensor

from shiftlab.arms.contract import InputContract
from shiftlab.arms.patches import Patches
from shiftlab.errors import ConfigError, DataError
from shiftlab.events.image import Image

__all__ = ["Admission", "PointContract", "Points", "points_of"]

_ROUNDING: Final = 1e-5
"""Energies travel as float32 logarithms; so much of a threshold is forgiven."""


@dataclass(frozen=True)
class Admission:
    """What a contract lets through of some images, and what it keeps from the model.

    Attributes:
        events: Events.
        voxels: Voxels of the images.
        dropped: Voxels at or below the contract's threshold; the model never sees them.
        energy: Summed energy, MeV.
        dropped_energy: The same of the dropped voxels, MeV.
        emptied: Events that had voxels and have none left.
        small: Events with fewer voxels left than any that the model was trained on, the emptied ones among them.
    """

    events: int
    voxels: int
    dropped: int
    energy: float
    dropped_energy: float
    emptied: int
    small: int


@dataclass(frozen=True)
class PointContract(InputContract):
    """What a public model of PILArNet-M events takes for its input, voxel by voxel.

    The place of a voxel is (index - centre) / scale; its energy enters as
    y = 2 (log10(E + e0) - log10 e0) / (log10(e_max + e0) - log10 e0) - 1, which is -1 at 0 MeV and 1 at ``e_max``.

    Attributes:
        centre: Index of the middle of the lattice.
        scale: Cells per unit of length: half the diagonal of 768 cells.
        inverted: Whether the public code multiplies by 1 / scale where others divide. On a lattice many voxels are
            equally far from each other, and the last bit decides which of them a token is built about.
        e0: Offset inside the logarithm, MeV.
        e_max: Energy that becomes 1, MeV.
        above: Voxels at or below this energy are dropped, MeV.
        cell: Edge of the cells that places are counted in, in units of ``scale``; 0 for a model without.
        min_points: Events with fewer voxels were not among those that the model was trained on.
        trained_without: Semantic classes that were taken out of the training events, by their labels.
    """

    patch: int = 1
    grain: int = 1
    centre: float = 384.0
    scale: float = 768 * math.sqrt(3) / 2
    inverted: bool = False
    e0: float = 0.01
    e_max: float = 20.0
    above: float = 0.13
    cell: float = 0.0
    min_points: int = 1024
    trained_without: tuple[str, ...] = ()

    measured: ClassVar[tuple[str, ...]] = ("shape", "pitch", "energy_unit", "edges", "views")
    """What the images of a detector must have in common with it; the rest is the model's own arithmetic."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one of them makes no transform.
        """
        if (self.patch, self.grain, self.views) != (1, 1, 1):
            raise ConfigError(
                f"input contract of points: patch, grain and views are 1, not {self.patch}, {self.grain}, {self.views}."
            )
        if not (0 < self.e0 < self.e_max and self.scale > 0 and self.above >= 0 and self.cell >= 0):
            raise ConfigError(
                f"input contract of points: needs 0 < e0 < e_max, scale > 0, above >= 0 and cell >= 0; given e0 = "
                f"{self.e0}, e_max = {self.e_max}, scale = {self.scale}, above = {self.above}, cell = {self.cell}."
            )

    def require(self, other: InputContract, where: str) -> None:
        """Check that ``other``, the images at hand, is on the model's lattice and in its unit.

        Raises:
            ConfigError: a value differs; the message names it, both values and ``where``.
        """
        for name in self.measured:
            mine, given = getattr(self, name), getattr(other, name)
            if mine != given:
                raise ConfigError(
                    f"{where}: the public model takes images with {name} = {mine}, but these have {name} = {given}. "
                    "Use a detector with that lattice; nothing is rescaled."
                )

    def admit(self, image: Image) -> Image:
        """Return the voxels that the model may see; every event keeps its place."""
        return image.keep(image.energy > self.above)

    def admission(self, image: Image) -> Admission:
        """Return what ``admit`` would keep from the model, for a report."""
        kept = image.energy > self.above
        left = torch.bincount(image.event_index[kept], minlength=len(image))
        energy = image.energy.double()
        return Admission(
            events=len(image),
            voxels=len(kept),
            dropped=int((~kept).sum()),
            energy=float(energy.sum()),
            dropped_energy=float(energy[~kept].sum()),
            emptied=int(((left == 0) & (image.offsets.diff() > 0)).sum()),
            small=int((left < self.min_points).sum()),
        )

    def place(self, index: Tensor) -> Tensor:
        """Return float32 (voxel, 3): where the model sees lattice cells ``index``, int64 (voxel, 3).

        Bit for bit what the public code computes in float32: products and quotients of two such numbers are exact
        enough in float64 to be rounded once.
        """
        away = index.double() - self.centre
        if self.inverted:
            return (away * _single(1 / self.scale)).float()
        return (away / _single(self.scale)).float()

    def grid(self, index: Tensor) -> Tensor:
        """Return int64 (voxel, 3): the model's own cells, counted from its middle.

        Raises:
            ConfigError: the model counts in no cells.
        """
        if not self.cell:
            raise ConfigError("input contract of points: cell = 0, so that this model has no grid.")
        return torch.floor((index.double() - self.centre) / self.scale / self.cell).long()

    def transform(self, energy: Tensor) -> Tensor:
        """Return float32 (voxel,): what the model is given for energies in MeV."""
        low, high = math.log10(self.e0), math.log10(self.e_max + self.e0)
        return (2 * (torch.log10(energy.double() + self.e0) - low) / (high - low) - 1).float()

    def changed(self, other: PointContract) -> str:
        """Return in words what differs from another contract; empty where nothing does."""
        return ", ".join(
            f"{field.name} = {getattr(self, field.name)} (not {getattr(other, field.name)})"
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        )


def _single(value: float) -> float:
    """Return the nearest float32."""
    return float(torch.tensor(value, dtype=torch.float32))


@dataclass(frozen=True)
class Points:
    """The voxels of some events as a public model takes them; those of event i are ``offsets[i]:offsets[i + 1]``.

    Attributes:
        offsets: int64 (event + 1,).
        index: int64 (voxel, 3), lattice cells.
        place: float32 (voxel, 3).
        energy: float32 (voxel,), transformed.
    """

    offsets: Tensor
    index: Tensor
    place: Tensor
    energy: Tensor


def points_of(batch: Patches, contract: PointContract) -> Points:
    """Return the voxels of a batch in the units of the model.

    Args:
        batch: Events whose patches are single voxels.
        contract: The model's contract, with which they were grouped.

    Raises:
        DataError: a patch holds more than one voxel, a voxel is off the lattice, or one is at or below the threshold.
    """
    tokens = int(batch.offsets[-1])
    if len(batch.local) != tokens:
        raise DataError(
            f"a model of points was given {tokens} patches of {len(batch.local)} voxels. Group them with its contract."
        )
    index = torch.round(batch.position.double() / contract.pitch - 0.5).long()
    size = torch.tensor(contract.shape, device=index.device)
    if bool(((index < 0) | (index >= size)).any()):
        raise DataError(f"a model of points was given voxels outside its lattice of {contract.shape} cells.")
    energy = torch.exp(batch.value.double()) * contract.energy_reference
    low = int((energy <= contract.above * (1 - _ROUNDING)).sum())
    if low:
        raise DataError(
            f"a model of points was given {low} of {tokens} voxels at or below its threshold of {contract.above} MeV. "
            "Take them away first (PointContract.admit), so that they count as lost."
        )
    return Points(batch.offsets, index, contract.place(index), contract.transform(energy))
