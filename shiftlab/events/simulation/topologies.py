"""Composed neutrino final states: one recipe of lepton and nucleons for every class, with pions on top."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shiftlab.events.simulation.recipe import Nucleons, Pions, Recipe
from shiftlab.events.simulation.spectra import MASS, Spectrum, choose, cosine, directions, leptonic

__all__ = ["TOPOLOGIES", "UNIFORMS", "Topology", "compose_topologies"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Topology:
    """What a class asks for.

    Attributes:
        neutrino: PDG code, 0 where no neutrino makes such an event.
        current: 1 charged, 2 neutral, NaN where there is no neutrino.
        lepton: PDG code of what leaves the leptonic side, 0 where it is an unseen neutrino.
        charged: least number of charged pions; exact below 2.
        neutral: the same of neutral pions; where there are charged pions, ``Pions.accompanied`` decides instead.
    """

    neutrino: int
    current: float
    lepton: int
    charged: int
    neutral: int


_HADRONS = {"0pi": (0, 0), "1pi": (1, 0), "npi": (2, 0), "1pi0": (0, 1), "npi0": (0, 2)}
_LEPTONS = {"numu_cc": (14, 1.0, 13), "nue_cc": (12, 1.0, 11), "nc": (14, 2.0, 0)}

TOPOLOGIES = {
    **{f"{one}_{two}": Topology(*a, *b) for one, a in _LEPTONS.items() for two, b in _HADRONS.items()},
    "photon_0pi": Topology(0, float("nan"), 22, 0, 0),
}
"""Kinds by name: flavour and current, then pions (``1pi``, ``npi``: charged). ``photon_0pi`` is ``nue_cc_0pi`` with a
photon of the electron's total energy and direction in the electron's place."""

_EXTRA = 4
_PIONS = 5
UNIFORMS = 3 + 3 + 2 + 2 * 3 * _EXTRA + (1 + 4 * _PIONS) + (1 + 3 * _PIONS)
"""Uniform numbers that one event takes, whatever its kind."""


class _Columns:
    """Hands out the columns of a table of uniform numbers, in order."""

    def __init__(self, uniform: Array) -> None:
        self._uniform = uniform
        self._next = 0

    def take(self, count: int) -> Array:
        """Return float64 (event, count)."""
        self._next += count
        return self._uniform[:, self._next - count : self._next]


@dataclass(frozen=True)
class _Slots:
    """Particles in a table (event, slot): code 0 where a slot is empty; kinetic energy, MeV; direction."""

    pdg: Whole
    kinetic: Array
    direction: Array


def compose_topologies(
    kinds: list[Topology], kind: Whole, uniform: Array, recipe: Recipe
) -> tuple[tuple[Whole, Whole, Array, Array], Array]:
    """Return the final states of events.

    Leptonic side and nucleons do not look at the class; pions are added to them, and the neutrino's energy is
    what all that adds up to: total energy of what leaves the leptonic side and of the pions, kinetic energy of
    the nucleons, and the removal energy of each. Nuclear remnants, charge and isospin are not balanced.

    Args:
        kinds: The topologies.
        kind: int64 (event,), each event's place in ``kinds``.
        uniform: float64 (event, UNIFORMS) in [0, 1).
        recipe: A recipe of the composer ``topologies``.

    Returns:
        Event index, PDG code, kinetic energy (MeV) and direction of the primaries, and float64 (event,), the
        neutrino's energy in MeV.
    """
    assert recipe.lepton is not None
    assert recipe.nucleons is not None
    assert recipe.pions is not None
    columns = _Columns(uniform)
    total, direction, transfer = leptonic(columns.take(3), recipe.lepton)
    code = np.array([one.lepton for one in kinds], dtype=np.int64)[kind]
    lepton = _Slots(code[:, None], (total - _mass(code))[:, None], direction[:, None])
    nucleons = _nucleons(columns, transfer, recipe.nucleons)
    pions = _pions(columns, kinds, kind, recipe.pions)
    parts = (lepton, *nucleons, *pions)
    energy = (
        total
        + sum(np.where(part.pdg != 0, part.kinetic + recipe.nucleons.removal, 0.0).sum(axis=1) for part in nucleons)
        + sum(np.where(part.pdg != 0, part.kinetic + _mass(part.pdg), 0.0).sum(axis=1) for part in pions)
    )
    pdg = np.concatenate([part.pdg for part in parts], axis=1)
    event, slot = np.nonzero(pdg)
    kinetic = np.concatenate([part.kinetic for part in parts], axis=1)
    directed = np.concatenate([part.direction for part in parts], axis=1)
    return (event, pdg[event, slot], kinetic[event, slot], directed[event, slot]), energy


def _mass(pdg: Whole) -> Array:
    masses = np.zeros(pdg.shape)
    for code, mass in MASS.items():
        masses[np.abs(pdg) == code] = mass
    return masses


def _nucleons(columns: _Columns, transfer: Array, nucleons: Nucleons) -> tuple[_Slots, _Slots, _Slots]:
    """Return the nucleon that took the momentum transfer, further protons, further neutrons.

    Its momentum is the transfer plus a Fermi momentum, uniform in a sphere. Pauli blocking moves it outward by
    the filled sphere's volume, p -> (p^3 + p_F^3)^(1/3), which keeps its direction and its density in phase space.
    """
    inner = columns.take(3)
    moved = (nucleons.fermi * np.cbrt(inner[:, 0]))[:, None] * directions(2.0 * inner[:, 1] - 1.0, inner[:, 2])
    vector = transfer + moved
    size = np.sqrt((vector**2).sum(axis=1))
    momentum = np.cbrt(size**3 + nucleons.fermi**3)
    counts = columns.take(2)
    protons, neutrons = choose(counts[:, 0], nucleons.protons), choose(counts[:, 1], nucleons.neutrons)
    code = np.where(protons > 0, 2212, 2112)
    mass = _mass(code)
    kinetic = np.sqrt(momentum**2 + mass**2) - mass
    leading = _Slots(code[:, None], kinetic[:, None], (vector / np.maximum(size, 1e-12)[:, None])[:, None])
    further = _particles(columns, 2212, protons - 1, _EXTRA, nucleons.proton)
    return leading, further, _particles(columns, 2112, neutrons, _EXTRA, nucleons.neutron)


def _particles(columns: _Columns, code: int, number: Whole, slots: int, spectrum: Spectrum) -> _Slots:
    """Return ``number`` particles of each event in ``slots`` places; energy is drawn for those that exist only."""
    uniform = columns.take(3 * slots)
    there = np.arange(slots) < number[:, None]
    kinetic = np.zeros(there.shape)
    kinetic[there] = spectrum.kinetic(uniform[:, :slots][there])
    cosines = cosine(uniform[:, slots : 2 * slots], spectrum.slope)
    return _Slots(np.where(there, code, 0), kinetic, directions(cosines, uniform[:, 2 * slots :]))


def _pions(columns: _Columns, kinds: list[Topology], kind: Whole, pions: Pions) -> tuple[_Slots, _Slots]:
    charged = np.array([one.charged for one in kinds], dtype=np.int64)[kind]
    neutral = np.array([one.neutral for one in kinds], dtype=np.int64)[kind]
    current = np.array([one.current for one in kinds])[kind]
    uniform, sign = columns.take(1)[:, 0], columns.take(_PIONS)
    first = _particles(columns, 211, _number(charged, uniform, pions), _PIONS, pions.charged)
    chance = np.where(current == 2, pions.negative_neutral_current, pions.negative)
    first = _Slots(np.where(sign < chance[:, None], -first.pdg, first.pdg), first.kinetic, first.direction)
    uniform = columns.take(1)[:, 0]
    beside = (uniform < pions.accompanied).astype(np.int64)
    number = np.where(charged > 0, beside, _number(neutral, uniform, pions))
    return first, _particles(columns, 111, number, _PIONS, pions.neutral)


def _number(least: Whole, uniform: Array, pions: Pions) -> Whole:
    """Return the number of pions: exact below 2, else geometric from 2 to ``most``."""
    several = 2 + choose(uniform, tuple(pions.ratio**i for i in range(pions.most - 1)))
    return np.where(least < 2, least, several)
