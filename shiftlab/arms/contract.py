"""Input contract: what the numbers are that an arm was trained on; saved with it and checked when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self

from shiftlab.errors import ConfigError
from shiftlab.events.image import Image

__all__ = ["InputContract"]

_OF_WIRES: Final = frozenset({"edges", "views"})


@dataclass(frozen=True)
class InputContract:
    """Units, lattice and transform constants of the images that an arm understands.

    Attributes:
        shape: Lattice cells along x (drift), y, z.
        pitch: Edge of a cell, cm.
        threshold: Nominal threshold of the read-out, electrons.
        energy_unit: Unit of the calibrated energy of a voxel.
        energy_reference: The transform of a voxel's energy is ln(energy / reference), MeV.
        energy_floor: Energies below this are taken as this before the logarithm, MeV.
        energy_edges: Edges of the histogram of voxel energies, MeV; the outer bins are open.
        patch: Edge of a patch, cells.
        grain: Edge of the cubes that are told apart inside a patch, cells; it divides ``patch``.
        edges: Extent of a cell along each index, cm, where cells are no cubes of ``pitch``; 0 where an index is no
            place.
        views: How many wire planes, each with the whole event, the second index counts; 1 without wires.

    Raises:
        ConfigError: ``grain`` does not divide ``patch``.
    """

    shape: tuple[int, int, int] = (768, 768, 768)
    pitch: float = 0.3
    threshold: float = 3000.0
    energy_unit: str = "MeV"
    energy_reference: float = 0.5
    energy_floor: float = 0.01
    energy_edges: tuple[float, ...] = (0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5)
    patch: int = 16
    grain: int = 2
    edges: tuple[float, float, float] | None = None
    views: int = 1

    def __post_init__(self) -> None:
        """Refuse patches that cannot be divided."""
        if self.patch < 1 or self.grain < 1 or self.patch % self.grain:
            raise ConfigError(f"input contract: grain {self.grain} does not divide patch {self.patch}.")

    @property
    def locals(self) -> int:
        """Number of places that are told apart in a patch."""
        return (self.patch // self.grain) ** 3

    def plain(self) -> dict[str, Any]:
        """Return the contract as a JSON value; what only wires have is left out without them."""
        values = {name: value for name, value in asdict(self).items() if self.views > 1 or name not in _OF_WIRES}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> Self:
        """Return the contract that ``plain`` described.

        Raises:
            ConfigError: a key is missing or unknown.
        """
        names = {field.name for field in fields(cls)}
        if set(value) not in (names, names - _OF_WIRES):
            odd = sorted(names.symmetric_difference(value))
            raise ConfigError(f"input contract: keys {odd} are missing or unknown; it has exactly {sorted(names)}.")
        plain: dict[str, Any] = {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}
        return cls(**plain)

    def admit(self, image: Image) -> Image:
        """Return the voxels that the model may see: all of them. What is kept from it counts as lost."""
        return image

    def require(self, other: InputContract, where: str) -> None:
        """Check that ``other``, the images at hand, is what the arm was trained on.

        Raises:
            ConfigError: a value differs; the message names it, both values and ``where``.
        """
        for field in fields(self):
            mine, given = getattr(self, field.name), getattr(other, field.name)
            if mine != given:
                raise ConfigError(
                    f"{where}: trained with {field.name} = {mine}, but the images have {field.name} = {given}. "
                    "Use that detector, or train the arms afresh."
                )

    def require_shape(self, shape: tuple[int, int, int], where: str) -> None:
        """Check the lattice of one image.

        Raises:
            ConfigError: the lattice is another one.
        """
        if tuple(shape) != self.shape:
            raise ConfigError(f"{where}: trained on a lattice of {self.shape} cells, but the image has {tuple(shape)}.")
