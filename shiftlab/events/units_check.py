"""Whether energies look like GeV or MeV: files of tokens do not state it, and a mistake moves a logarithm by 6.91."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

__all__ = ["energy_reading"]

_LEAST_MEV: Final = 0.5
_MOST_GEV: Final = 130.0


def energy_reading(log_energy: Tensor, unit: str) -> str:
    """Return the median energy as declared and as it would be in the other unit, with a warning if it looks wrong.

    In MeV a median under 0.5 MeV is below any reconstructed cluster. In GeV one over 130 GeV is closer to jets in MeV
    than to the jets that OmniLearned's noise has as its mean, log(E/GeV) = 1.43: the middle is 1.43 + 6.91 / 2.

    Args:
        log_energy: (token,), natural logarithm of the energy in ``unit``.
        unit: MeV or GeV.
    """
    finite = log_energy[torch.isfinite(log_energy)]
    if len(finite) == 0:
        return "no tokens to judge by"
    median = float(finite.double().median())
    energy = math.exp(min(median, 700.0))
    other = "GeV" if unit == "MeV" else "MeV"
    text = f"median log E of the first {len(finite)} tokens is {median:.2f}: {energy:.4g} {unit} as declared"
    if (unit == "MeV" and energy < _LEAST_MEV) or (unit == "GeV" and energy > _MOST_GEV):
        return f"WARNING: {text}; it looks like {other} (ln 1000 = 6.91 apart)"
    return f"{text}; were it {other}, {energy:.4g} {other}"
