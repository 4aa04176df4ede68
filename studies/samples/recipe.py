"""What each sample is made of: counts, seeds and the names that fix every random number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["RECIPES", "VERTEX_RUNS", "Recipe", "VertexRun"]


@dataclass(frozen=True)
class Recipe:
    """One sample.

    Attributes:
        uid: Name of the sample; with the kind and the batch it seeds every random number.
        counts: Events of each kind.
    """

    uid: str
    counts: Mapping[str, int]

    def vertices(self, neutrino: str) -> int:
        """Return how many generator vertices of ``numu`` or ``nue`` the sample takes."""
        kinds = ("numu_cc",) if neutrino == "numu" else ("nue_cc", "photon_protons")
        return sum(self.counts[kind] for kind in kinds)


@dataclass(frozen=True)
class VertexRun:
    """One run of the generator Achilles.

    Attributes:
        card: Run card, as in the tables' folder.
        seed: Generator seed.
        events: Vertices asked for.
    """

    card: str
    seed: int
    events: int


VERTEX_RUNS = {
    "numu": VertexRun("run_numu_ar40_microboone.yml", 20261, 7000),
    "nue": VertexRun("run_nue_ar40_microboone.yml", 20262, 9000),
}
"""Charged-current quasi-elastic vertices on 40Ar, MicroBooNE's numu flux (its shape for nue, too)."""

RECIPES = {
    "evaluation": Recipe(
        uid="lar-evaluation-1",
        counts={
            "numu_cc": 1000,
            "nue_cc": 340,
            "photon_protons": 340,
            "single_electron": 80,
            "single_gamma": 80,
            "single_muon": 60,
            "single_pion": 60,
            "single_proton": 55,
            "multi_particle": 40,
            "calibration_muon": 60,
        },
    ),
    "training": Recipe(
        uid="lar-training-1",
        counts={
            "numu_cc": 4000,
            "nue_cc": 3000,
            "photon_protons": 3000,
            "single_electron": 1000,
            "single_gamma": 1000,
            "single_muon": 500,
            "single_pion": 500,
            "single_proton": 500,
            "multi_particle": 300,
        },
    ),
}
"""The evaluation sample ships; the training sample is made where it is wanted."""
