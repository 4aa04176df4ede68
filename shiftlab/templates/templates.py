"""Templates of one arm and seed: expected events per sample and bin, every variation, and their Monte Carlo errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shiftlab.errors import DataError, UnknownNameError
from shiftlab.templates.findings import Finding
from shiftlab.templates.processing import Entry, ProcessingSettings

__all__ = ["Evaluated", "Observation", "Templates"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_SHAPES = {
    "nominal": "sb",
    "variance": "sb",
    "events": "sb",
    "up": "ksb",
    "down": "ksb",
}


@dataclass(frozen=True, eq=False)
class Observation:
    """A spectrum to fit.

    Attributes:
        name: ``asimov``, ``held_out`` (held-out events, nominal universe) or ``injected``.
        universe: the universe that the spectrum comes from.
        counts: (bin,) expected events; weighted, so not integers.
        variance: (bin,) Monte Carlo variance of ``counts``; zero for Asimov.
        shift_variance: (bin,) paired variance of the difference to ``held_out``.
        nuisances: true values in that universe, by modifier name; those of frozen maps are unknown.
    """

    name: str
    universe: str
    counts: Floats
    variance: Floats
    shift_variance: Floats
    nuisances: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Templates of a universe beyond one sigma of one nuisance, to check with what the fit predicts there.

    Attributes:
        nuisance: modifier name of the variation.
        strength: displacement in sigma.
        universe: its name.
        counts: (sample, bin) expected events.
        covariance: by channel, (sample, bin, bin): paired covariance of the difference to the linear prediction.
    """

    nuisance: str
    strength: float
    universe: str
    counts: Floats
    covariance: Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class Templates:
    """Histograms of all channels, for one arm, seed and calibration.

    Bins of all channels lie one after another along the axis ``bin``; ``slice(channel)`` finds them.
    Yields are expected events of the declared exposure. Each data event is looked at in one channel
    only, so a channel predicts its share of the exposure.

    Attributes:
        arm: arm that made the observables.
        seed: its training seed.
        recalibrate: ``none``, ``mip`` or ``exact``.
        channels: channel names (the tasks).
        samples: sample names.
        nuisances: modifier names.
        signal: sample that the parameter of interest ``mu`` scales.
        edges: (bin + 1,) bin edges per channel; outer bins are open.
        labels: axis label per channel.
        nominal: (sample, bin) expected events.
        variance: (sample, bin) sum of squared weights.
        events: (sample, bin) simulated events.
        up: (nuisance, sample, bin) expected events at +1 sigma.
        down: (nuisance, sample, bin) expected events at -1 sigma.
        covariance: by channel, (nuisance, sample, side, bin, side, bin): paired covariance of the shifts up - nominal
            and down - nominal. Channels and samples have no event in common, so between them it is zero.
        observations: spectra to fit, by name; ``asimov`` is always there.
        findings: what a reader must know.
        record: exposure, partition and edges as plain values.
        processing: how the variations were processed, and how the workspace splits norm from shape.
        steps: what the processing did.
        evaluated: universes beyond one sigma, if there are any.

    Raises:
        DataError: an array of the wrong shape or with numbers that are not finite.
    """

    arm: str
    seed: int
    recalibrate: str
    channels: tuple[str, ...]
    samples: tuple[str, ...]
    nuisances: tuple[str, ...]
    signal: str
    edges: Mapping[str, Floats]
    labels: Mapping[str, str]
    nominal: Floats
    variance: Floats
    events: Floats
    up: Floats
    down: Floats
    covariance: Mapping[str, Floats]
    observations: Mapping[str, Observation]
    findings: tuple[Finding, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)
    processing: ProcessingSettings = field(default_factory=ProcessingSettings)
    steps: tuple[Entry, ...] = ()
    evaluated: tuple[Evaluated, ...] = ()

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together."""
        if self.signal not in self.samples:
            raise UnknownNameError("sample (signal)", self.signal, self.samples)
        bins = sum(len(self.edges[channel]) - 1 for channel in self.channels)
        size = {"s": len(self.samples), "k": len(self.nuisances), "b": bins}
        for name, axes in _SHAPES.items():
            array = getattr(self, name)
            wanted = tuple(size[axis] for axis in axes)
            if array.shape != wanted:
                raise DataError(f"templates {self.name}: '{name}' has shape {array.shape}, not {wanted}.")
            if not np.isfinite(array).all():
                raise DataError(f"templates {self.name}: '{name}' is not finite at {self._where(name, axes)}.")
        for channel in self.channels:
            count = len(self.edges[channel]) - 1
            wanted = (size["k"], size["s"], 2, count, 2, count)
            found = self.covariance[channel]
            if found.shape != wanted or not np.isfinite(found).all():
                raise DataError(
                    f"templates {self.name}: the covariance of channel '{channel}' has shape {found.shape}, not "
                    f"{wanted}, or numbers that are not finite."
                )

    def _where(self, name: str, axes: str) -> str:
        first = np.argwhere(~np.isfinite(getattr(self, name)))[0]
        words: dict[str, tuple[str, tuple[str, ...]]] = {
            "s": ("sample", self.samples),
            "k": ("nuisance", self.nuisances),
            "b": ("bin", tuple(f"{row.channel}[{row.bin}]" for row in self.bins.itertuples())),
        }
        return ", ".join(f"{words[a][0]} {words[a][1][int(i)]}" for a, i in zip(axes, first, strict=True))

    @property
    def name(self) -> str:
        """``<arm>-<seed>``."""
        return f"{self.arm}-{self.seed}"

    @property
    def expected(self) -> Floats:
        """(bin,) nominal, summed over samples."""
        return np.asarray(self.nominal.sum(axis=0))

    def slice(self, channel: str) -> slice:
        """Return where the bins of a channel lie.

        Raises:
            UnknownNameError: there is no such channel.
        """
        if channel not in self.channels:
            raise UnknownNameError("channel", channel, self.channels)
        before = self.channels[: self.channels.index(channel)]
        start = sum(len(self.edges[name]) - 1 for name in before)
        return slice(start, start + len(self.edges[channel]) - 1)

    @cached_property
    def bins(self) -> pd.DataFrame:
        """One row per bin: channel, bin, lo, hi."""
        rows = [
            (channel, b, float(lo), float(hi))
            for channel in self.channels
            for b, (lo, hi) in enumerate(zip(self.edges[channel][:-1], self.edges[channel][1:], strict=True))
        ]
        return pd.DataFrame(rows, columns=["channel", "bin", "lo", "hi"])

    def _variance(self, up: float, down: float) -> Floats:
        """(nuisance, sample, bin) paired variance of up * (up - nominal) + down * (down - nominal)."""
        side = np.array([up, down])
        found = [np.einsum("p,kspbqb,q->ksb", side, self.covariance[channel], side) for channel in self.channels]
        return np.concatenate(found, axis=2)

    @cached_property
    def up_variance(self) -> Floats:
        """(nuisance, sample, bin) paired variance of up - nominal."""
        return self._variance(1.0, 0.0)

    @cached_property
    def down_variance(self) -> Floats:
        """(nuisance, sample, bin) paired variance of down - nominal."""
        return self._variance(0.0, 1.0)

    @cached_property
    def odd_variance(self) -> Floats:
        """(nuisance, sample, bin) paired variance of (up - down) / 2."""
        return self._variance(0.5, -0.5)

    @property
    def same_side(self) -> Bools:
        """Bool (nuisance, sample, bin): both shifts have one sign and exceed their paired errors."""
        up, down = self.up - self.nominal, self.down - self.nominal
        clear = (up**2 > self.up_variance) & (down**2 > self.down_variance)
        return np.asarray(clear & (up * down > 0.0))

    def constraints(self) -> pd.DataFrame:
        """Return how much a fit would learn on each nuisance, and how much of that is noise.

        Columns: arm, seed, recalibrate, nuisance; ``information`` = sum_b R_b^2 / lambda_b of the odd
        shift R = (up - down) / 2, all samples; ``fake_information`` = E[dI] = sum_b Var(R_b) / lambda_b, what
        an effect-free nuisance would show by Monte Carlo noise alone; ``fake_sigma`` =
        1 / sqrt(1 + fake_information), the post-fit sigma it would get; ``mc_limited``: information
        below fake_information.
        """
        odd = 0.5 * (self.up - self.down).sum(axis=1)
        inverse = np.divide(1.0, self.expected, out=np.zeros_like(self.expected), where=self.expected > 0)
        information = odd**2 @ inverse
        fake = self.odd_variance.sum(axis=1) @ inverse
        table = pd.DataFrame({"nuisance": list(self.nuisances), "information": information, "fake_information": fake})
        table["fake_sigma"] = 1.0 / np.sqrt(1.0 + fake)
        table["mc_limited"] = information < fake
        return self._label(table)

    def _label(self, table: pd.DataFrame) -> pd.DataFrame:
        table.insert(0, "arm", self.arm)
        table.insert(1, "seed", self.seed)
        table.insert(2, "recalibrate", self.recalibrate)
        return table

    def frame(self) -> pd.DataFrame:
        """Return one row per bin, sample (and their ``total``) and variation; see ``tables.template_table``."""
        from shiftlab.templates.tables import template_table

        return self._label(template_table(self))

    def yields(self) -> pd.DataFrame:
        """Return expected and simulated events per channel and sample; see ``tables.yield_table``."""
        from shiftlab.templates.tables import yield_table

        return self._label(yield_table(self))

    def decorrelated(self) -> Templates:
        """Return the same templates with an independent nuisance per channel, ``<nuisance>__<channel>``."""
        from shiftlab.templates.tables import decorrelate

        return decorrelate(self)

    def workspace(self, observation: str = "asimov") -> dict[str, Any]:
        """Return the pyhf workspace with one of the observations; see ``workspace.workspace``."""
        from shiftlab.templates.workspace import workspace

        return workspace(self, observation)

    def meta(self) -> dict[str, Any]:
        """Return the sidecar: what a pyhf workspace has no place for; see ``workspace.sidecar``."""
        from shiftlab.templates.workspace import sidecar

        return sidecar(self)

    def save(self, folder: Path) -> None:
        """Write ``workspace.json`` and ``workspace.meta.json`` into ``folder``; see ``workspace.save``."""
        from shiftlab.templates.workspace import save

        save(self, folder)
