"""What a detector records, as a smooth function of its parameters: the threshold is smoothed by the noise.

Which cells pass the threshold has no derivative for one realisation of the noise, but has one in its mean. A cell of
charge q, noise sigma and level t after the gain g passes with probability Phi(m), m = (g q - t) / (g sigma). So the
mean of anything seen in the image moves by phi(m) dm times what that one cell changes, added at the threshold or taken
away (smoothed perturbation analysis: Gong and Ho, IEEE Trans. Automat. Contr. 32 (1987) 858). A cell recorded although
m is far below the threshold stands for the many like it that are not: it counts with d ln Phi(m).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor

from shiftlab.detector.calibration import mev_per_electron
from shiftlab.detector.chain import Detector
from shiftlab.detector.effect import DEPOSIT_STAGES, LATTICE_STAGES, Effect
from shiftlab.detector.nuisances import Nuisance
from shiftlab.detector.prepared import Prepared
from shiftlab.detector.state import Cells, Value
from shiftlab.detector.stream import Stream
from shiftlab.detector.universe import NOMINAL
from shiftlab.errors import ConfigError
from shiftlab.events.image import Image

__all__ = ["REACH", "SmoothChain", "SmoothImage", "displaced_value", "why_not_smooth", "why_not_smooth_chain"]

REACH: Final = 3.0
"""Cells with a noiseless charge up to so many noise sigma below the threshold are candidates, recorded or not."""

_NOISE: Final = "noise"
_THRESHOLD: Final = "threshold"


@dataclass(frozen=True)
class SmoothImage:
    """Recorded cells and candidates, ascending in (event, cell), with the derivatives of what is recorded of them.

    Attributes:
        image: All of them as an image, without derivatives.
        there: bool (voxel,), whether the nominal detector records it.
        moved: float64 (voxel,), change of the probability that it is recorded; 0 at nominal, with its derivative.
        energy: float64 (voxel,), MeV, as recorded; of a candidate, that of the threshold.
        level: float64 (voxel,), MeV, without noise.
        width: float64 (voxel,), MeV, the noise.
        edge: float64 (voxel,), MeV, the energy of a charge at the threshold.
        nominal: The same voxels at nominal values; None: these are.
    """

    image: Image
    there: Tensor
    moved: Tensor
    energy: Tensor
    level: Tensor
    width: Tensor
    edge: Tensor
    nominal: SmoothImage | None = None


def why_not_smooth_chain(detector: object) -> str:
    """Return why no derivative of a detector's image is known, empty where it is."""
    if not isinstance(detector, Detector):
        return "the detector records no images"
    if detector.geometry.views > 1:
        return "wire planes share the charge of a voxel"
    values = detector.values(NOMINAL)
    if _THRESHOLD in values and values[_THRESHOLD]["level"] > 0 and not values.get(_NOISE, {}).get("enc", 0.0) > 0:
        return "there is no noise that would smooth the threshold"
    for effect in detector.effects:
        if effect.stage not in LATTICE_STAGES or effect.stage == "mask" or effect.name in (_NOISE, _THRESHOLD):
            continue
        if not _only_charge(effect) and not _idle(effect, values[effect.name]):
            return f"effect '{effect.name}' of the nominal detector changes more than charge, or is not smooth"
        if "mev" in effect.needs:
            return f"effect '{effect.name}' needs calibrated energies"
    return ""


def why_not_smooth(detector: Detector, nuisance: Nuisance) -> str:
    """Return why no derivative by a nuisance is known, empty where it is."""
    effect = next(one for one in detector.effects if one.name == nuisance.effect)
    if effect.name in (_NOISE, _THRESHOLD):
        return ""
    if effect.stage not in (*DEPOSIT_STAGES, *LATTICE_STAGES):
        return f"it acts at the stage '{effect.stage}'"
    if not effect.smooth:
        return "charge is no smooth function of it"
    if not _only_charge(effect):
        return f"it changes {', '.join(name for name in effect.changes if name != 'electrons')}, not charge alone"
    return "" if nuisance.parameter.two_sided else "it exists on one side of nominal only"


def displaced_value(nuisance: Nuisance, z: Tensor) -> Tensor:
    """Return the physical value of a nuisance displaced by ``z`` sigma, float64 of that shape (``Parameter.value``)."""
    parameter = nuisance.parameter
    if parameter.scale == "log":
        return parameter.nominal * torch.pow(torch.as_tensor(1.0 + parameter.sigma, dtype=z.dtype), z)
    return parameter.nominal + z * parameter.sigma


def _only_charge(effect: Effect[Any]) -> bool:
    return effect.changes == ("electrons",) and effect.smooth


def _idle(effect: Effect[Any], values: Mapping[str, float]) -> bool:
    """Return whether some parameter is at its identity, where the effect leaves its input as it is."""
    return any(one.identity is not None and values[one.name] == one.identity for one in effect.parameters)


class SmoothChain:
    """A detector's chain over some events, whose image is a smooth function of the values of parameters.

    Attributes:
        detector: The detector.
        events: Events that were prepared for it.
    """

    def __init__(self, detector: Detector, events: Prepared) -> None:
        """Find the cells that the nominal detector records, throw 0, and those that it nearly does.

        Raises:
            ConfigError: no derivative is known of such a detector.
        """
        reason = why_not_smooth_chain(detector)
        if reason:
            raise ConfigError(f"detector '{detector.name}' cannot be differentiated: {reason}.")
        self.detector, self.events = detector, events
        self._nominal: dict[str, dict[str, Value]] = {k: dict(v) for k, v in detector.values(NOMINAL).items()}
        self._mev = mev_per_electron(detector.response(events.cells.cell.device), 1.0)
        image = detector.image(events)
        cells, row, z = self._union()
        address = image.event_index * detector.geometry.cells + image.cell
        there = torch.isin(cells.address, address)
        self._cells, self._row, self._z = cells, row, z
        margin = self._margin(self._nominal)[0]
        kept = self._unmasked() & (there | (margin > -REACH))
        index = torch.nonzero(kept).squeeze(1)
        self._cells, self._row, self._z = cells.rows(index), row[index], z[index]
        self.there = there[index]
        self._near = margin[index] > -REACH
        if int(self.there.sum()) != len(image.cell):
            raise ConfigError(f"detector '{detector.name}' records cells that its smooth chain does not know.")
        self._anchor = self._kernel(self._nominal)
        self._first: SmoothImage | None = None
        self._first = self.image({})

    def image(self, displaced: Mapping[str, Mapping[str, Tensor]]) -> SmoothImage:
        """Return the image where some parameters have other values.

        Args:
            displaced: By effect and parameter, float64 (event,), with or without a derivative.
        """
        values = {name: {**own, **displaced.get(name, {})} for name, own in self._nominal.items()}
        _, bare, width, noisy, level = self._margin(values)
        moved = self._kernel(values) - self._anchor
        calibrated = [self._calibrated(one, values) for one in (torch.where(self.there, noisy, level), bare, level)]
        energy, bare_energy, edge = calibrated
        return SmoothImage(
            image=self._as_image(energy),
            there=self.there,
            moved=moved,
            energy=energy,
            level=bare_energy,
            width=self._calibrated(bare + width, values) - bare_energy,
            edge=edge,
            nominal=self._first,
        )

    def _union(self) -> tuple[Cells, Tensor, Tensor]:
        """Return all cells that may be recorded, the row of each in ``events.cells`` or -1, and its noise in sigma."""
        given = self.events.cells
        noise = self._effect(_NOISE)
        rows = torch.arange(len(given.cell), device=given.cell.device)
        if noise is None:
            return given, rows, torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
        enc = float(self._nominal[_NOISE]["enc"])
        stream = self._stream(noise)
        z = stream.normal("cell", given.key, given.cell).to(torch.float64)
        floor = torch.full_like(given.floor, self.detector._floor(self.detector.values(NOMINAL)))
        alone: Cells = noise.apply(replace(given, floor=floor), self._nominal[_NOISE], stream)
        new = torch.nonzero(~torch.isin(alone.address, given.address)).squeeze(1)
        union = given.insert(alone.event[new], alone.cell[new], alone.electrons[new] * 0.0)
        place = torch.searchsorted(union.address, given.address)
        row = torch.full((len(union.cell),), -1, dtype=torch.int64, device=rows.device)
        row[place] = rows
        height = torch.zeros(len(union.cell), dtype=torch.float64, device=rows.device)
        height[place] = z
        height[torch.searchsorted(union.address, alone.address[new])] = alone.electrons[new] / enc
        return union, row, height

    def _unmasked(self) -> Tensor:
        """Return bool (row,): cells that no dead channel of the nominal detector takes away."""
        cells = self._cells
        for effect in self._of(("mask",)):
            cells = effect.apply(cells, self._nominal[effect.name], self._stream(effect))
        return torch.isin(self._cells.address, cells.address)

    def _margin(self, values: Mapping[str, Mapping[str, Value]]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return (row,) each: margin over the threshold in noise sigma, and the charges that it is made of, electrons.

        These are, where the threshold acts: without noise, the width of the noise, with noise, and the level.
        """
        charge = self.events.charge
        for effect in self._of(DEPOSIT_STAGES):
            charge = effect.apply(charge, values[effect.name], self._stream(effect))
        collected = torch.cat([self.events.footprint.collect(charge.electrons), charge.electrons.new_zeros(1)])
        clean = collected[self._row]
        enc = self._cells.per_row(values[_NOISE]["enc"]) if _NOISE in values else 0.0
        noiseless = self._read_out(clean, values)
        noisy = self._read_out(clean + enc * self._z, values)
        width = self._read_out(clean + enc, values) - noiseless
        level = torch.zeros_like(clean)
        if _THRESHOLD in values:
            level = level + self._cells.per_row(values[_THRESHOLD]["level"])
        # Without a threshold every cell that holds charge is recorded, whatever its parameters.
        sure = torch.full_like(clean, 2.0 * REACH)
        margin = torch.where(level > 0, (noiseless - level) / torch.where(level > 0, width, 1.0), sure)
        return margin, noiseless, width, noisy, level

    def _kernel(self, values: Mapping[str, Mapping[str, Value]]) -> Tensor:
        """Return (row,): the probability of being recorded, its logarithm where that is small."""
        margin = self._margin(values)[0]
        return torch.where(self._near, torch.special.ndtr(margin), torch.special.log_ndtr(margin))

    def _read_out(self, electrons: Tensor, values: Mapping[str, Mapping[str, Value]]) -> Tensor:
        """Return the charge after all that lies between noise and threshold."""
        return self._through(("shape", "add_noise", "amplify", "saturate"), electrons, values)

    def _calibrated(self, electrons: Tensor, values: Mapping[str, Mapping[str, Value]]) -> Tensor:
        """Return the energy in MeV of charge that was recorded."""
        return self._through(("calibrate",), electrons, values) * self._mev[self._cells.layer]

    def _through(self, stages: tuple[str, ...], electrons: Tensor, values: Mapping[str, Mapping[str, Value]]) -> Tensor:
        cells = self._cells.with_electrons(electrons)
        for effect in self._of(stages):
            if effect.name != _NOISE and _only_charge(effect):
                cells = effect.apply(cells, values[effect.name], self._stream(effect))
        return cells.electrons

    def _as_image(self, energy: Tensor) -> Image:
        cells = self._cells
        offsets = torch.zeros(len(cells.table) + 1, dtype=torch.int64, device=cells.cell.device)
        torch.cumsum(torch.bincount(cells.event, minlength=len(cells.table)), 0, out=offsets[1:])
        plain = energy.detach().to(torch.float32)
        return Image(offsets, cells.cell, torch.zeros_like(plain), plain, cells.geometry.shape, cells.table)

    def _of(self, stages: Sequence[str]) -> list[Effect[Any]]:
        return [effect for effect in self.detector.effects if effect.stage in stages]

    def _effect(self, name: str) -> Effect[Any] | None:
        return next((effect for effect in self.detector.effects if effect.name == name), None)

    def _stream(self, effect: Effect[Any]) -> Stream:
        return Stream(self.detector.seed, effect.name, NOMINAL.throw)
