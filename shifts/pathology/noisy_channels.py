"""Noisy readout channels: a few that fluctuate much more than the others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Final

import torch
from torch import Tensor

from shiftlab.detector import Cells, ConfigError, Effect, Parameter, Stream, Value, broken

__all__ = ["NoisyChannels"]

_MOST_ROWS: Final = 50_000_000


class NoisyChannels(Effect[Cells]):
    """More input-referred noise in a frozen fraction of the readout channels, in all their cells.

    Every cell of a noisy channel gets a row, occupied or not, and so noise of its own; the intrinsic noise, which acts
    next, adds to it and leaves out what cannot pass the threshold. Memory and time grow with the number of noisy
    channels times layers times events.
    """

    name: ClassVar[str] = "noisy_channels"
    stage: ClassVar[str] = "add_noise"
    order: ClassVar[int] = -1
    catalogue: ClassVar[tuple[str, ...]] = ("P4",)
    needs: ClassVar[tuple[str, ...]] = ("event", "key", "cell", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("event", "key", "cell", "electrons")
    parameters = (
        Parameter(
            "fraction",
            1e-4,
            5e-5,
            "1",
            (0.0, 0.02),
            identity=0.0,
            source="a judgement: tails of noise maps",
            confidence="C",
            doc="Fraction of readout channels that are noisy; the nominal map is known.",
        ),
        Parameter(
            "enc",
            624.0,
            0.0,
            "e",
            (0.0, 20_000.0),
            source="a judgement: with the intrinsic 500 e 1.6 times the noise of a good channel, 800 e; above 3000 e "
            "it triggers 50 times a second, and a channel that does so more often would be masked",
            confidence="C",
            doc="Noise that a noisy channel has on top of the intrinsic one, which adds in quadrature.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Give every cell of a noisy channel its noise."""
        fraction = values["fraction"]
        if not isinstance(fraction, Tensor) and fraction == 0:
            return events
        event, cell = self._noisy_cells(events, fraction, stream)
        address = event * events.geometry.cells + cell
        known = events.address
        place = torch.searchsorted(known, address)
        empty = torch.ones_like(address, dtype=torch.bool)
        if len(known):
            empty = known[place.clamp(max=len(known) - 1)] != address
        nothing = torch.zeros(int(empty.sum()), dtype=torch.float64, device=cell.device)
        after = events.insert(event[empty], cell[empty], nothing)
        z = stream.normal("cell", events.table.key[event], cell).to(torch.float64)
        enc = torch.as_tensor(values["enc"], dtype=torch.float64, device=cell.device).expand(len(events.table))
        where = torch.searchsorted(after.address, address)
        return after.with_electrons(after.electrons.index_add(0, where, enc[event] * z))

    def check(self, values: Mapping[str, float], floor: float) -> None:
        """Refuse noise with which most cells of a noisy channel would pass the threshold."""
        if values["fraction"] > 0 and -math.inf < floor < values["enc"]:
            raise ConfigError(
                f"noisy_channels: enc = {values['enc']:g} e is more than the {floor:.0f} e that pass the threshold; "
                "such channels are dead, not noisy."
            )

    def _noisy_cells(self, events: Cells, fraction: Value, stream: Stream) -> tuple[Tensor, Tensor]:
        """Return event and lattice index of all cells of noisy channels, ascending."""
        channels = torch.arange(events.geometry.channels, device=events.cell.device)
        known = self.parameter("fraction").nominal
        each = torch.as_tensor(fraction, dtype=torch.float64, device=events.cell.device).expand(len(events.table))
        layers = events.geometry.shape[0]
        found: list[tuple[Tensor, Tensor]] = []
        lists: dict[float, Tensor] = {}
        rows = 0
        for index, value in enumerate(each.tolist()):
            if value not in lists:
                noisy = channels[broken(channels, value, known, stream)]
                layer = torch.arange(layers, device=events.cell.device)[:, None]
                lists[value] = (layer * events.geometry.channels + noisy).flatten()
            rows += len(lists[value])
            if rows > _MOST_ROWS:
                raise ConfigError(
                    f"noisy_channels: fraction = {value:g} gives more than {_MOST_ROWS} noisy cells in "
                    f"{len(events.table)} events; lower it or take fewer events at a time."
                )
            found.append((torch.full_like(lists[value], index), lists[value]))
        none = torch.zeros(0, dtype=torch.int64, device=events.cell.device)
        event, cell = zip(*found, strict=True) if found else ((none,), (none,))
        return torch.cat(event), torch.cat(cell)
