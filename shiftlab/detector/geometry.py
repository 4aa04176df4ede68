"""The volume, drift and lattice of a virtual pixel detector."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from shiftlab.detector.medium import Medium, Value
from shiftlab.detector.sharing import axis_shares, diffusion_width, reach, wide_shares
from shiftlab.errors import ConfigError
from shiftlab.units import ARGON_DENSITY

if TYPE_CHECKING:
    from shiftlab.detector.state import Cells

__all__ = ["Geometry"]


@dataclass(frozen=True)
class Geometry:
    """A box from the origin with its anode at x = 0: x is the drift distance, the beam runs along z.

    Attributes:
        size: Edge lengths along x, y, z in cm.
        pitch: Edge of a cubic lattice cell in cm; a readout channel is one (y, z) pixel.
        drift_velocity: cm/us (SBND's 0.1563 at 0.5 kV/cm and 88 K).
        efield: Drift field in kV/cm.
        density: Liquid-argon density in g/cm3.
        chip: Pixels along each side of the square of one chip (LArPix: 8 x 8 = 64 channels).
        temperature: K; only its changes matter.

    Raises:
        ConfigError: a length, speed, field or density is not positive, or the size is not a whole number of cells.
    """

    readout: ClassVar[str] = "pixels"

    size: tuple[float, float, float] = (230.4, 230.4, 230.4)
    pitch: float = 0.3
    drift_velocity: float = 0.1563
    efield: float = 0.5
    density: float = ARGON_DENSITY
    chip: int = 8
    temperature: float = 87.0

    def __post_init__(self) -> None:
        """Refuse a detector that cannot be built."""
        object.__setattr__(self, "size", tuple(float(edge) for edge in self.size))
        if len(self.size) != 3:
            raise ConfigError(f"geometry.size has {len(self.size)} numbers; it needs 3 (x, y, z in cm).")
        for name in ("pitch", "drift_velocity", "efield", "density", "chip", "temperature"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"geometry.{name} = {getattr(self, name)} must be positive.")
        for axis, edge in zip("xyz", self.size, strict=True):
            cells = edge / self.pitch
            if round(cells) < 1 or abs(cells - round(cells)) > 1e-6 * cells:
                raise ConfigError(f"geometry.size: {axis} = {edge} cm is not a whole number of {self.pitch} cm cells.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of cells along x, y, z."""
        nx, ny, nz = (round(edge / self.pitch) for edge in self.size)
        return nx, ny, nz

    @property
    def edges(self) -> tuple[float, float, float]:
        """Extent of a lattice cell along each of its indices, cm; 0 where an index is no place."""
        return self.pitch, self.pitch, self.pitch

    @property
    def views(self) -> int:
        """How many times the whole charge is read out: an image holds the energy of an event as often."""
        return 1

    @property
    def cells(self) -> int:
        """Number of lattice cells."""
        nx, ny, nz = self.shape
        return nx * ny * nz

    @property
    def channels(self) -> int:
        """Number of readout channels (pixels of the anode)."""
        return self.shape[1] * self.shape[2]

    def inside(self, position: Tensor) -> Tensor:
        """Return a bool mask (point,): which points (point, 3), cm, lie in the volume (upper faces excluded)."""
        upper = torch.tensor(self.size, dtype=torch.float64, device=position.device)
        point = position.to(torch.float64)
        index = torch.floor(point / self.pitch)
        limit = torch.tensor(self.shape, dtype=torch.float64, device=position.device)
        return ((point >= 0) & (point < upper) & (index < limit)).all(dim=1)

    def index(self, position: Tensor) -> Tensor:
        """Return int64 (point, 3): the cell indices along x, y, z of points (point, 3) in cm."""
        return torch.floor(position.to(torch.float64) / self.pitch).to(torch.int64)

    def cell(self, position: Tensor) -> Tensor:
        """Return int64 (point,): the lattice index ``(ix * ny + iy) * nz + iz`` of points inside the volume."""
        _, ny, nz = self.shape
        index = self.index(position)
        return (index[:, 0] * ny + index[:, 1]) * nz + index[:, 2]

    def channel(self, cell: Tensor) -> Tensor:
        """Return int64 (cell,): the readout channel ``iy * nz + iz`` of lattice cells."""
        return cell % self.channels

    def chip_of(self, channel: Tensor) -> Tensor:
        """Return int64 (channel,): the chip that reads each readout channel."""
        _, _, nz = self.shape
        along = -(-nz // self.chip)
        return (channel // nz // self.chip) * along + channel % nz // self.chip

    def near_wall(self, index: Tensor, margin: float) -> Tensor:
        """Return bool (cell,): which cells, of indices (cell, 3), have their centre within ``margin`` cm of a wall."""
        last = torch.tensor(self.shape, device=index.device) - 1
        depth = torch.minimum(index, last - index).amin(dim=1)
        return depth < margin / self.pitch - 0.5

    def drift_time(self, position: Tensor) -> Tensor:
        """Return float64 (point,): the time in us that charge at ``position`` (point, 3), cm, drifts."""
        return position[:, 0].to(torch.float64) / self.drift_velocity

    def layer_times(self, device: torch.device | str = "cpu") -> Tensor:
        """Return float64 (nx,): the drift time in us from the centre of each layer of cells."""
        layer = torch.arange(self.shape[0], dtype=torch.float64, device=device)
        return (layer + 0.5) * self.pitch / self.drift_velocity

    def medium(self, diffusion: tuple[float, float]) -> Medium:
        """Return the nominal argon; ``diffusion`` is the longitudinal and transverse constant, cm2/s."""
        return Medium(self.efield, self.density, self.temperature, self.drift_velocity, *diffusion)

    def shares(self, position: Tensor, drift_time: Tensor, diffusion: tuple[Value, Value]) -> tuple[Tensor, Tensor]:
        """Return which cells collect each deposit's charge, and how much of it.

        Args:
            position: float64 (deposit, 3), cm, in the lattice's coordinates (x from the arrival time).
            drift_time: float64 (deposit,), us; diffusion widens the cloud to sqrt(2 D t).
            diffusion: longitudinal and transverse constant in cm2/s, numbers or float64 (deposit,).

        Returns:
            cell: int64 (deposit, group, n), lattice index; meaningless where the share is 0. The shares of a group
                share out one deposit's whole charge: pixels have one group, wire planes one a plane.
            share: float64 (deposit, group, n), 0 outside the lattice; each group adds up to 1, or to less at the faces.
        """
        # The deposit is the last index of all tensors here, so that each operation runs along memory.
        index = self.index(position).T
        fraction = position.T / self.pitch - index
        along, across = (torch.as_tensor(one, dtype=torch.float64, device=position.device) for one in diffusion)
        widths = [diffusion_width(constant, drift_time) / self.pitch for constant in (along, across)]
        reaches = [reach(width) for width in widths]
        axes, steps = [], []
        for axis, edge in enumerate(self.shape):
            far, width = reaches[min(axis, 1)], widths[min(axis, 1)]
            step = torch.arange(-far, far + 1, device=position.device)
            neighbour = index[axis] + step[:, None]
            cloud = (axis_shares if far == 1 else wide_shares)(fraction[axis], width).T
            axes.append(torch.where((neighbour >= 0) & (neighbour < edge), cloud, 0.0))
            steps.append(step)
        x, y, z = axes[0][:, None, None], axes[1][:, None], axes[2]
        _, ny, nz = self.shape
        centre = (index[0] * ny + index[1]) * nz + index[2]
        offset = ((steps[0][:, None] * ny + steps[1])[:, :, None] * nz + steps[2]).reshape(-1, 1)
        return (offset + centre).T[:, None], (x * y * z).reshape(len(offset), -1).T[:, None]

    def convolve(self, cells: Cells) -> Cells:
        """Return the signal of the collected charge at the input of the electronics: pixels see the charge itself."""
        return cells

    def deconvolve(self, cells: Cells) -> Cells:
        """Return the charge that signal processing finds before the threshold: for pixels, what was read."""
        return cells

    def least(self, level: float) -> float:
        """Return the smallest charge before signal processing that can reach ``level`` electrons after it."""
        return level

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a configuration or a provenance record."""
        return {**asdict(self), "size": list(self.size)}
