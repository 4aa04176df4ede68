"""True quantities of each simulated event, counted from its primaries: multiplicities, available energy, class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shiftlab.events.simulation.spectra import MASS

__all__ = ["TOPOLOGY_CLASSES", "TRUTH_COLUMNS", "truth_columns"]

Array = NDArray[np.float64]

TRUTH_COLUMNS = {
    "neutrino_energy": "MeV",
    "neutrino_pdg": "1",
    "current": "1",
    "lepton_kinetic": "MeV",
    "lepton_angle": "rad",
    "n_proton": "1",
    "n_neutron": "1",
    "n_pi_plus": "1",
    "n_pi_minus": "1",
    "n_pi_zero": "1",
    "available_energy": "MeV",
    "available_energy_with_muon": "MeV",
    "muon_momentum_x": "MeV",
    "muon_momentum_y": "MeV",
    "muon_momentum_z": "MeV",
    "topology_class": "1",
    "composed": "1",
}
"""Columns with their units. ``current`` is 1 charged, 2 neutral, NaN where no neutrino made the event, as in
``topology_class``; the lepton is the charged one of the neutrino's flavour, NaN where there is none; the muon's
momentum is NaN in events without one; ``composed`` is 1 where this package put the final state together."""

TOPOLOGY_CLASSES = ("cc_1pi", "cc_npi", "cc_1pi0", "cc_other", "nc")
"""Values 0 to 4 of ``topology_class``: CC with one charged pion; CC with several; CC with one neutral and no charged
pion; other CC; NC. The classes of arXiv:2604.12364 (``Pi_labels_v2`` of its code)."""

_TOTAL_ENERGY = (11, 22, 111, 211, 321)
_MUON = 13


def truth_columns(
    count: int,
    primaries: tuple[NDArray[np.int64], NDArray[np.int64], Array, Array],
    neutrino: tuple[Array, Array],
    current: Array,
    composed: Array,
) -> dict[str, Array]:
    """Return the columns of TRUTH_COLUMNS, float64 (event,) each.

    The available energy is that of arXiv:2604.12364: kinetic energy of protons, total energy of charged and
    neutral pions, charged kaons, electrons and photons, all before any transport; neutrons and muons do not count.

    Args:
        count: Number of events.
        primaries: Event index, PDG code, kinetic energy (MeV), direction, as in ``Composition``.
        neutrino: PDG code (0 for none) and energy (MeV, NaN for none), (event,) each.
        current: (event,), 1, 2 or NaN.
        composed: (event,), 1 or 0.
    """
    event, pdg, kinetic, direction = primaries
    size = np.abs(pdg)

    def total(rows: NDArray[np.bool_], weights: Array | None = None) -> Array:
        chosen = None if weights is None else weights[rows]
        return np.bincount(event[rows], chosen, count).astype(np.float64)

    counts = {
        "n_proton": total(pdg == 2212),
        "n_neutron": total(pdg == 2112),
        "n_pi_plus": total(pdg == 211),
        "n_pi_minus": total(pdg == -211),
        "n_pi_zero": total(pdg == 111),
    }
    energy = kinetic + _masses(size)
    available = total(size == 2212, kinetic) + total(np.isin(size, _TOTAL_ENERGY), energy)
    lepton = (np.abs(neutrino[0])[event] - 1 == size) & (current[event] == 1)
    with np.errstate(invalid="ignore"):
        angle = np.arccos(np.clip(direction[:, 2], -1.0, 1.0))
    momentum = np.sqrt(kinetic * (kinetic + 2.0 * MASS[_MUON]))[:, None] * direction
    return {
        "neutrino_energy": neutrino[1],
        "neutrino_pdg": neutrino[0],
        "current": current,
        "lepton_kinetic": _only(event, lepton, kinetic, count),
        "lepton_angle": _only(event, lepton, angle, count),
        **counts,
        "available_energy": available,
        "available_energy_with_muon": available + total(size == _MUON, energy),
        **{f"muon_momentum_{axis}": _only(event, size == _MUON, momentum[:, i], count) for i, axis in enumerate("xyz")},
        "topology_class": _topology(current, counts),
        "composed": composed,
    }


def _masses(size: NDArray[np.int64]) -> Array:
    masses = np.zeros(len(size))
    for code, mass in MASS.items():
        masses[size == code] = mass
    return masses


def _only(event: NDArray[np.int64], rows: NDArray[np.bool_], values: Array, count: int) -> Array:
    """Return the value of each event's only such particle, NaN where it has none or several."""
    column = np.full(count, np.nan)
    column[event[rows]] = values[rows]
    column[np.bincount(event[rows], minlength=count) != 1] = np.nan
    return column


def _topology(current: Array, counts: dict[str, Array]) -> Array:
    charged = counts["n_pi_plus"] + counts["n_pi_minus"]
    classes = np.where(charged == 1, 0.0, np.where(charged > 1, 1.0, np.where(counts["n_pi_zero"] == 1, 2.0, 3.0)))
    return np.where(current == 1, classes, np.where(current == 2, 4.0, np.nan))
