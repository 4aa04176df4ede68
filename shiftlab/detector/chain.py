"""A virtual detector: its stages in order, from energy deposits to a calibrated image, in any universe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from shiftlab.detector.calibration import calibrate, mev_per_electron, muon_peak
from shiftlab.detector.configuration import settings
from shiftlab.detector.directions import DIRECTIONS, Directions
from shiftlab.detector.double_counting import refuse_double_counting
from shiftlab.detector.effect import DEPOSIT_STAGES, LATTICE_STAGES, PLACING_STAGES, STAGES, Effect
from shiftlab.detector.fitting import refuse_unfit
from shiftlab.detector.geometry import Geometry
from shiftlab.detector.medium import Medium
from shiftlab.detector.missing import missing_fields, refuse_missing, refused_nuisances
from shiftlab.detector.nuisances import Displaceable, Nuisance, Values
from shiftlab.detector.prepared import Prepared, prepare
from shiftlab.detector.recording import Batch, Pass, Step, steps_of
from shiftlab.detector.state import Charge
from shiftlab.detector.stream import Stream
from shiftlab.detector.universe import NOMINAL, Universe
from shiftlab.detector.variation import Twin, Variations
from shiftlab.errors import ConfigError, UnknownNameError
from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.events.image import Image

__all__ = ["Detector", "Nuisance"]

_ORIGIN = (
    "another geometry",
    "other diffusion constants",
    "other nominal conditions",
    "other directions of steps",
    "another nominal recombination",
)
"""What prepared events depend on, as an error says it."""


@dataclass(frozen=True)
class Detector(Displaceable):
    """A detector and its uncertainties.

    Attributes:
        name: say ``pixel_lar``.
        geometry: volume, drift and lattice.
        effects: in the order of their stages (sorted when made).
        seed: of all keyed draws.
        diffusion: longitudinal and transverse diffusion constants, cm2/s (SBND's 4.0 and 8.8).
        allow_double_counting: pairs of nuisances, written ``gain_scale+w_value_w`` in any order, that may both be
            uncertain although they share a physical cause; True allows all.
        directions: where the directions of steps come from: ``file``, or ``local``, an estimate from the deposits
            nearby (``local_directions``).

    Raises:
        ConfigError: two effects share a name, a stage takes no effects, an effect needs a field that
            its stage does not have, nominal values contradict each other, or uncertain parameters double count.
    """

    name: str
    geometry: Geometry
    effects: tuple[Effect[Any], ...]
    seed: int = 1
    diffusion: tuple[float, float] = (4.0, 8.8)
    allow_double_counting: bool | tuple[str, ...] = ()
    directions: Directions = "file"

    def __post_init__(self) -> None:
        """Order the effects and refuse a chain that cannot run."""
        for effect in self.effects:
            refuse_unfit(effect, self.geometry)
        order = sorted(self.effects, key=lambda effect: (STAGES.index(effect.stage), effect.order))
        object.__setattr__(self, "effects", tuple(order))
        names = [effect.name for effect in order]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"detector '{self.name}': effect '{name}' is listed twice.")
        if not all(constant >= 0 for constant in self.diffusion):
            raise ConfigError(f"detector '{self.name}': diffusion {self.diffusion} must not be negative.")
        if self.directions not in DIRECTIONS:
            raise UnknownNameError(f"directions of detector '{self.name}'", self.directions, DIRECTIONS)
        refuse_double_counting(
            self.name, order, [nuisance.name for nuisance in self.nuisances], self.allow_double_counting
        )
        values = self.values(NOMINAL)
        self._conditions(values, PLACING_STAGES)  # they refuse a geometry that they do not fit
        for effect in self._at(LATTICE_STAGES):
            effect.check(values[effect.name], self._floor(values, before=effect))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Detector:
        """Return the detector of a configuration (``configs/detector/*.yaml``); keys as in ``settings``.

        Raises:
            ConfigError: a key or value is not allowed; the message names it.
        """
        return cls(*settings(config))

    def prepare(self, deposits: Deposits, variations: Mapping[str, Twin] | None = None) -> Prepared:
        """Return what no universe changes about ``deposits``; to be kept and recorded in many universes.

        Deposits that bring electrons of their own keep them: the chain starts with the charge that nominal
        recombination turns into them, so that its shifts act relative to the file's own simulation.

        Args:
            deposits: of the events.
            variations: by name of an effect of stage ``generate``, the same events by another model
                (``shiftlab.events.pair``); read and prepared when a universe first asks for them.

        Raises:
            DataError: a deposit has a NaN, infinite or negative number, or electrons that nominally cannot be.
            UnknownNameError: a variation belongs to no effect of stage ``generate``.
        """
        if variations:
            self.refuse_variations(variations)
            twins = Variations(deposits, dict(variations), self.prepare)
            return replace(self.prepare(deposits), variations=twins)
        nominal = self.values(NOMINAL)

        def place(charge: Charge) -> Charge:
            return self._through(PLACING_STAGES, charge, NOMINAL, nominal)

        def recombine(charge: Charge) -> Charge:
            return self._through(("recombine",), place(charge), NOMINAL, nominal)

        return prepare(
            deposits, self.geometry, self.diffusion, place, recombine, self._origin(deposits), self.directions
        )

    @property
    def generators(self) -> tuple[str, ...]:
        """Names of the effects that take their events from paired files."""
        return tuple(effect.name for effect in self._at(("generate",)))

    def refuse_variations(self, names: Iterable[str]) -> None:
        """Raise UnknownNameError where a variation of generation belongs to no effect of the detector."""
        for name in names:
            if name not in self.generators:
                raise UnknownNameError(f"variation of detector '{self.name}'", name, self.generators)

    def generated(self, events: Prepared | Deposits, universe: Universe) -> Prepared:
        """Return the events that reach the detector in a universe: the nominal ones, their twins, or some of both.

        Raises:
            ConfigError: the universe displaces two variations of generation, or one whose paired file is not there.
            DataError: a paired file holds other events.
        """
        prepared, values = self._prepared(events), self.values(universe)
        displaced = self.displaced_generators(universe)
        for effect in (one for one in self._at(("generate",)) if one.name in displaced):
            prepared = effect.apply(prepared, values[effect.name], Stream(self.seed, effect.name, universe.throw))
        return prepared

    def displaced_generators(self, universe: Universe) -> tuple[str, ...]:
        """Return the effects by which a universe takes events from a paired file: none or one.

        Raises:
            ConfigError: the universe displaces two.
        """
        values = self.values(universe)
        found = tuple(name for name in self.generators if any(values[name].values()))
        if len(found) > 1:
            raise ConfigError(
                f"universe '{universe.name}' displaces {' and '.join(found)}: no file holds events of both models; "
                "a universe can take one variation of generation."
            )
        return found

    def check(self, universe: Universe) -> None:
        """Refuse a universe that the detector cannot record, whatever the events.

        Raises:
            UnknownNameError: the universe names a nuisance that the detector does not have.
            ConfigError: a value is outside its bounds, or values contradict each other (noise far above threshold).
        """
        values = self.values(universe)
        for effect in self._at(LATTICE_STAGES):
            effect.refuse(values[effect.name], self._floor(values, before=effect))

    def refused(self, events: Deposits | Prepared) -> tuple[str, ...]:
        """Return the nuisances that these events cannot answer, since their effect needs what the file lacks."""
        return refused_nuisances(self.effects, self.nuisances, self.values(NOMINAL), self._missing(events))

    def refuse(self, universe: Universe, events: Deposits | Prepared) -> None:
        """Refuse a universe in which an effect needs what the file of these events lacks (``refuse_missing``).

        Raises:
            ConfigError: naming the nuisances, their effect, what it needs, and what is missing.
        """
        missing = self._missing(events)
        if missing:
            refuse_missing(self.effects, universe, self.values(universe), missing)

    def image(self, events: Prepared | Deposits, universe: Universe = NOMINAL, *, scale: float = 1.0) -> Image:
        """Return what the detector records of ``events`` in ``universe``.

        Args:
            events: deposits, or what ``prepare`` made of them.
            universe: nuisance values and throw.
            scale: factor on the energies, from ``mip_factor`` where the universe is recalibrated.

        Raises:
            ConfigError: a value is outside its bounds, ``events`` were prepared for another detector, or an
                effect is displaced that needs what they lack (``refused``).
            DataError: from ``prepare``.
        """
        prepared = self.generated(events, universe)
        self.refuse(universe, prepared)
        kept = None if isinstance(events, Deposits) else prepared.kept
        constants = universe if universe.recalibrate == "exact" else NOMINAL
        response = self.response(prepared.cells.cell.device, constants)
        way = replace(self._way(universe), mev=mev_per_electron(response, scale))
        cells = way.record(Batch(prepared.charge, prepared.footprint, prepared.cells, prepared.memory, kept))
        return calibrate(cells, response, scale)

    def response(self, device: torch.device | str = "cpu", universe: Universe = NOMINAL) -> Tensor:
        """Return float64 (layer,): the response to a minimum-ionising particle per drift layer in a universe.

        Where an effect is one of each wire plane, the shape is (plane, layer).

        Calibration divides by that of the nominal universe; with ``recalibrate: exact`` by the universe's own.
        """
        values = self.values(universe)
        medium = self._conditions(values)
        # A layer is a time of arrival, whatever the velocity: charge in it has drifted for that time.
        times = torch.clamp(self.geometry.layer_times(device) - float(medium.offset), min=0.0)
        total = torch.ones_like(times)
        for effect in self.effects:
            total = total * effect.response(medium, times, values[effect.name])
        return total

    def positions(self, events: Prepared | Deposits, universe: Universe = NOMINAL) -> Tensor:
        """Return float32 (deposit, 3), cm: where the read-out takes each deposit of ``Prepared.charge`` to be.

        Labels of deposits go there: they do not move, but the voxels that hold their charge do. Where the universe
        varies generation, ``events`` are those that ``generated`` gives.
        """
        charge = self._through(PLACING_STAGES, self._prepared(events).charge, universe, self.values(universe))
        return torch.cat([charge.arrival[:, None].to(torch.float32), charge.position[:, 1:]], dim=1)

    def moves(self, universe: Universe) -> bool:
        """Return whether a universe moves, delays or widens charge relative to the nominal one."""
        return self._placing(self.values(universe)) != self._placing(self.values(NOMINAL))

    def mip_factor(self, muons: Prepared | Deposits, universe: Universe) -> float:
        """Return nominal over shifted peak of the muons' dE/dx: the ``scale`` that restores it (``muon_peak``).

        The muons are those of the nominal generation in every universe: they have no paired file, and no
        hadronic model changes their dE/dx.

        Raises:
            DataError: the muon sample is too small.
        """
        varied = {f"{e.name}_{parameter.name}" for e in self._at(("generate",)) for parameter in e.parameters}
        universe = replace(universe, nuisances=tuple(one for one in universe.nuisances if one[0] not in varied))
        prepared = self._prepared(muons)
        edges = self.geometry.edges
        return muon_peak(self.image(prepared), edges) / muon_peak(self.image(prepared, universe), edges)

    def summary(self, deposits: Deposits | Prepared) -> dict[str, float]:
        """Return numbers on what the nominal detector keeps of ``deposits``.

        ``charge_kept`` is the charge read out over the charge that arrives at the anode (thresholds,
        dead channels and noise included); where several wire planes read it out, their mean.
        """
        prepared = self._prepared(deposits)
        image = self.image(prepared)  # first, since it refuses what the file lacks
        arriving = self._arriving(prepared, NOMINAL, self.values(NOMINAL)).electrons
        total = float(arriving.sum()) * self.geometry.views
        events = max(len(prepared), 1)
        return {
            "events": len(prepared),
            "deposits": len(arriving),
            "dropped_deposits": int(prepared.dropped.sum()),
            "dropped_energy": float(prepared.dropped_energy.sum()),
            "energy": float(prepared.charge.energy.sum()),
            "charge_kept": float(image.charge.to(torch.float64).sum()) / total if total else 0.0,
            "energy_recorded": float(image.energy.to(torch.float64).sum()) / self.geometry.views,
            "voxels_per_event": len(image.cell) / events,
            "cells_per_event": len(prepared.cells.cell) / events,
            "empty_events": int((image.offsets[1:] == image.offsets[:-1]).sum()),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything that defines the detector as plain JSON values."""
        return {
            "name": self.name,
            "seed": self.seed,
            "geometry": self.geometry.to_dict(),
            "diffusion": {"longitudinal": self.diffusion[0], "transverse": self.diffusion[1]},
            "allow_double_counting": _plain(self.allow_double_counting),
            "directions": self.directions,
            "effects": {
                effect.name: {
                    "stage": effect.stage,
                    "parameters": {parameter.name: parameter.to_dict() for parameter in effect.parameters},
                    **({"files": dict(effect.digests)} if effect.digests else {}),
                }
                for effect in self.effects
            },
        }

    def _missing(self, events: Deposits | Prepared) -> tuple[str, ...]:
        return events.missing if isinstance(events, Prepared) else missing_fields(events, self.directions)

    def _at(self, stages: tuple[str, ...]) -> tuple[Effect[Any], ...]:
        return tuple(effect for effect in self.effects if effect.stage in stages)

    def _prepared(self, events: Prepared | Deposits) -> Prepared:
        if isinstance(events, Deposits):
            return self.prepare(events)
        own = (*self._shared_origin, self._recombination)
        # Events without electrons of their own do not depend on recombination: theirs ends before it.
        for what, given, mine in zip(_ORIGIN, events.origin, own, strict=False):
            if given != mine:
                raise ConfigError(f"these events were prepared for {what} than '{self.name}' has.")
        return events

    @property
    def _recombination(self) -> tuple[object, ...]:
        """Effects of the stage ``recombine`` with their nominal values."""
        values = self.values(NOMINAL)
        return tuple((type(effect), tuple(sorted(values[effect.name].items()))) for effect in self._at(("recombine",)))

    @property
    def _shared_origin(self) -> tuple[object, ...]:
        return self.geometry, self.diffusion, self._placing(self.values(NOMINAL)), self.directions

    def _origin(self, deposits: Deposits) -> tuple[object, ...]:
        """Return what events prepared from ``deposits`` depend on."""
        return self._shared_origin if deposits.electrons is None else (*self._shared_origin, self._recombination)

    def _placing(self, values: Values) -> tuple[object, ...]:
        """Effects that decide where and when charge is read out, with their values."""
        return tuple(
            (type(e), tuple(sorted(values[e.name].items())), tuple(sorted(e.digests.items())))
            for e in self._at(PLACING_STAGES)
        )

    def _conditions(self, values: Values, stages: tuple[str, ...] = ("condition",)) -> Medium:
        """Return the argon of a universe, from an event without deposits that goes through ``stages``."""
        whole = torch.zeros(0, dtype=torch.int64)
        real = torch.zeros(0, dtype=torch.float64)
        table = EventTable(whole, whole, real, (), {}, whole.to(torch.bool))
        medium = self.geometry.medium(self.diffusion)
        charge = Charge(self.geometry, table, whole, real.to(torch.float32).reshape(0, 3), real, real, real, medium)
        return self._through(stages, charge, NOMINAL, values).medium

    def _way(self, universe: Universe) -> Pass:
        """Return a universe's way through the chain."""
        values, nominal = self.values(universe), self.values(NOMINAL)
        floors = self._floor(values), self._floor(nominal)
        return Pass(self._steps, values, nominal, *floors, self.seed, universe.throw)

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        return steps_of(self.effects)

    def _arriving(self, prepared: Prepared, universe: Universe, values: Values) -> Charge:
        return self._through(DEPOSIT_STAGES, prepared.charge, universe, values)

    def _through(self, stages: tuple[str, ...], charge: Charge, universe: Universe, values: Values) -> Charge:
        for effect in self._at(stages):
            stream = Stream(self.seed, effect.name, universe.throw)
            charge = effect.apply(charge, values[effect.name], stream)
        return charge

    def _floor(self, values: Values, before: Effect[Any] | None = None) -> float:
        """Return the least charge, before an effect or after read out, that can pass the threshold."""
        floor = float("-inf")
        for effect in reversed(self._at(LATTICE_STAGES)):
            floor = effect.least(floor, values[effect.name])
            if effect.stage == "threshold":
                floor = self.geometry.least(floor)
            if effect is before:
                break
        return floor


def _plain(allowed: bool | tuple[str, ...]) -> bool | list[str]:
    return allowed if isinstance(allowed, bool) else list(allowed)
