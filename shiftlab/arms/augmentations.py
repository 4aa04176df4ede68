"""What pre-training varies in its events, and which detector effects that covers: declared, pure and keyed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from shiftlab.arms.contract import InputContract
from shiftlab.detector.stream import Stream
from shiftlab.errors import ConfigError
from shiftlab.events.image import Image

__all__ = [
    "Augmentation",
    "Augmented",
    "EnergyJitter",
    "EnergyScale",
    "Grid",
    "ImageAugmentation",
    "Mirror",
    "Turn",
    "VoxelJitter",
    "augment",
    "declared",
]


class Augmentation(ABC):
    """One thing that is varied from one showing of an event to the next.

    Attributes:
        name: Name in records.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def words(self) -> str:
        """What is varied, and over which range."""

    @property
    def covers(self) -> Mapping[str, str]:
        """By name of a nuisance or an effect, ``inside`` or ``partly``, the range, and in which sense.

        The range is of the parameter's value over its nominal one, say ``inside 0.90..1.10: one factor``; ``inside``
        stands only where events of a shifted detector could have come out of this augmentation. What is not
        named lies outside.
        """
        return {}


@dataclass(frozen=True)
class Augmented:
    """An image with where its voxels came from.

    Attributes:
        image: Voxels with ascending cells in each event.
        source: int64 (voxel,), the row of the voxel in the image before; of several that met in one cell the
            one with most energy, so that labels can follow.
    """

    image: Image
    source: Tensor


class ImageAugmentation(Augmentation):
    """An augmentation of images: a pure function of image and key, the same for an event in any batch."""

    @abstractmethod
    def apply(self, image: Image, contract: InputContract, key: int) -> Augmented:
        """Return the varied image.

        Args:
            image: Sparse images.
            contract: Their lattice.
            key: Another key gives another variation.

        Raises:
            ConfigError: the lattice has not the symmetry that this needs.
        """

    def __call__(self, image: Image, contract: InputContract, key: int) -> Image:
        """Return the varied image without where its voxels came from."""
        return self.apply(image, contract, key).image

    def _event(self, image: Image, key: int, purpose: str) -> Tensor:
        """Return float64 (voxel,): a uniform draw of each voxel's event."""
        return Stream(key, self.name).uniform(purpose, image.events.key)[image.event_index]

    def _voxel(self, image: Image) -> tuple[Tensor, Tensor]:
        """Return the ids of each voxel: event key and cell."""
        return image.events.key[image.event_index], image.cell


@dataclass(frozen=True)
class Turn(ImageAugmentation):
    """Quarter turns about the drift axis.

    Pixels of a square anode are alike, and so are the planes y and z but for what happens in the argon: the beam
    runs along z and gravity along y, which a body need not know.

    Attributes:
        mirrors: Whether y and z are mirrored too; a view of self-distillation is.
    """

    name: ClassVar[str] = "turn"
    mirrors: bool = False

    @property
    def words(self) -> str:
        """Return the group that is drawn from."""
        return "quarter turns about the drift axis" + (", with and without a mirror" if self.mirrors else "")

    def apply(self, image: Image, contract: InputContract, key: int) -> Augmented:
        """Return each event turned by 0, 1, 2 or 3 quarters about the middle; its energies are kept."""
        _, ny, nz = contract.shape
        if contract.views > 1 or ny != nz:
            raise ConfigError(f"only images of a square pixel anode can be turned; this one has {ny} x {nz} cells.")
        index = image.index
        quarter = (self._event(image, key, "quarter") * 4).to(torch.int64)
        if self.mirrors:
            flip = self._event(image, key, "mirror") < 0.5
            index[:, 1] = torch.where(flip, ny - 1 - index[:, 1], index[:, 1])
        x, y, z = index.unbind(dim=1)
        last = ny - 1
        new_y = torch.stack([y, z, last - y, last - z])
        new_z = torch.stack([z, last - y, last - z, y])
        pick = quarter[None]
        turned = torch.stack([x, new_y.gather(0, pick)[0], new_z.gather(0, pick)[0]], dim=1)
        return _placed(image, turned)


@dataclass(frozen=True)
class Mirror(ImageAugmentation):
    """Mirror images about the middle of the detector, each axis with probability 1/2.

    Attributes:
        axes: Among ``y`` and ``z``. Not x: drifting charge is lost and spread on its way to the anode.
    """

    name: ClassVar[str] = "mirror"
    axes: tuple[str, ...] = ("y", "z")

    def __post_init__(self) -> None:
        """Refuse what is no symmetry of the detector."""
        if not self.axes or not set(self.axes) <= {"y", "z"}:
            raise ConfigError(
                f"mirror: axes {list(self.axes)}; allowed are y and z. Along x charge drifts, is lost and spreads, "
                "so that a mirrored event is one that no detector records."
            )

    @property
    def words(self) -> str:
        """Return the axes."""
        return f"{' and '.join(self.axes)} about the middle of the detector"

    def apply(self, image: Image, contract: InputContract, key: int) -> Augmented:
        """Return each event mirrored or not; its energies are kept."""
        if contract.views > 1:
            raise ConfigError("mirror: the second index of a wire image is a plane, which has no mirror image.")
        index = image.index
        for axis in self.axes:
            column = "xyz".index(axis)
            flip = self._event(image, key, axis) < 0.5
            mirrored = contract.shape[column] - 1 - index[:, column]
            index[:, column] = torch.where(flip, mirrored, index[:, column])
        return _placed(image, index)


@dataclass(frozen=True)
class VoxelJitter(ImageAugmentation):
    """Move single voxels to a neighbouring cell, keeping their energy; what meets in a cell is summed.

    Attributes:
        probability: Share of the voxels that move by one cell along a random axis, those at a wall excepted.
    """

    name: ClassVar[str] = "voxel_jitter"
    probability: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what is no probability."""
        if not 0 <= self.probability <= 1:
            raise ConfigError(f"voxel_jitter: probability {self.probability} is outside [0, 1].")

    @property
    def words(self) -> str:
        """Return how many voxels move, and how far."""
        return f"{self.probability:.0%} of the voxels moved by one cell, each on its own"

    @property
    def covers(self) -> Mapping[str, str]:
        """Return what spreads charge over neighbouring cells."""
        why = "partly: voxels as a whole move to neighbouring cells, but not more so after a longer drift"
        return dict.fromkeys(("diffusion_longitudinal", "diffusion_transverse", "crosstalk"), why)

    def apply(self, image: Image, contract: InputContract, key: int) -> Augmented:
        """Return the image with some voxels moved; the summed energy of each event is kept."""
        stream, ids = Stream(key, self.name), self._voxel(image)
        moves = stream.uniform("moves", *ids) < self.probability
        way = (stream.uniform("way", *ids) * 6).to(torch.int64)
        step = torch.zeros(len(way), 3, dtype=torch.int64, device=way.device)
        step[torch.arange(len(way), device=way.device), way // 2] = way % 2 * 2 - 1
        index = image.index
        moved = index + step * moves[:, None]
        last = torch.tensor(contract.shape, device=way.device) - 1
        inside = ((moved >= 0) & (moved <= last)).all(dim=1)
        return _placed(image, torch.where(inside[:, None], moved, index))


@dataclass(frozen=True)
class EnergyJitter(ImageAugmentation):
    """Multiply each voxel's energy by a factor of its own.

    Numbers of Panda (arXiv:2512.01324): sigma 5 %, in 80 % of the events; on the raw energy and clipped at twice
    that, as in its small twin nanopanda, since jitter after the logarithm is no constant fraction.

    Attributes:
        sigma: Standard deviation of the factor.
        clip: Largest distance of the factor from 1.
        probability: Share of the events that are varied at all.
    """

    name: ClassVar[str] = "energy_jitter"
    sigma: float = 0.05
    clip: float = 0.1
    probability: float = 0.8

    def __post_init__(self) -> None:
        """Refuse factors that are not positive."""
        if not (self.sigma >= 0 and 0 <= self.clip < 1 and 0 <= self.probability <= 1):
            raise ConfigError(
                f"energy_jitter: sigma {self.sigma} must not be negative, clip {self.clip} in [0, 1) and "
                f"probability {self.probability} in [0, 1]."
            )

    @property
    def words(self) -> str:
        """Return the width of the factor."""
        return (
            f"energy of each voxel times a factor of its own, sigma {self.sigma:.0%}, at most {self.clip:.0%} off, in "
            f"{self.probability:.0%} of the events"
        )

    @property
    def covers(self) -> Mapping[str, str]:
        """Return what makes the energy of voxels fluctuate."""
        size = f"voxels vary by {self.sigma:.0%}"
        return {
            "gain_spread": f"partly: {size}, but each on its own and not whole read-out channels",
            "gain_drift": f"partly: {size}, but each on its own and not a whole period",
            "noise": f"partly: {size} of their energy, but no voxel comes or goes",
            "noise_spectrum": f"partly: {size} of their energy, but no voxel comes or goes",
            "quanta_fluctuation": f"partly: {size}, but each on its own and not whole steps of a particle",
            "quantisation": f"partly: {size}, but not by steps",
            "pedestal_spread": f"partly: {size}, by a factor and not by an offset",
        }

    def factor(self, normal: Tensor) -> Tensor:
        """Return the factors of standard normal numbers, of their shape."""
        return 1.0 + (self.sigma * normal).clamp(-self.clip, self.clip)

    def apply(self, image: Image, contract: InputContract, key: int) -> Augmented:
        """Return the image with varied energies; energy is kept on average only."""
        factor = self.factor(Stream(key, self.name).normal("factor", *self._voxel(image)))
        return _scaled(image, torch.where(self._event(image, key, "varied") < self.probability, factor, 1.0))


@dataclass(frozen=True)
class EnergyScale(ImageAugmentation):
    """Multiply all energies of an event by one factor. Neither Panda nor PoLAr-MAE does.

    Attributes:
        reach: The factor is even from 1 - reach to 1 + reach.
    """

    name: ClassVar[str] = "energy_scale"
    reach: float = 0.1

    def __post_init__(self) -> None:
        """Refuse factors that are not positive."""
        if not 0 <= self.reach < 1:
            raise ConfigError(f"energy_scale: reach {self.reach} is outside [0, 1).")

    @property
    def words(self) -> str:
        """Return the range."""
        return f"all energies of an event times one factor, {self._range}"

    @property
    def _range(self) -> str:
        return f"{1 - self.reach:.3g}..{1 + self.reach:.3g}"

    @property
    def covers(self) -> Mapping[str, str]:
        """Return what scales all charge."""
        before = f"partly {self._range}: all energies are scaled, but no voxel crosses the threshold"
        mean = "partly: the scale of all energies varies, but not with"
        return {
            "residual_gain": f"inside {self._range}: all energies are scaled, as this does",
            "gain_scale": before,
            "w_value": before,
            "recombination": f"{mean} dE/dx",
            "residual_field": f"{mean} dE/dx",
            "lifetime": f"{mean} the drift distance",
            "residual_lifetime": f"{mean} the drift distance",
            "charge_yield": f"{mean} the place",
            "residual_yz": f"{mean} the place",
            "module_gain": f"{mean} the module",
        }

    def apply(self, image: Image, contract: InputContract, key: int) -> Augmented:
        """Return the image with all energies of an event times its factor."""
        return _scaled(image, (1 + self.reach * (2 * self._event(image, key, "factor") - 1)).float())


@dataclass(frozen=True)
class Grid(Augmentation):
    """The patch grid moved by whole cells (``group(shift=...)``), so that a body does not learn where it lies."""

    name: ClassVar[str] = "grid"

    @property
    def words(self) -> str:
        """Return the range."""
        return "patch grid moved by 0 to one patch less a cell along each axis"

    @property
    def covers(self) -> Mapping[str, str]:
        """Return what moves all charge by little."""
        why = "partly: images lie anywhere on the grid of patches, but keep their place in the detector"
        names = ("misalignment_x", "misalignment_y", "misalignment_z", "time_offset")
        return dict.fromkeys(names, why)


def augment(image: Image, contract: InputContract, augmentations: Sequence[ImageAugmentation], key: int) -> Augmented:
    """Return what the augmentations make of an image, one after the other.

    Raises:
        ConfigError: one of them cannot act on such images.
    """
    source = torch.arange(len(image.cell), device=image.cell.device)
    for augmentation in augmentations:
        found = augmentation.apply(image, contract, key)
        image, source = found.image, source[found.source]
    return Augmented(image, source)


def _placed(image: Image, index: Tensor) -> Augmented:
    """Return the image with its voxels at other cells (voxel, 3); energies that meet are summed."""
    _, ny, nz = image.shape
    cells = image.shape[0] * ny * nz
    key = image.event_index * cells + (index[:, 0] * ny + index[:, 1]) * nz + index[:, 2]
    bright = torch.argsort(image.energy, descending=True, stable=True)
    order = bright[torch.argsort(key[bright], stable=True)]
    unique, owner, counts = torch.unique_consecutive(key[order], return_inverse=True, return_counts=True)
    source = order[counts.cumsum(0) - counts]
    offsets = torch.zeros_like(image.offsets)
    offsets[1:] = torch.bincount(unique // cells, minlength=len(image)).cumsum(0)
    sums: dict[str, Any] = {}
    for name in ("charge", "energy"):
        total = torch.zeros(len(unique), dtype=torch.float64, device=key.device)
        sums[name] = total.index_add_(0, owner, getattr(image, name)[order].double()).float()
    return Augmented(replace(image, offsets=offsets, cell=unique % cells, **sums), source)


def _scaled(image: Image, factor: Tensor) -> Augmented:
    scaled = replace(image, charge=image.charge * factor, energy=image.energy * factor)
    return Augmented(scaled, torch.arange(len(factor), device=factor.device))


def declared(*augmentations: Augmentation) -> dict[str, str]:
    """Return what a record says of them: words by their names, and what they cover by nuisance or effect."""
    found = {one.name: one.words for one in augmentations}
    for one in augmentations:
        found |= one.covers
    return found
