"""What an effect works on: ionisation charge of energy deposits, or charge in the cells of the read-out lattice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from shiftlab.detector.geometry import Geometry
from shiftlab.detector.medium import Medium, Value
from shiftlab.errors import ConfigError
from shiftlab.events.deposits import EventTable

__all__ = ["Cells", "Charge", "Electronics", "Value", "true_rows"]


@dataclass(frozen=True)
class Electronics:
    """How the wires' response departs from the nominal one; set at the stage ``shape``, before signals are formed.

    Attributes:
        stretch: of the electronics' impulse response, h(t) to h(t / stretch) / stretch.
        mix: 0 for the nominal field response, 1 for the alternative one.
    """

    stretch: Value = 1.0
    mix: Value = 0.0


@dataclass(frozen=True)
class Charge:
    """Charge of each deposit, from ionisation to the anode.

    Attributes:
        geometry: the detector's volume and lattice.
        table: the events.
        event: int64 (deposit,), the event of each deposit, ascending.
        position: float32 (deposit, 3), cm; after the stage ``displace``, where the read-out takes it to be.
        energy: float64 (deposit,), MeV.
        dedx: float64 (deposit,), MeV/cm, of the step; 0 for a point deposit.
        electrons: float64 (deposit,), charge that is left.
        medium: the argon of each event.
        cosine: float64 (deposit,), |cos| of the angle between step and drift field; None where the file gives no
            direction.
        local_field: float64 (deposit,), the local field over ``medium.efield``; None where it is 1 everywhere.
    """

    geometry: Geometry
    table: EventTable
    event: Tensor
    position: Tensor
    energy: Tensor
    dedx: Tensor
    electrons: Tensor
    medium: Medium
    cosine: Tensor | None = None
    local_field: Tensor | None = None

    @property
    def drift_time(self) -> Tensor:
        """float64 (deposit,): drift time to the anode in us."""
        return self.position[:, 0].to(torch.float64) / self.per_row(self.medium.drift_velocity)

    @property
    def efield(self) -> Value:
        """Field at each deposit, kV/cm: float64 (deposit,), or one number where it is the same everywhere."""
        field = self.per_row(self.medium.efield)
        return field if self.local_field is None else field * self.local_field

    @property
    def arrival(self) -> Tensor:
        """float64 (deposit,): drift coordinate in cm that the read-out makes of the time at which charge arrives.

        It assumes the geometry's velocity; at the nominal velocity and without offset it is x, bit for bit.
        """
        velocity = self.geometry.drift_velocity
        # Both tensors: a number over a tensor is a product with the reciprocal, which is not 1 at equal velocity.
        true = torch.as_tensor(self.per_row(self.medium.drift_velocity), dtype=torch.float64)
        ratio = true.new_tensor(velocity) / true
        offset = velocity * torch.as_tensor(self.per_row(self.medium.offset), dtype=torch.float64)
        device = self.position.device
        return self.position[:, 0].to(torch.float64) * ratio.to(device) + offset.to(device)

    def per_row(self, value: Value) -> Value:
        """Return a value per deposit where ``value`` is per event, else the one number."""
        return _per_row(value, self.event)

    def with_electrons(self, electrons: Tensor) -> Charge:
        """Return the same deposits with other charge."""
        return replace(self, electrons=electrons)


@dataclass(frozen=True)
class Cells:
    """Charge of lattice cells, one row each, ascending in (event, cell); a cell without a row holds none.

    Attributes:
        geometry: the detector's volume and lattice.
        table: the events; one without rows keeps its place.
        event: int64 (row,), the event of each row.
        key: int64 (row,), that event's key, for draws.
        cell: int64 (row,), lattice index.
        electrons: float64 (row,), charge.
        floor: float64 (event,), electrons below which a cell can no longer end above threshold;
            an effect may leave such cells out; minus infinity when there is no threshold.
        electronics: of wires, where it departs from the nominal one.
        mev: float64 (layer,) or (plane, layer), MeV per electron by the calibration of the universe; only where an
            effect needs it.
    """

    geometry: Geometry
    table: EventTable
    event: Tensor
    key: Tensor
    cell: Tensor
    electrons: Tensor
    floor: Tensor
    electronics: Electronics | None = None
    mev: Tensor | None = None

    @property
    def energy(self) -> Tensor:
        """float64 (row,): energy in MeV by the calibration ``mev``."""
        if self.mev is None:
            raise ConfigError("these cells have no calibration: an effect that uses energies must need 'mev'.")
        if self.mev.dim() == 1:
            return self.electrons * self.mev[self.layer]
        return self.electrons * self.mev[self.channel // self.geometry.shape[2], self.layer]

    @property
    def address(self) -> Tensor:
        """int64 (row,): ``event * cells + cell``, strictly ascending."""
        return self.event * self.geometry.cells + self.cell

    @property
    def channel(self) -> Tensor:
        """int64 (row,): readout channel."""
        return self.geometry.channel(self.cell)

    @property
    def layer(self) -> Tensor:
        """int64 (row,): index of the cell along the drift."""
        return self.cell // self.geometry.channels

    def per_row(self, value: Value) -> Value:
        """Return a value per row where ``value`` is per event, else the one number."""
        return _per_row(value, self.event)

    def with_electrons(self, electrons: Tensor) -> Cells:
        """Return the same cells with other charge."""
        return replace(self, electrons=electrons)

    def rows(self, index: Tensor) -> Cells:
        """Return the rows ``index`` (row,), int64, in order."""
        return replace(
            self,
            event=self.event.index_select(0, index),
            key=self.key.index_select(0, index),
            cell=self.cell.index_select(0, index),
            electrons=self.electrons.index_select(0, index),
        )

    def keep(self, mask: Tensor) -> Cells:
        """Return the rows where ``mask`` (row,) is True; every event keeps its place."""
        return self.rows(true_rows(mask))

    def insert(self, event: Tensor, cell: Tensor, electrons: Tensor) -> Cells:
        """Return the cells with more rows, which are ascending in (event, cell) and hold none of these cells."""
        address = event * self.geometry.cells + cell
        new = torch.arange(len(event), device=event.device)
        place = torch.searchsorted(self.address, address) + new
        source = torch.empty(len(self.cell) + len(cell), dtype=torch.int64, device=event.device)
        old = torch.ones_like(source, dtype=torch.bool)
        old[place] = False
        source[old] = torch.arange(len(self.cell), device=event.device)
        source[place] = new + len(self.cell)
        return replace(
            self,
            event=torch.cat([self.event, event]).index_select(0, source),
            key=torch.cat([self.key, self.table.key[event]]).index_select(0, source),
            cell=torch.cat([self.cell, cell]).index_select(0, source),
            electrons=torch.cat([self.electrons, electrons]).index_select(0, source),
        )


def true_rows(mask: Tensor) -> Tensor:
    """Return int64 (row,): where ``mask`` (row,) is True, ascending; NumPy finds them ten times as fast as torch."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return torch.nonzero(mask).squeeze(1)


def _per_row(value: Value, event: Tensor) -> Value:
    if isinstance(value, Tensor) and value.dim() == 1:
        return value[event]
    return value
