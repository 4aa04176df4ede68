"""A made-up detector with known responses: events, label-free columns and two tasks, in any universe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from shiftlab.bias.bootstrap import poisson_weights
from shiftlab.bias.covariance import Part, odd_even
from shiftlab.bias.design import Design
from shiftlab.bias.placement import (
    Library,
    Model,
    Placement,
    build_library,
    build_model,
    choose_summaries,
    locate,
    observe,
)

Floats = npt.NDArray[np.float64]

NUISANCES = ("gain", "lifetime", "noise", "threshold")
TASKS = ("energy", "score")
SAMPLES = ("nue", "numu")


@dataclass(frozen=True)
class Events:
    """Truth and random numbers of events, the same in every universe.

    Attributes:
        energy: (event,), true neutrino energy in GeV.
        drift: (event,), drift distance over the longest.
        sample: (event,), 0 or 1.
        noise: (3, event), standard normals.
        unknown: (event,), of an effect that no catalogue holds.
    """

    energy: Floats
    drift: Floats
    sample: npt.NDArray[np.int64]
    noise: Floats
    unknown: Floats


@dataclass(frozen=True)
class World:
    """Charge, voxel count and a feature of events; gain, lifetime, noise and threshold move them.

    Attributes:
        even: Size of the even response of the feature to ``noise``, over its odd one.
        degenerate: ``threshold`` acts as the gain does, so that the two cannot be told apart.
    """

    even: float = 0.1
    degenerate: bool = False

    def events(self, number: int, rng: np.random.Generator, tilt: float = 0.0, share: float = 0.5) -> Events:
        """Return events; at ``tilt`` t they follow the flux of weight 1 + t g(E)."""
        sample = (rng.random(4 * number) > share).astype(np.int64)
        energy = rng.gamma(4.0, 0.25, 4 * number) + 0.2 * sample
        keep = rng.random(4 * number) < (1.0 + tilt * self.tilt(energy)) / 2.0
        chosen = np.flatnonzero(keep)[:number]
        size = len(chosen)
        drift, unknown = rng.random(size), rng.standard_normal(size)
        return Events(energy[chosen], drift, sample[chosen], rng.standard_normal((3, size)), unknown)

    def tilt(self, energy: Floats) -> Floats:
        """Return g(E) of the flux mode, at most 0.3 in size."""
        return np.asarray(np.clip(0.25 * (energy - 1.1), -0.3, 0.3))

    def columns(self, events: Events, z: Mapping[str, float], outside: float = 0.0) -> dict[str, Floats]:
        """Return the label-free columns (event,) in the universe ``z``, with so much of the unknown effect."""
        at = {name: z.get(name, 0.0) for name in NUISANCES}
        charge = events.energy * np.exp(0.08 * events.noise[0])
        charge = charge * (1.0 + 0.04 * at["gain"] + 0.06 * at["lifetime"] * (1.0 - events.drift))
        charge = charge * (1.0 + 0.04 * at["threshold"] * self.degenerate)
        count = 100.0 * events.energy + 8.0 * events.noise[1]
        count = count * (1.0 + 0.05 * at["threshold"] * (not self.degenerate))
        feature = 1.2 * events.sample + 0.7 * events.noise[2] + 0.2 * (at["noise"] + self.even * at["noise"] ** 2)
        feature = feature + 0.5 * outside * np.maximum(events.unknown, 0.0)
        charge = charge * (1.0 + 0.05 * outside * (events.unknown > 1.0))
        return {"charge": charge, "count": np.round(count), "feature": feature}

    def outputs(self, events: Events, z: Mapping[str, float], outside: float = 0.0) -> Floats:
        """Return the two tasks' per-event outputs whose means are biased, (task, event)."""
        columns = self.columns(events, z, outside)
        return np.stack([columns["charge"] / events.energy - 1.0, columns["feature"]])

    def bias(self, z: Mapping[str, float], outside: float = 0.0) -> Floats:
        """Return the true bias of the two tasks, (task,), of infinitely many events."""
        at = {name: z.get(name, 0.0) for name in NUISANCES}
        scale = 0.04 * at["gain"] + 0.03 * at["lifetime"] + 0.04 * at["threshold"] * self.degenerate
        tail = 0.15865525393145707 * 0.05 * outside
        energy = np.exp(0.08**2 / 2.0) * (scale + tail + scale * tail)
        score = 0.2 * (at["noise"] + self.even * at["noise"] ** 2) + 0.5 * outside / np.sqrt(2.0 * np.pi)
        return np.array([energy, score])

    def design(self, joint: Mapping[str, Mapping[str, float]] | None = None) -> Design:
        """Return nominal, the one-sigma universes and joint ones."""
        rows: list[tuple[str, str, dict[str, float]]] = [("nominal", "nominal", {})]
        rows += [(f"{name}{sign:+d}", "unisim", {name: float(sign)}) for name in NUISANCES for sign in (1, -1)]
        rows += [(name, "multisim", dict(z)) for name, z in (joint or {}).items()]
        return Design(
            names=tuple(name for name, _, _ in rows),
            group=tuple(group for _, group, _ in rows),
            throw=np.zeros(len(rows), dtype=np.int64),
            recalibrate=("none",) * len(rows),
            nuisances=NUISANCES,
            value=np.array([[z.get(name, 0.0) for name in NUISANCES] for _, _, z in rows]),
        )

    def universes(self, events: Events, design: Design) -> dict[str, Floats]:
        """Return the columns in every universe of the design, (universe, event)."""
        found = [self.columns(events, dict(zip(NUISANCES, row, strict=True))) for row in design.value.tolist()]
        return {name: np.stack([one[name] for one in found]) for name in found[0]}

    def library(self, events: Events, *, bins: int = 5, centre: Floats | None = None) -> Library:
        """Return the simulation made of these events."""
        design = self.design()
        columns = self.universes(events, design)
        return build_library(
            columns,
            design,
            choose_summaries({name: values[0] for name, values in columns.items()}, bins=bins),
            vertex=np.arange(len(events.energy)),
            sample=[SAMPLES[i] for i in events.sample],
            modes={"tilt": self.tilt(events.energy)},
            centre=centre,
        )

    def parts(self, events: Events, replicas: int = 50) -> tuple[Part, ...]:
        """Return the tasks' responses, measured on these events."""
        design = self.design()
        outputs = np.stack([self.outputs(events, dict(zip(NUISANCES, row, strict=True))) for row in design.value])
        weights = poisson_weights(np.arange(len(events.energy)), range(replicas + 1), 0)
        weights[0] = 1.0
        shift = np.einsum("re,ute->rut", weights, outputs - outputs[:1]) / weights.sum(axis=1)[:, None, None]
        return odd_even(shift, design.terms("none"))

    def data(
        self,
        rng: np.random.Generator,
        z: Mapping[str, float],
        *,
        events: float = 2000.0,
        composition: tuple[float, float] = (0.0, 0.0),
        tilt: float = 0.0,
        outside: float = 0.0,
    ) -> dict[str, Floats]:
        """Return the columns of Poisson data: half of ``events`` expected per sample, times exp(0.2 composition)."""
        found = []
        for number, log in enumerate(composition):
            twice = self.events(rng.poisson(events * np.exp(0.2 * log)), rng, share=1.0 - number)
            keep = rng.random(len(twice.energy)) < (1.0 + tilt * self.tilt(twice.energy)) / 2.0
            columns = self.columns(twice, z, outside)
            found.append({name: values[keep] for name, values in columns.items()})
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}

    def model(self, library: Library, observed: Floats, events: float = 2000.0, float_modes: bool = True) -> Model:
        """Return the model of ``data`` of so many expected events, with the composition free within 20%."""
        exposure = dict.fromkeys(SAMPLES, events / 2.0)
        return build_model(library, observed=observed, exposure=exposure, composition=0.2, float_modes=float_modes)

    def placed(
        self, simulation: Events, columns: Mapping[str, Floats], events: float = 2000.0, seed: int = 0, rounds: int = 2
    ) -> Placement:
        """Place data with the composition and the flux floating; p-value from the chi2 law."""
        design = self.design()
        simulated = self.universes(simulation, design)
        summaries = choose_summaries({name: values[0] for name, values in simulated.items()}, bins=5)
        sample = observe(summaries, columns)
        return locate(
            lambda centre: build_library(
                simulated,
                design,
                summaries,
                vertex=np.arange(len(simulation.energy)),
                sample=[SAMPLES[i] for i in simulation.sample],
                modes={"tilt": self.tilt(simulation.energy)},
                centre=centre,
            ),
            lambda library: self.model(library, sample, events),
            sample,
            parts=self.parts(simulation, replicas=20),
            tasks=TASKS,
            toys=0,
            seed=seed,
            rounds=rounds,
        )


@pytest.fixture(scope="session")
def world() -> World:
    """The made-up detector."""
    return World()


@pytest.fixture(scope="session")
def worlds() -> type[World]:
    """Made-up detectors of other even responses or degeneracy."""
    return World
