"""Combinations of nuisances, composition and flux that label-free summaries can and cannot tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from shiftlab.bias.statistic import Floats

__all__ = ["UNKNOWN", "directions", "pairs"]

UNKNOWN: Final = 0.7
"""Posterior over prior standard deviation from which on a combination counts as not measured (half the variance)."""

_NAMED: Final = 0.25
"""Least coefficient, of a combination of length 1, that is written out."""


def directions(parameters: Sequence[str], covariance: Floats) -> pd.DataFrame:
    """Return the principal combinations of the parameters, the least known first.

    Args:
        parameters: Names of the parameters, all with unit-normal priors.
        covariance: (parameter, parameter), posterior.

    Returns:
        One row per combination: sigma (posterior standard deviation, prior 1), measured (bool) and its text.
    """
    values, vectors = np.linalg.eigh(covariance)
    rows = []
    for value, vector in zip(values[::-1], vectors.T[::-1], strict=True):
        sigma = float(np.sqrt(max(0.0, value)))
        rows.append((sigma, sigma < UNKNOWN, _words(parameters, vector)))
    return pd.DataFrame(rows, columns=["sigma", "measured", "combination"])


def pairs(parameters: Sequence[str], covariance: Floats, least: float = 0.5) -> pd.DataFrame:
    """Return pairs of parameters whose posterior correlation is at least ``least`` in size, the largest first."""
    sigma = np.sqrt(np.diag(covariance))
    rho = covariance / np.outer(sigma, sigma)
    first, second = np.triu_indices(len(parameters), k=1)
    order = np.argsort(-np.abs(rho[first, second]), kind="stable")
    rows = [
        (parameters[first[i]], parameters[second[i]], float(rho[first[i], second[i]]))
        for i in order
        if abs(rho[first[i], second[i]]) >= least
    ]
    return pd.DataFrame(rows, columns=["parameter_a", "parameter_b", "rho"])


def _words(parameters: Sequence[str], vector: Floats) -> str:
    """Return the combination in words, its largest coefficient positive."""
    largest = int(np.argmax(np.abs(vector)))
    signed = vector * np.sign(vector[largest])
    order = np.argsort(-np.abs(signed), kind="stable")
    named = [i for i in order if abs(signed[i]) >= _NAMED]
    return " ".join(f"{signed[i]:+.2f} {parameters[i]}" for i in named)
