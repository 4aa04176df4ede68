"""Classifier two-sample test: how well trees tell shifted from nominal features, cross-fitted by vertex."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from shiftlab.bias.drift.paired import Features
from shiftlab.bias.statistic import Floats
from shiftlab.errors import ConfigError, DataError

__all__ = ["ENOUGH", "TwoSample", "two_sample"]

_SETTINGS: Final[dict[str, Any]] = {
    **{"objective": "binary", "num_leaves": 8, "learning_rate": 0.1, "min_data_in_leaf": 20, "verbose": -1},
    **{"deterministic": True, "force_row_wise": True, "num_threads": 1},
}
_TREES: Final = 60
_SHARED: Final = 2.0
"""Factor on the variance, as folds share what their trees have seen."""

_FEWEST: Final = 20
"""Fewest vertices in a fold."""

ENOUGH: Final = 5 * _FEWEST
"""Fewest vertices for the usual five folds."""


@dataclass(frozen=True)
class TwoSample:
    """Area under the ROC curve of shifted against nominal, mean over folds.

    Attributes:
        auc: 0.5 where the two cannot be told apart, and exactly so for equal features.
        error: Over vertices.
        low: Lower end of the interval.
        high: Upper end.
        p_value: One-sided, against 0.5; normal, and 1 without an error.
    """

    auc: float
    error: float
    low: float
    high: float
    p_value: float


def two_sample(features: Features, folds: int = 5, level: float = 0.6826894921370859, seed: int = 0) -> TwoSample:
    """Return how well boosted trees tell shifted from nominal features (Lopez-Paz and Oquab 2017, ICLR).

    A vertex is in one fold with all its events, nominal and shifted: trees that have seen one of a pair would know the
    other. Each fold is scored by trees of the other folds. The error is from the placements of each score among the
    other class (DeLong et al. 1988, Biometrics 44, 837), summed over the vertex since its scores are no independent
    draws. Folds are not independent either: the trees of one have seen the others. Without a shift that doubles the
    variance of the mean (for scores linear in what was seen: area f ~ D_f sum of D_g, g != f, D the difference of the
    two sides in a fold, so that each product is there twice), and so it is doubled here. Of 400 intervals for features
    without a shift 0.73 cover 0.5 at 68%, 0.965 at 95%; where the sides can be told apart they are more conservative.
    They are for these trees and not for the best classifier of all.

    Args:
        features: Of one layer.
        folds: 2 or more.
        level: Probability of the interval.
        seed: Of the folds and the trees.

    Raises:
        ConfigError: fewer than 2 folds.
        DataError: fewer than 20 vertices for each fold.
    """
    if folds < 2:
        raise ConfigError(f"folds = {folds} of the two-sample test; 2 or more are needed.")
    if features.vertices < _FEWEST * folds:
        raise DataError(
            f"layer '{features.layer}': {features.vertices} vertices are too few for {folds} folds; "
            f"{_FEWEST * folds} are needed."
        )
    fold = np.random.default_rng(seed).permutation(features.vertices)[features.vertex] % folds
    auc, variance = np.empty(folds), np.empty(folds)
    for which in range(folds):
        scores = _scores(features, fold == which, seed)
        auc[which], variance[which] = _area(*scores, features.vertex[fold == which])
    value, error = float(auc.mean()), float(np.sqrt(_SHARED * variance.sum()) / folds)
    reach = float(stats.norm.ppf(0.5 + level / 2.0)) * error
    p_value = float(stats.norm.sf((value - 0.5) / error)) if error > 0.0 else 1.0 if value <= 0.5 else 0.0
    return TwoSample(value, error, value - reach, value + reach, p_value)


def _scores(features: Features, held: npt.NDArray[np.bool_], seed: int) -> tuple[Floats, Floats]:
    """Return the scores of the held events, nominal and shifted, by trees of the others."""
    import lightgbm  # here: it is slow to load, and no other measure of drift needs it

    seen = np.concatenate([features.nominal[~held], features.shifted[~held]])
    label = np.repeat([0.0, 1.0], len(seen) // 2)
    trees = lightgbm.train({**_SETTINGS, "seed": seed}, lightgbm.Dataset(seen, label), _TREES)
    nominal, shifted = (
        np.asarray(trees.predict(side[held], num_threads=1), dtype=np.float64)
        for side in (features.nominal, features.shifted)
    )
    return nominal, shifted


def _area(nominal: Floats, shifted: Floats, vertex: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return the area under the curve and its variance over vertices."""
    above, below = _placement(shifted, nominal), _placement(nominal, shifted)
    area = float(above.mean())
    pull = np.concatenate([(above - area) / len(above), ((1.0 - below) - area) / len(below)])
    _, which = np.unique(np.concatenate([vertex, vertex]), return_inverse=True)
    sums = np.bincount(which, weights=pull)
    return area, float((sums**2).sum() * len(sums) / (len(sums) - 1.0))


def _placement(values: Floats, among: Floats) -> Floats:
    """Return the share of ``among`` that each value exceeds, ties counted half."""
    ordered = np.sort(among)
    both = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return np.asarray(both / (2.0 * len(ordered)), dtype=np.float64)
