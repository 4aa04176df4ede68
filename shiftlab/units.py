"""Units (cm, us, kV/cm, MeV, electrons, g/cm3) and the constants that several rooms share."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ARGON_DENSITY",
    "ELECTRONS_PER_MEV",
    "MIP_DEDX",
    "PARTICLES",
    "SEMANTIC",
    "W_ION_EV",
]

W_ION_EV: Final = 23.6
"""Energy per ion pair in liquid argon, eV (Miyajima et al. 1974)."""

ELECTRONS_PER_MEV: Final = 1.0e6 / W_ION_EV
"""Electrons per MeV before recombination."""

MIP_DEDX: Final = 2.1
"""Reference dE/dx of a minimum-ionising muon in liquid argon, MeV/cm; calibration uses R at it."""

ARGON_DENSITY: Final = 1.396
"""Liquid-argon density, g/cm3 (boiling point at 1 atm; the value of the recombination oracles)."""

SEMANTIC: Final = ("shower", "track", "michel", "delta", "low_energy")
"""Semantic classes in PILArNet's numbering, 0 to 4."""

PARTICLES: Final = ("gamma", "electron", "muon", "pion", "proton", "other")
"""Particle ids in PILArNet's numbering, 0 to 4; 5 is everything else."""
