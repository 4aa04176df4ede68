"""What starts each event: primaries of neutrino vertices, composed topologies and particle guns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import ConfigError, UnknownNameError
from shiftlab.events.keys import identities, random_generator
from shiftlab.events.simulation.recipe import Recipe
from shiftlab.events.simulation.topologies import TOPOLOGIES, UNIFORMS, compose_topologies
from shiftlab.events.simulation.truth import truth_columns
from shiftlab.events.simulation.vertices import Vertices, load_vertices

__all__ = ["BLOCK", "GUNS", "KINDS", "Composition", "compose", "compose_batch", "gun", "vertex_composition"]

Primaries = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]

BLOCK = 100
"""Events that share one stream of random numbers; a batch may begin and end anywhere."""

NEUTRINO_KINDS = {"numu_cc": 14, "nue_cc": 12, "photon_protons": 12}
"""Kinds that use generator vertices, and the neutrino that they need."""

GUNS: dict[str, tuple[tuple[int, float, float], ...]] = {
    "single_electron": ((11, 50.0, 800.0),),
    "single_gamma": ((22, 50.0, 800.0),),
    "single_muon": ((13, 50.0, 800.0), (-13, 50.0, 800.0)),
    "single_pion": ((211, 50.0, 400.0), (-211, 50.0, 400.0)),
    "single_proton": ((2212, 50.0, 400.0),),
    "multi_particle": (
        (11, 50.0, 800.0),
        (22, 50.0, 800.0),
        (13, 50.0, 800.0),
        (-13, 50.0, 800.0),
        (211, 50.0, 400.0),
        (-211, 50.0, 400.0),
        (2212, 50.0, 400.0),
    ),
    "calibration_muon": ((13, 300.0, 1500.0),),
}
"""Particle guns: (PDG code, lowest, highest kinetic energy in MeV), drawn with equal chances."""

KINDS = (*NEUTRINO_KINDS, *GUNS)
"""All sample names."""

_EM_CLASS = {
    "nue_cc": 1.0,
    "nue_cc_0pi": 1.0,
    "single_electron": 1.0,
    "photon_protons": 0.0,
    "photon_0pi": 0.0,
    "single_gamma": 0.0,
}
_ELECTRON_MASS = 0.51099895  # MeV, PDG


@dataclass(frozen=True)
class Composition:
    """Primaries of events, and what is true of each event.

    Attributes:
        kind: name of each event's kind, a tuple of str (event,).
        vertex: int64 (event,), vertex uid.
        weight: float64 (event,).
        neutrino_pdg: float64 (event,), 0 where no neutrino made the event.
        neutrino_energy: float64 (event,), MeV, NaN where no neutrino made the event.
        event: int64 (primary,), event index of each primary, ascending.
        pdg: int64 (primary,).
        kinetic: float64 (primary,), MeV.
        direction: float64 (primary, 3), unit vectors in the detector's frame.
        truth: float64 (event,) by name, units and names as in ``truth.TRUTH_COLUMNS``; may be empty.
    """

    kind: tuple[str, ...]
    vertex: NDArray[np.int64]
    weight: NDArray[np.float64]
    neutrino_pdg: NDArray[np.float64]
    neutrino_energy: NDArray[np.float64]
    event: NDArray[np.int64]
    pdg: NDArray[np.int64]
    kinetic: NDArray[np.float64]
    direction: NDArray[np.float64]
    truth: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.vertex)

    @property
    def em_class(self) -> NDArray[np.float64]:
        """float64 (event,): 0 photon, 1 electron, NaN where neither defines the event."""
        return np.array([_EM_CLASS.get(kind, np.nan) for kind in self.kind], dtype=np.float64)

    def batch(self, start: int, stop: int) -> Composition:
        """Return the events ``start`` to ``stop``, their indices counted from 0."""
        rows = (self.event >= start) & (self.event < stop)
        return Composition(
            self.kind[start:stop],
            self.vertex[start:stop],
            self.weight[start:stop],
            self.neutrino_pdg[start:stop],
            self.neutrino_energy[start:stop],
            self.event[rows] - start,
            self.pdg[rows],
            self.kinetic[rows],
            self.direction[rows],
            {name: column[start:stop] for name, column in self.truth.items()},
        )


def compose(kind: str, count: int, sample: str, vertices: Vertices | None = None) -> Composition:
    """Return ``count`` events of a kind; the sample's name fixes every random number.

    Raises:
        UnknownNameError: no such kind.
        ConfigError: too few vertices.
    """
    if kind in GUNS:
        return gun(kind, count, sample)
    if kind not in NEUTRINO_KINDS:
        raise UnknownNameError("kind of event", kind, KINDS)
    if vertices is None or len(vertices) < count:
        have = 0 if vertices is None else len(vertices)
        raise ConfigError(f"{kind}: {count} events wanted, but only {have} vertices given.")
    return vertex_composition(kind, vertices.take(np.arange(count)))


def gun(kind: str, count: int, sample: str) -> Composition:
    """Return particle-gun events: uniform kinetic energy, isotropic; 2 to 5 particles if ``multi_particle``."""
    event, pdg, kinetic, direction = _shoot(kind, count, random_generator(sample, kind, "gun"))
    return Composition(
        kind=(kind,) * count,
        vertex=identities(f"{sample}/{kind}", range(count)),
        weight=np.ones(count),
        neutrino_pdg=np.zeros(count),
        neutrino_energy=np.full(count, np.nan),
        event=event,
        pdg=pdg,
        kinetic=kinetic,
        direction=direction,
    )


def _shoot(kind: str, count: int, generator: np.random.Generator) -> Primaries:
    number = generator.integers(2, 6, count) if kind == "multi_particle" else np.ones(count, dtype=np.int64)
    event = np.repeat(np.arange(count), number)
    menu = np.array(GUNS[kind])
    chosen = menu[generator.integers(0, len(menu), len(event))]
    cosine = generator.uniform(-1.0, 1.0, len(event))
    azimuth = generator.uniform(0.0, 2.0 * np.pi, len(event))
    sine = np.sqrt(1.0 - cosine**2)
    kinetic = generator.uniform(chosen[:, 1], chosen[:, 2])
    direction = np.column_stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine])
    return event, chosen[:, 0].astype(np.int64), kinetic, direction


def vertex_composition(kind: str, vertices: Vertices) -> Composition:
    """Return one event per generator vertex.

    For ``photon_protons`` the electron becomes a photon of the same total energy (kinetic plus the true
    mass) and direction; nothing else changes. Such an event was made by no neutrino: its neutrino columns say so.
    """
    wanted = NEUTRINO_KINDS[kind]
    wrong = np.flatnonzero(vertices.neutrino_pdg != wanted)
    if len(wrong):
        raise ConfigError(
            f"{kind} needs vertices of PDG {wanted}; vertex {wrong[0]} has {vertices.neutrino_pdg[wrong[0]]}."
        )
    return replace(_joined([kind], np.zeros(len(vertices), dtype=np.int64), vertices), truth={})


def compose_batch(recipe: Recipe, seed: int, start: int, stop: int) -> Composition:
    """Return the events ``start`` to ``stop`` of a recipe, their indices counted from 0, with all truth columns.

    Event n depends on the recipe, the seed and n alone: blocks of BLOCK events, which do not move with the
    batch, have random streams of their own.

    Raises:
        UnknownNameError: a kind that the recipe's composer does not know.
        ConfigError: an event beyond the recipe's numbers or vertices.
        DataError: the file of vertices cannot be read.
    """
    allowed = {"topologies": tuple(TOPOLOGIES), "particles": tuple(GUNS), "vertices": tuple(NEUTRINO_KINDS)}
    for name in recipe.kinds:
        if name not in allowed[recipe.composer]:
            raise UnknownNameError(
                f"kind of event for the composer '{recipe.composer}'", name, allowed[recipe.composer]
            )
    if not 0 <= start <= stop:
        raise ConfigError(f"events {start} to {stop} are wanted; 0 <= start <= stop is allowed.")
    if recipe.composer == "vertices":
        return _from_vertices(recipe, start, stop)
    if recipe.counted and stop > sum(recipe.kinds.values()):
        raise ConfigError(f"{stop} events wanted; events.kinds gives {sum(recipe.kinds.values())} of {recipe.dataset}.")
    first = start // BLOCK
    last = max(first + 1, -(-stop // BLOCK))
    whole = (
        _composed(recipe, seed, first, last) if recipe.composer == "topologies" else _guns(recipe, seed, first, last)
    )
    return whole.batch(start - first * BLOCK, stop - first * BLOCK)


def _composed(recipe: Recipe, seed: int, first: int, last: int) -> Composition:
    """Return the events of whole blocks of a recipe of topologies."""
    uniform = _uniform(recipe, seed, "topologies", first, last, UNIFORMS)
    kind = _kinds(recipe, seed, first, last)
    names = tuple(recipe.kinds)
    topologies = [TOPOLOGIES[name] for name in names]
    primaries, energy = compose_topologies(topologies, kind, uniform, recipe)
    neutrino = np.array([one.neutrino for one in topologies], dtype=np.float64)[kind]
    current = np.array([one.current for one in topologies], dtype=np.float64)[kind]
    energy = np.where(neutrino != 0, energy, np.nan)
    return _finished(recipe, seed, first, last, kind, primaries, (neutrino, energy), current)


def _guns(recipe: Recipe, seed: int, first: int, last: int) -> Composition:
    """Return the events of whole blocks of a recipe of particle guns."""
    kind = _kinds(recipe, seed, first, last)
    parts = []
    for block in range(last - first):
        mine = kind[block * BLOCK : (block + 1) * BLOCK]
        for number, name in enumerate(recipe.kinds):
            generator = random_generator(recipe.dataset, seed, name, first + block)
            event, *rest = _shoot(name, BLOCK, generator)
            rows = mine[event] == number
            parts.append((event[rows] + block * BLOCK, *(column[rows] for column in rest)))
    event, pdg, kinetic, direction = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(event, kind="stable")
    primaries = event[order], pdg[order], kinetic[order], direction[order]
    none = np.full(len(kind), np.nan)
    return _finished(recipe, seed, first, last, kind, primaries, (np.zeros(len(kind)), none), none)


def _finished(
    recipe: Recipe,
    seed: int,
    first: int,
    last: int,
    kind: NDArray[np.int64],
    primaries: Primaries,
    neutrino: tuple[NDArray[np.float64], NDArray[np.float64]],
    current: NDArray[np.float64],
) -> Composition:
    names = tuple(recipe.kinds)
    composed = np.full(len(kind), float(recipe.composer == "topologies"))
    uid = identities(f"{recipe.dataset}/{seed}", range(first * BLOCK, last * BLOCK))
    truth = truth_columns(len(kind), primaries, neutrino, current, composed)
    weight = np.ones(len(kind))
    return _composition(tuple(names[i] for i in kind), uid, weight, neutrino, primaries, truth)


def _composition(
    kind: tuple[str, ...],
    uid: NDArray[np.int64],
    weight: NDArray[np.float64],
    neutrino: tuple[NDArray[np.float64], NDArray[np.float64]],
    primaries: Primaries,
    truth: Mapping[str, NDArray[np.float64]],
) -> Composition:
    event, pdg, kinetic, direction = primaries
    return Composition(kind, uid, weight, neutrino[0], neutrino[1], event, pdg, kinetic, direction, truth)


def _uniform(recipe: Recipe, seed: int, purpose: str, first: int, last: int, width: int) -> NDArray[np.float64]:
    """Return float64 (event, width): the uniform numbers of whole blocks."""
    blocks = [
        random_generator(recipe.dataset, seed, purpose, block).random((BLOCK, width)) for block in range(first, last)
    ]
    return np.concatenate(blocks) if blocks else np.zeros((0, width))


def _kinds(recipe: Recipe, seed: int, first: int, last: int) -> NDArray[np.int64]:
    """Return int64 (event,): the place in ``recipe.kinds`` of each event of whole blocks."""
    values = np.array(list(recipe.kinds.values()))
    if not recipe.counted:
        uniform = _uniform(recipe, seed, "kinds", first, last, 1)[:, 0]
        return np.searchsorted(np.cumsum(values)[:-1], uniform, side="right").astype(np.int64)
    kind = _spread(tuple(int(value) for value in values))[first * BLOCK : last * BLOCK]
    return np.pad(kind, (0, (last - first) * BLOCK - len(kind)))  # the last block is made whole, and cut again


@lru_cache(maxsize=8)
def _spread(counts: tuple[int, ...]) -> NDArray[np.int64]:
    """Return int64 (event,): kinds with these counts, each spread evenly over the sample."""
    kind = np.repeat(np.arange(len(counts)), counts)
    place = np.concatenate([(np.arange(count) + 0.5) / max(count, 1) for count in counts])
    return kind[np.argsort(place, kind="stable")]


@lru_cache(maxsize=4)
def _loaded(path: Path, changed: int) -> Vertices:
    return load_vertices(path)


def _from_vertices(recipe: Recipe, start: int, stop: int) -> Composition:
    """Return events that begin at generator vertices; kinds of one neutrino share its vertices, none twice."""
    path = recipe.vertices
    assert path is not None
    vertices = _loaded(path, path.stat().st_mtime_ns if path.exists() else 0)
    pools = {pdg: np.flatnonzero(vertices.neutrino_pdg == pdg) for pdg in (12, 14)}
    counts, rows = [], []
    for name, wanted in recipe.kinds.items():
        pool = pools[NEUTRINO_KINDS[name]]
        count = len(pool) if wanted < 0 else int(wanted)
        if count > len(pool):
            raise ConfigError(f"events.kinds.{name}: {count} vertices wanted, {path} has {len(pool)} left for it.")
        counts.append(count)
        rows.append(pool[:count])
        pools[NEUTRINO_KINDS[name]] = pool[count:]
    kind = _spread(tuple(counts))
    if stop > len(kind) * recipe.rethrows:
        raise ConfigError(
            f"{stop} events wanted, but {path} gives {len(kind)}, each thrown {recipe.rethrows} time(s); "
            "events.rethrows=N throws each N times."
        )
    taken = np.arange(start, stop) % max(len(kind), 1)
    within = np.zeros(len(kind), dtype=np.int64)
    for number, mine in enumerate(rows):
        within[kind == number] = mine
    return _joined(list(recipe.kinds), kind[taken], vertices.take(within[taken]))


def _joined(names: list[str], kind: NDArray[np.int64], vertices: Vertices) -> Composition:
    """Return one event per vertex, each of its own kind."""
    count = len(kind)
    event = np.repeat(np.arange(count), np.diff(vertices.offsets))
    swap = np.array([name == "photon_protons" for name in names], dtype=bool)[kind]
    swapped = (vertices.pdg == 11) & swap[event]
    size = np.linalg.norm(vertices.momentum, axis=1, keepdims=True)
    primaries = (
        event,
        np.where(swapped, 22, vertices.pdg),
        np.where(swapped, vertices.kinetic + _ELECTRON_MASS, vertices.kinetic),
        vertices.momentum / np.maximum(size, 1e-12),
    )
    neutrino = (
        np.where(swap, 0.0, vertices.neutrino_pdg.astype(np.float64)),
        np.where(swap, np.nan, vertices.neutrino_energy),
    )
    truth = truth_columns(count, primaries, neutrino, np.where(swap, np.nan, 1.0), swap.astype(np.float64))
    names_of = tuple(names[i] for i in kind)
    return _composition(names_of, vertices.uid, vertices.weight, neutrino, primaries, truth)
