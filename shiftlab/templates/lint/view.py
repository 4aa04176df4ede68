"""A pyhf workspace as arrays: read-only, with what every rule of the linter asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from shiftlab.templates.lint.rule import Fault
from shiftlab.templates.lint.sidecar import Sidecar

__all__ = ["Channel", "Measurement", "Modifier", "Parameter", "Sample", "Setting", "View"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Modifier:
    """One modifier of one sample.

    Attributes:
        name: of its parameter.
        kind: pyhf's type.
        up: histosys (bin,) or normsys (1,) at +1 sigma; uncertainties (bin,) of staterror and shapesys; else empty.
        down: histosys or normsys at -1 sigma; else empty.
    """

    name: str
    kind: str
    up: Floats
    down: Floats


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample of one channel.

    Attributes:
        channel: its channel.
        name: its name.
        nominal: (bin,) expected events.
        modifiers: in the file's order, those with data of a wrong length left out.
        listed: (name, type) of all modifiers, also of those left out.
    """

    channel: str
    name: str
    nominal: Floats
    modifiers: tuple[Modifier, ...]
    listed: tuple[tuple[str, str], ...]

    def of(self, kind: str) -> tuple[Modifier, ...]:
        """Return the modifiers of one type."""
        return tuple(modifier for modifier in self.modifiers if modifier.kind == kind)

    @cached_property
    def shapes(self) -> tuple[tuple[str, ...], Floats]:
        """Names of the histosys modifiers, with repeats, and their templates (2, histosys, bin), +1 sigma first."""
        found = self.of("histosys")
        stacked = np.array([[one.up for one in found], [one.down for one in found]])
        return tuple(one.name for one in found), stacked.reshape(2, len(found), len(self.nominal))

    @cached_property
    def nuisances(self) -> tuple[str, ...]:
        """Names of the histosys and normsys modifiers, each once."""
        return tuple(dict.fromkeys(m.name for m in self.modifiers if m.kind in ("histosys", "normsys")))

    @cached_property
    def _sides(self) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
        """Shapes (nuisance, bin) and factors (nuisance, 1) at +1 and at -1 sigma; of duplicates the last, as pyhf."""
        row = {name: i for i, name in enumerate(self.nuisances)}
        shapes = np.broadcast_to(self.nominal, (2, len(row), len(self.nominal))).copy()
        factors = np.ones((2, len(row), 1))
        names, templates = self.shapes
        for i, name in enumerate(names):
            shapes[:, row[name]] = templates[:, i]
        for one in self.of("normsys"):
            factors[:, row[one.name], 0] = one.up[0], one.down[0]
        return (shapes[0], factors[0]), (shapes[1], factors[1])

    def at(self, strength: float) -> Floats:
        """Return (nuisance, bin) templates with each nuisance alone at ``strength`` sigma, at least 1 in size.

        Beyond one sigma pyhf's default codes are norm^|a| (code 4) and nominal + |a| (shape - nominal)
        (code 4p), with the side that has the sign of a (HistFactory, CERN-OPEN-2012-016). Factors that are not
        positive have no power: not a number.
        """
        shape, factor = self._sides[0 if strength > 0 else 1]
        size = abs(strength)
        moved = self.nominal + size * (shape - self.nominal) if size != 1.0 else shape
        return np.asarray(moved * np.where(factor > 0.0, factor, np.nan) ** size, dtype=np.float64)

    @cached_property
    def up(self) -> Floats:
        """(nuisance, bin) at +1 sigma."""
        return self.at(1.0)

    @cached_property
    def down(self) -> Floats:
        """(nuisance, bin) at -1 sigma."""
        return self.at(-1.0)

    @cached_property
    def dead(self) -> npt.NDArray[np.bool_]:
        """Bool (nuisance,): both sides are the nominal but for rounding."""
        slack = 1e-12 * np.abs(self.nominal)
        same = (np.abs(self.up - self.nominal) <= slack) & (np.abs(self.down - self.nominal) <= slack)
        return np.asarray(same.all(axis=1))


@dataclass(frozen=True, eq=False)
class Channel:
    """One channel.

    Attributes:
        name: its name.
        bins: number of bins, that of its first sample.
        samples: in the file's order, those of a wrong length left out.
        observed: (bin,) data; None where there are none of the right length.
    """

    name: str
    bins: int
    samples: tuple[Sample, ...]
    observed: Floats | None

    @cached_property
    def total(self) -> Floats:
        """(bin,) nominal, summed over samples."""
        return np.asarray(sum((sample.nominal for sample in self.samples), np.zeros(self.bins)))

    @cached_property
    def nuisances(self) -> tuple[str, ...]:
        """Names of the histosys and normsys modifiers of all samples, each once."""
        return tuple(dict.fromkeys(name for sample in self.samples for name in sample.nuisances))

    def total_at(self, strength: float) -> Floats:
        """Return (nuisance, bin) totals with each nuisance alone at ``strength`` sigma in all samples."""
        row = {name: i for i, name in enumerate(self.nuisances)}
        totals = np.broadcast_to(self.total, (len(row), self.bins)).copy()
        for sample in self.samples:
            if sample.nuisances:
                totals[[row[name] for name in sample.nuisances]] += sample.at(strength) - sample.nominal
        return totals

    def named(self, kind: str) -> dict[str, list[tuple[Sample, Modifier]]]:
        """Return the modifiers of one type by name, with their samples."""
        found: dict[str, list[tuple[Sample, Modifier]]] = {}
        for sample in self.samples:
            for modifier in sample.of(kind):
                found.setdefault(modifier.name, []).append((sample, modifier))
        return found


@dataclass(frozen=True)
class Setting:
    """What a measurement says of one parameter; None where it says nothing.

    Attributes:
        name: of the parameter.
        fixed: held constant.
        inits: starting values.
        bounds: allowed ranges; not always pairs.
        auxdata: values of the auxiliary measurement.
        sigmas: widths of the constraint.
        factors: of Poisson constraints.
    """

    name: str
    fixed: bool | None = None
    inits: tuple[float, ...] | None = None
    bounds: tuple[tuple[float, ...], ...] | None = None
    auxdata: tuple[float, ...] | None = None
    sigmas: tuple[float, ...] | None = None
    factors: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Measurement:
    """One measurement: its parameter of interest (empty: none) and settings of parameters."""

    name: str
    poi: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class Parameter:
    """One parameter: the types of its modifiers and its number of values."""

    kinds: frozenset[str]
    size: int


@dataclass(frozen=True, eq=False)
class View:
    """A parsed workspace.

    Attributes:
        channels: in the file's order.
        observations: names of the observations, with repeats.
        measurements: in the file's order.
        sidecar: what ``workspace.meta.json`` adds.
        asimov: the observations are declared to be expectations, not counts.
        faults: what could not be read, by the name of its rule.
    """

    channels: tuple[Channel, ...]
    observations: tuple[str, ...]
    measurements: tuple[Measurement, ...]
    sidecar: Sidecar = field(default_factory=Sidecar)
    asimov: bool = False
    faults: Mapping[str, tuple[Fault, ...]] = field(default_factory=dict)

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """All samples of all channels."""
        return tuple(sample for channel in self.channels for sample in channel.samples)

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Parameters by name: a staterror has one value per bin of every channel that it is in."""
        kinds: dict[str, set[str]] = {}
        sizes: dict[str, int] = {}
        for channel in self.channels:
            seen = {key for sample in channel.samples for key in sample.listed}
            for name, kind in seen:
                kinds.setdefault(name, set()).add(kind)
                if kind == "staterror":
                    sizes[name] = sizes.get(name, 0) + channel.bins
                else:
                    sizes[name] = channel.bins if kind in ("shapefactor", "shapesys") else 1
        return {name: Parameter(frozenset(kinds[name]), sizes[name]) for name in kinds}

    @cached_property
    def pois(self) -> frozenset[str]:
        """Parameters of interest of all measurements that are in the model."""
        return frozenset(one.poi for one in self.measurements if one.poi in self.parameters)

    def is_signal(self, sample: Sample) -> bool:
        """Return whether a parameter of interest scales the sample."""
        return any(name in self.pois and kind == "normfactor" for name, kind in sample.listed)
