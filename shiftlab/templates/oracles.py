"""Tables of paired and universe statistics, from the definitions of other analyses, that our own formulas must meet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from shiftlab.bias.bootstrap import poisson_weights
from shiftlab.bias.covariance import second_moments
from shiftlab.detector import Oracle, numbers
from shiftlab.templates.histogram import Shift, shift, vertex_histogram
from shiftlab.templates.variations import Variation

__all__ = ["STATISTICAL_ORACLES", "PairedStatistics", "UniverseCovariance"]

Floats = npt.NDArray[np.float64]
Table = Mapping[str, npt.NDArray[np.str_]]

_REPLICAS: Final = 2000


class PairedStatistics(Oracle):
    """Error of a shift where shifted and nominal use the same events: 20,000 draws x ~ Exp(1), moved to 1.02 x."""

    name: ClassVar[str] = "paired_statistics"
    inputs: ClassVar[tuple[str, ...]] = ("lo", "hi")
    expected: ClassVar[Mapping[str, tuple[float, float]]] = {
        **dict.fromkeys(("N_nom", "N_shift", "delta"), (0.0, 1e-9)),
        **dict.fromkeys(("paired_sigma", "unpaired_sigma"), (0.0, 5e-5)),  # four decimals in the table
        "bootstrap_sigma": (0.12, 0.0),  # both from 2000 replicas, 1.6% each, of few migrating events
    }

    def compute(self, table: Table) -> Mapping[str, Floats]:
        """Fill the bins of the table with the draws that its header names."""
        x = np.random.default_rng(20240701).exponential(size=20_000)
        edges = np.append(numbers(table["lo"]), numbers(table["hi"])[-1])
        vertex = np.arange(len(x), dtype=np.int64)
        nominal, shifted = (_histogram(one, edges, vertex) for one in (x, 1.02 * x))
        moved: Shift = shift(nominal, shifted, shifted, Variation("scale", "scale", 1, 1, 0, 1))
        weights = poisson_weights(vertex, range(_REPLICAS), 0)
        counts, others = nominal.sum(axis=0), shifted.sum(axis=0)
        return {
            "N_nom": counts,
            "N_shift": others,
            "delta": moved.up,
            "paired_sigma": np.sqrt(np.diag(moved.covariance[0, :, 0])),
            "unpaired_sigma": np.sqrt(counts + others),
            "bootstrap_sigma": (weights @ (shifted - nominal)).std(axis=0, ddof=1),
        }


def _histogram(x: Floats, edges: Floats, vertex: npt.NDArray[np.int64]) -> Floats:
    """Return float64 (vertex, bin) of one event each; what lies beyond the last edge is in no bin."""
    number = np.searchsorted(edges, x, side="right") - 1
    inside = (number >= 0) & (number < len(edges) - 1)
    return vertex_histogram(vertex, np.where(inside, number, 0), inside.astype(np.float64), len(edges) - 1)


class UniverseCovariance(Oracle):
    """Moments of a pair of universes about their mean and about the central value (MAT, MnvVertErrorBand)."""

    name: ClassVar[str] = "universe_covariance"
    inputs: ClassVar[tuple[str, ...]] = ("case", "i", "j")
    expected: ClassVar[Mapping[str, tuple[float, float]]] = {
        "cov_about_mean": (1e-12, 1e-12),
        "cov_about_cv": (1e-12, 1e-12),
    }

    central: ClassVar[tuple[float, ...]] = (100.0, 200.0, 50.0, 10.0)
    pairs: ClassVar[Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]] = {
        "symmetric": ((110.0, 190.0, 50.0, 12.0), (90.0, 210.0, 50.0, 8.0)),
        "asymmetric": ((110.0, 190.0, 55.0, 12.0), (95.0, 198.0, 50.0, 9.0)),
        "one_sided_both_up": ((110.0, 210.0, 55.0, 12.0), (104.0, 202.0, 51.0, 11.0)),
    }

    def compute(self, table: Table) -> Mapping[str, Floats]:
        """Return both moments of the pairs that the table's header gives."""
        moments = {
            case: second_moments(np.array(pair) - np.array(self.central)[None]) for case, pair in self.pairs.items()
        }
        rows = list(zip(table["case"], table["i"].astype(np.int64), table["j"].astype(np.int64), strict=True))
        found = [(moments[str(case)][0][i, j], moments[str(case)][1][i, j]) for case, i, j in rows]
        about_nominal, about_mean = np.array(found, dtype=np.float64).T
        return {"cov_about_mean": about_mean, "cov_about_cv": about_nominal}


STATISTICAL_ORACLES: Final[tuple[type[Oracle], ...]] = (PairedStatistics, UniverseCovariance)
"""Tables that some statistical formula of ours must meet."""
