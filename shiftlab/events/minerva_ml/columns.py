"""Columns of the minerva-ml token format: names, units, kinds of token, and which entries the format leaves blank.

Source: DATASET.md and src/dataset/preprocessing.py of gregorkrz/minerva-ml (arXiv:2604.12364).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "COLUMNS",
    "FILE_COLUMNS",
    "GLOBALS",
    "GLOBAL_UNITS",
    "KINDS",
    "KIND_COLUMN",
    "MOST_TOKENS",
    "NO_DEDX",
    "TRUTH",
    "TRUTH_UNITS",
    "UNITS",
    "blank_globals",
    "blank_tokens",
    "stored_dedx",
]

COLUMNS: Final = ("eta", "phi", "log_pT", "log_E", "log_dEdx", "x", "y", "z", "t")
"""Features: pseudorapidity to the beam (clipped to +-10), azimuth, log(pT + 1e-6), log(E + 1e-6), log(|dE/dx| + 0.1)
(dE/dx capped at 100), place and time."""

UNITS: Final = ("1", "rad", "log(MeV)", "log(MeV)", "log(MeV/cm)", *("mm/10000",) * 3, "ns/10000")
"""Unit of each feature; that of dE/dx is the one that minerva-ml's event viewer prints."""

KIND_COLUMN: Final = 4
"""Column of the file's ``data`` that holds the kind; it becomes ``Tokens.particle``."""

FILE_COLUMNS: Final = (*COLUMNS[:KIND_COLUMN], "kind", *COLUMNS[KIND_COLUMN:])
"""Columns of the file's ``data``."""

KINDS: Final = ("muon", "photon", "blob", "prong_3", "prong_8", "prong_13", "blob_aggregate", "prong_aggregate")
"""Kinds 0 to 7. Prongs carry MINERvA's own hypothesis number (3, 8, 13), since minerva-ml gives it two meanings:
its DATASET.md says pion, shower, muon, while its pion counter takes 8 for the pion."""

MOST_TOKENS: Final = 33
"""1 muon, 2 photons, 20 blobs and 10 prongs, aggregates among them."""

GLOBALS: Final = (
    "log_muon_fuzz",
    "log_isolated_blobs",
    "log_hadron_recoil",
    "log_passive_recoil_inner",
    "log_passive_recoil_outer",
    "log_passive_recoil",
    "n_michel",
    "has_muon",
    "photon_pair_mass",
    "n_charged_pion_prongs",
    "log_E_blob",
    "log_E_prong_3",
    "log_E_prong_8",
    "log_E_prong_13",
    "log_E_blob_aggregate",
    "log_E_prong_aggregate",
)
"""Globals: log(E + 1e-5) three times, log(E/10000 + 1e-3) three times, counts, the mass of exactly two photons, and
log(sum of E + 1e-3) over the tokens of kinds 2 to 7."""

GLOBAL_UNITS: Final = (*("log(MeV)",) * 3, *("log(MeV/1e4)",) * 3, "1", "1", "MeV", "1", *("log(MeV)",) * 6)
"""Unit of each global."""

TRUTH: Final = (
    "neutrino_energy",
    "interaction_type",
    "neutrino_over_muon_energy",
    "current",
    "cc_pion_label_unusable",
    "n_pi_plus",
    "n_pi_minus",
    "is_multi_pion",
    "available_energy_with_muon",
    "available_energy",
    "n_pi_zero",
    "pion_px",
    "pion_py",
    "pion_pz",
    "pion_E",
)
"""Columns of ``truth_labels``. Column 4 was meant to be 1 for one pi+, 2 for one pi-; its code always overwrites the 1
with 0, so it says nothing of pi+."""

TRUTH_UNITS: Final = ("MeV", "1", "1", "1", "1", "1", "1", "1", "MeV", "MeV", "1", *("MeV",) * 4)
"""Unit of each column of ``truth_labels``; interaction type is GENIE's (1 QE, 2 RES, 3 DIS, 4 COH, 8 MEC), current 1 is
charged and 2 neutral."""

NO_DEDX: Final = float(np.log(np.float32(0.1)))
"""What log(|dE/dx| + 0.1) is where the reconstruction had none (-999, which minerva-ml makes 0)."""

_MUON, _PHOTON, _BLOB, _BLOB_AGGREGATE = 0, 1, 2, 6


def stored_dedx(particle: Tensor) -> Tensor:
    """Return float32 (token,): what the file holds for a token without dE/dx: 0 for muons and blobs, else NO_DEDX."""
    none = (particle == _MUON) | (particle == _BLOB) | (particle == _BLOB_AGGREGATE)
    return torch.where(none, torch.tensor(0.0), torch.tensor(NO_DEDX, dtype=torch.float32))


def blank_tokens(features: Tensor, particle: Tensor) -> Tensor:
    """Return bool (token, column): entries that stand for "no value".

    They are dE/dx of kinds that have none or where it was not measured, and the places of muons and photons.

    Args:
        features: float32 (token, column) as in the file, columns as COLUMNS.
        particle: int64 (token,), the kind.
    """
    blank = torch.zeros_like(features, dtype=torch.bool)
    dedx = COLUMNS.index("log_dEdx")
    blank[:, dedx] = features[:, dedx] == stored_dedx(particle)
    placeless = (particle == _MUON) | (particle == _PHOTON)
    for name in "xyz":
        column = COLUMNS.index(name)
        blank[:, column] = placeless & (features[:, column] == 0)
    return blank


def blank_globals(values: Tensor) -> Tensor:
    """Return bool (event, global): entries that stand for "no value": the mass 0 of a photon pair that is none."""
    blank = torch.zeros_like(values, dtype=torch.bool)
    mass = GLOBALS.index("photon_pair_mass")
    blank[:, mass] = values[:, mass] == 0
    return blank
