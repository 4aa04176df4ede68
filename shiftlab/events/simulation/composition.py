"""What starts each event: primaries of neutrino vertices, composed topologies and particle guns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import ConfigError, UnknownNameError
from shiftlab.events.keys import identities, random_generator
from shiftlab.events.simulation.vertices import Vertices

__all__ = ["KINDS", "Composition", "compose", "gun", "vertex_composition"]

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
    generator = random_generator(sample, kind, "gun")
    number = generator.integers(2, 6, count) if kind == "multi_particle" else np.ones(count, dtype=np.int64)
    event = np.repeat(np.arange(count), number)
    menu = np.array(GUNS[kind])
    chosen = menu[generator.integers(0, len(menu), len(event))]
    cosine = generator.uniform(-1.0, 1.0, len(event))
    azimuth = generator.uniform(0.0, 2.0 * np.pi, len(event))
    sine = np.sqrt(1.0 - cosine**2)
    return Composition(
        kind=(kind,) * count,
        vertex=identities(f"{sample}/{kind}", range(count)),
        weight=np.ones(count),
        neutrino_pdg=np.zeros(count),
        neutrino_energy=np.full(count, np.nan),
        event=event,
        pdg=chosen[:, 0].astype(np.int64),
        kinetic=generator.uniform(chosen[:, 1], chosen[:, 2]),
        direction=np.column_stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine]),
    )


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
    composed = kind == "photon_protons"
    swapped = (vertices.pdg == 11) & composed
    size = np.linalg.norm(vertices.momentum, axis=1, keepdims=True)
    none = np.full(len(vertices), np.nan)
    return Composition(
        kind=(kind,) * len(vertices),
        vertex=vertices.uid,
        weight=vertices.weight,
        neutrino_pdg=np.zeros(len(vertices)) if composed else vertices.neutrino_pdg.astype(np.float64),
        neutrino_energy=none if composed else vertices.neutrino_energy,
        event=np.repeat(np.arange(len(vertices)), np.diff(vertices.offsets)),
        pdg=np.where(swapped, 22, vertices.pdg),
        kinetic=np.where(swapped, vertices.kinetic + _ELECTRON_MASS, vertices.kinetic),
        direction=vertices.momentum / np.maximum(size, 1e-12),
    )
