"""A box of liquid argon read out by three planes of wires: readout channel by tick instead of pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

import torch
from torch import Tensor

from shiftlab.detector.geometry import Geometry
from shiftlab.detector.medium import Value
from shiftlab.detector.sharing import diffusion_width
from shiftlab.detector.wires.regions import Regions, by_cell, filtered, in_groups, regions
from shiftlab.detector.wires.response import Taps, charge_taps, signal_taps
from shiftlab.errors import ConfigError

if TYPE_CHECKING:
    from shiftlab.detector.state import Cells

__all__ = ["WireGeometry"]

_TICK_REACH: Final = 4
"""Ticks on either side that share a deposit's charge: 3 standard deviations after 2.3 m of drift."""

_WIRE_REACH: Final = 1

_LEAST: Final = 30.0
"""Electrons: a cell that collects less, a tenth of the noise, makes no region of its own and is left out."""

_MARGIN: Final = 5
"""Ticks in front of the response that regions hold, since signal processing widens signals again."""

_FIXED: Final = 2.0**20
"""Running sums are done in whole units of 2^-20 electrons, so that no order or batch changes a bit."""


@dataclass(frozen=True)
class WireGeometry(Geometry):
    """The box of ``Geometry`` with planes of wires at x = 0, the last of which collects.

    The lattice is (tick, plane, wire), with as many wires as the plane with most: cell ``(tick * planes + plane) *
    wires + wire``, readout channel ``plane * wires + wire``. Each plane sees the whole charge. A wire of angle a to
    the vertical (y) measures ``z cos a + y sin a``. Planes are aligned in time, as calibration leaves them.

    Only regions of interest are simulated: ticks of a wire around charge, wide enough for the response. Wires or
    times without charge have no samples, so that noise alone makes no cell away from charge (zero suppression). Charge
    below 30 electrons in a cell, about 0.1% of all, is left out.

    Attributes:
        pitch: between wires and between planes, cm.
        chip: wires of one front-end board, none across planes (ICARUS: 64).
        tick: us between samples (MicroBooNE, SBND: 0.5).
        angles: of the wires of each plane to the vertical, degrees (MicroBooNE, SBND: 60, -60, 0).
        shaping: us, of the cold electronics (MicroBooNE, SBND: 2).
        before: ticks of the readout window before charge from the anode arrives.
        after: ticks of the window after charge from the cathode.
    """

    readout: ClassVar[str] = "wires"

    chip: int = 64
    tick: float = 0.5
    angles: tuple[float, ...] = (60.0, -60.0, 0.0)
    shaping: float = 2.0
    before: int = 50
    after: int = 100

    def __post_init__(self) -> None:
        """Refuse a detector that cannot be built."""
        super().__post_init__()
        object.__setattr__(self, "angles", tuple(float(angle) for angle in self.angles))
        for name in ("tick", "shaping"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"geometry.{name} = {getattr(self, name)} must be positive.")
        if self.before < 0 or self.after < 0:
            raise ConfigError(f"geometry.before, after = {self.before}, {self.after} must not be negative.")
        if not self.angles or not all(-90.0 <= angle <= 90.0 for angle in self.angles):
            raise ConfigError(f"geometry.angles = {list(self.angles)} must be one angle a plane, -90 to 90 degrees.")

    @property
    def planes(self) -> int:
        """Number of wire planes."""
        return len(self.angles)

    @property
    def views(self) -> int:
        """How often the charge is read out: once a plane."""
        return self.planes

    @cached_property
    def wires(self) -> tuple[int, ...]:
        """Number of wires of each plane."""
        _, height, width = self.size
        return tuple(math.ceil((width * abs(c) + height * abs(s)) / self.pitch - 1e-9) for s, c in self._directions)

    @cached_property
    def _directions(self) -> tuple[tuple[float, float], ...]:
        """What y and z count in the coordinate of each plane."""
        radians = [math.radians(angle) for angle in self.angles]
        return tuple((round(math.sin(a), 15), round(math.cos(a), 15)) for a in radians)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Number of ticks, planes, and wires of the plane with most."""
        ticks = math.ceil(self.size[0] / (self.drift_velocity * self.tick) - 1e-9)
        return ticks + self.before + self.after, self.planes, max(self.wires)

    @property
    def edges(self) -> tuple[float, float, float]:
        """Extent of a cell along tick, plane and wire, cm; planes are views of one volume, not places: 0."""
        return self.drift_velocity * self.tick, 0.0, self.pitch

    @property
    def transit(self) -> float:
        """Time in us through the gap between two planes, as wide as the pitch, at the drift velocity."""
        return self.pitch / self.drift_velocity

    def inside(self, position: Tensor) -> Tensor:
        """Return a bool mask (point,): which points (point, 3), cm, lie in the volume (upper faces excluded)."""
        upper = torch.tensor(self.size, dtype=torch.float64, device=position.device)
        point = position.to(torch.float64)
        return ((point >= 0) & (point < upper)).all(dim=1)

    def coordinate(self, position: Tensor) -> Tensor:
        """Return float64 (point, plane): where points (point, 3), cm, lie across the wires, in units of the pitch."""
        point = position.to(torch.float64)
        columns = []
        for sine, cosine in self._directions:
            start = min(sine, 0.0) * self.size[1] + min(cosine, 0.0) * self.size[2]
            columns.append((point[:, 1] * sine + point[:, 2] * cosine - start) / self.pitch)
        return torch.stack(columns, dim=1)

    def cell(self, position: Tensor) -> Tensor:
        """Refuse: a point lies in one cell of each plane.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("a wire read-out has no voxels: a point of the volume lies on one wire of each plane.")

    def chip_of(self, channel: Tensor) -> Tensor:
        """Return int64 (channel,): the front-end board that reads each readout channel."""
        wires = self.shape[2]
        return (channel // wires) * -(-wires // self.chip) + channel % wires // self.chip

    def wire_length(self, channel: Tensor) -> Tensor:
        """Return float64 (channel,): the length of each wire inside the frame, cm, at least one pitch."""
        plane, wire = channel // self.shape[2], channel % self.shape[2]
        _, height, width = self.size
        length = torch.zeros_like(channel, dtype=torch.float64)
        for number, (sine, cosine) in enumerate(self._directions):
            place = (wire.to(torch.float64) + 0.5) * self.pitch
            s, c = abs(sine), abs(cosine)
            total = width * c + height * s
            cut = torch.minimum(place, total - place) / max(s * c, 1e-12)
            longest = min(height / max(c, 1e-12), width / max(s, 1e-12))
            length = torch.where(plane == number, torch.clamp(cut, self.pitch, longest), length)
        return length

    def near_wall(self, index: Tensor, margin: float) -> Tensor:
        """Return bool (cell,): which cells (cell, 3) are within ``margin`` cm of anode, cathode or a plane's end."""
        drift = (index[:, 0].to(torch.float64) + 0.5 - self.before) * self.edges[0]
        across = (index[:, 2].to(torch.float64) + 0.5) * self.pitch
        width = torch.tensor(self.wires, dtype=torch.float64, device=index.device)[index[:, 1]] * self.pitch
        return torch.minimum(torch.minimum(drift, self.size[0] - drift), torch.minimum(across, width - across)) < margin

    def layer_times(self, device: torch.device | str = "cpu") -> Tensor:
        """Return float64 (tick,): the drift time in us of charge that is found in each tick, not negative."""
        tick = torch.arange(self.shape[0], dtype=torch.float64, device=device)
        return torch.clamp((tick + 0.5 - self.before) * self.tick, min=0.0)

    def shares(self, position: Tensor, drift_time: Tensor, diffusion: tuple[Value, Value]) -> tuple[Tensor, Tensor]:
        """Return which cells collect each deposit's charge, one group a plane; see ``Geometry.shares``."""
        along, across = (torch.as_tensor(one, dtype=torch.float64, device=position.device) for one in diffusion)
        tick = position[:, 0].to(torch.float64) / (self.drift_velocity * self.tick) + self.before
        spread = diffusion_width(along, drift_time) / (self.drift_velocity * self.tick)
        ticks, cloud = _gaussian(tick, spread, _TICK_REACH)
        ticks, cloud = ticks[:, None, :, None], cloud[:, None, :, None]
        coordinate = self.coordinate(position)
        width = (diffusion_width(across, drift_time) / self.pitch)[:, None].expand_as(coordinate)
        wires, aside = _gaussian(coordinate, width, _WIRE_REACH)
        wires, aside = wires[:, :, None, :], aside[:, :, None, :]
        counts = torch.tensor(self.wires, device=position.device)[None, :, None, None]
        plane = torch.arange(self.planes, device=position.device)[None, :, None, None]
        cell = (ticks * self.planes + plane) * self.shape[2] + wires
        inside = (ticks >= 0) & (ticks < self.shape[0]) & (wires >= 0) & (wires < counts)
        share = torch.where(inside, cloud * aside, 0.0)
        return cell.flatten(2), share.flatten(2)

    def convolve(self, cells: Cells) -> Cells:
        """Return the waveforms of regions of interest: charge folded with the response of field and electronics.

        Samples are in electrons: a sudden charge peaks at its size at the nominal shaping time.
        """
        kinds = self._kinds(cells)
        return in_groups(cells, partial(self._convolved, kinds=kinds))

    def _convolved(self, cells: Cells, kinds: list[tuple[tuple[Taps, ...], Tensor]]) -> Cells:
        cells = cells.keep(cells.electrons.detach() >= _LEAST)
        reach = [one for taps, _ in kinds for one in taps]
        lead, tail = max(max(-one.first, 0) for one in reach), max(max(one.last, 0) for one in reach)
        runs = regions(cells, before=lead + _MARGIN, after=tail)
        charge = runs.laid(cells.electrons)
        signal = self._folded(charge, runs, kinds[0][0])
        for taps, chosen in kinds[1:]:
            signal = torch.where(chosen[runs.event][runs.run_of()], self._folded(charge, runs, taps), signal)
        event, cell, place = by_cell(runs, self.shape[0], self.channels)
        key = cells.table.key.index_select(0, event)
        return replace(cells, event=event, key=key, cell=cell, electrons=signal.index_select(0, place))

    def deconvolve(self, cells: Cells) -> Cells:
        """Return electrons per tick as signal processing finds them, with the nominal response and a low-pass.

        Of an induction plane the running sum of each region is taken first, which is unipolar, and the straight line
        through its ends is subtracted: what is lost is what varies slower than the region is long.
        """
        return in_groups(cells, self._deconvolved)

    def _deconvolved(self, cells: Cells) -> Cells:
        taps = self._charge_taps
        gap = max(max(abs(one.first), abs(one.last)) for one in taps)
        runs = regions(cells, gap=gap)
        signal = runs.laid(cells.electrons)
        parts = []
        for rows, plane in self._plane_rows(runs):
            part = signal[rows]
            if not self._collects(plane):
                part = _summed(part, runs, rows)
            parts.append(filtered(part, taps[plane]))
        return cells.with_electrons(runs.taken(torch.cat(parts)))

    def least(self, level: float) -> float:
        """Return minus infinity: a sample of any size can belong to a region that holds charge."""
        return -math.inf

    def _collects(self, plane: int) -> bool:
        return plane == self.planes - 1

    @cached_property
    def _charge_taps(self) -> tuple[Taps, ...]:
        return tuple(
            charge_taps(self.tick, self.transit, self.shaping, self._collects(plane)) for plane in range(self.planes)
        )

    def signal_taps(self, stretch: float = 1.0, mix: float = 0.0) -> tuple[Taps, ...]:
        """Return the response of each plane; see ``shiftlab.detector.wires.response.signal_taps``."""
        return tuple(
            signal_taps(self.tick, self.transit, self.shaping, self._collects(plane), stretch, mix)
            for plane in range(self.planes)
        )

    def _kinds(self, cells: Cells) -> list[tuple[tuple[Taps, ...], Tensor]]:
        """Return each response that some event has, with the events (event,) that have it."""
        record = cells.electronics
        columns = [
            torch.as_tensor(one, dtype=torch.float64, device=cells.cell.device).expand(len(cells.table))
            for one in ((1.0, 0.0) if record is None else (record.stretch, record.mix))
        ]
        pairs = torch.stack(columns, dim=1)
        if not len(pairs):
            return [(self.signal_taps(), pairs[:, 0] == 0)]
        unique, inverse = torch.unique(pairs, dim=0, return_inverse=True)
        return [(self.signal_taps(*pair), inverse == i) for i, pair in enumerate(unique.tolist())]

    def _folded(self, charge: Tensor, runs: Regions, taps: tuple[Taps, ...]) -> Tensor:
        return torch.cat([filtered(charge[rows], taps[plane]) for rows, plane in self._plane_rows(runs)])

    def _plane_rows(self, runs: Regions) -> Iterator[tuple[slice, int]]:
        """Give the part of the buffer of each plane: runs are in the order of their channels."""
        planes = torch.arange(1, self.planes, device=runs.channel.device) * self.shape[2]
        cuts = torch.searchsorted(runs.channel, planes)
        gaps = runs.start.new_full((1,), runs.size)
        opening = torch.cat([runs.start - (runs.start[:1] if len(runs.start) else 0), gaps])
        bounds = [0, *opening[cuts].tolist(), runs.size]
        for plane in range(self.planes):
            yield slice(bounds[plane], bounds[plane + 1]), plane

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a configuration or a provenance record."""
        return {**super().to_dict(), "kind": "wires", "angles": list(self.angles)}


def _gaussian(place: Tensor, sigma: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Return cells (..., 2 reach + 1) around a place and a Gaussian's shares of them, which add up to one.

    Args:
        place: float64 (...), in units of cells.
        sigma: float64 (...), in units of cells, not negative.
        reach: cells on either side.
    """
    index = torch.floor(place)
    scale = torch.clamp(sigma, min=1e-9)[..., None] * 2.0**0.5
    step = torch.arange(-reach, reach + 2, dtype=torch.float64, device=place.device)
    share = torch.erf((step - (place - index)[..., None]) / scale).diff(dim=-1)
    return index.to(torch.int64)[..., None] + step[:-1].to(torch.int64), share / share.sum(dim=-1, keepdim=True)


def _summed(signal: Tensor, runs: Regions, rows: slice) -> Tensor:
    """Return the running sum in each run of a part of the buffer, less the line through its ends; 0 between runs."""
    mine = (runs.start >= rows.start) & (runs.start < rows.stop)
    start, length = runs.start[mine] - rows.start, runs.length[mine]
    if not len(start):
        return signal
    total = torch.cumsum(torch.round(signal * _FIXED).to(torch.int64), 0)
    run = torch.repeat_interleave(torch.arange(len(start), device=start.device), length)
    step = torch.arange(len(run), device=run.device) - (torch.cumsum(length, 0) - length)[run]
    place = start[run] + step
    before = torch.where(start > 0, total[torch.clamp(start - 1, min=0)], 0)
    whole = (total[start + length - 1] - before).to(torch.float64)
    inner = (total[place] - before[run]).to(torch.float64)
    line = whole[run] * ((step + 1).to(torch.float64) / length[run].to(torch.float64))
    return torch.zeros_like(signal).index_copy(0, place, (inner - line) / _FIXED)
