"""Table of drift per layer: every measure side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from shiftlab.bias.drift.classifier import TwoSample, two_sample
from shiftlab.bias.drift.discrepancy import mmd
from shiftlab.bias.drift.displacement import displacement
from shiftlab.bias.drift.paired import pair
from shiftlab.bias.drift.similarity import linear_cka
from shiftlab.errors import DataError, UnknownNameError

__all__ = ["DRIFT_COLUMNS", "layer_drift"]

DRIFT_COLUMNS = (
    *("layer", "features", "events", "drift", "drift2", "drift2_lo", "drift2_hi", "shrinkage"),
    *("cka", "cka_lo", "cka_hi", "mmd2", "mmd_p", "auc", "auc_lo", "auc_hi", "auc_p"),
)

_NOT_MADE: Final = TwoSample(*(float("nan"),) * 5)


def layer_drift(
    nominal: Mapping[str, npt.ArrayLike],
    shifted: Mapping[str, npt.ArrayLike],
    vertex_uid: npt.NDArray[np.int64] | None = None,
    seed: int = 0,
    trees: Collection[str] | None = None,
) -> pd.DataFrame:
    """Return one row per layer, columns ``DRIFT_COLUMNS``; intervals are 68%.

    Args:
        nominal: Layer to features (event, feature).
        shifted: The same layers of the same events.
        vertex_uid: (event,); all different by default.
        seed: Of permutations, folds and bootstrap.
        trees: Layers that the classifier two-sample test is made of, which takes ten times as long as all the rest; all
            by default. The others have no area.

    Raises:
        UnknownNameError: a layer is on one side only.
        DataError: no layer, or features that cannot be compared.
    """
    if not nominal:
        raise DataError("no layer was given; drift needs the features of one or more.")
    for name in {*nominal, *shifted}:
        if name not in nominal or name not in shifted:
            raise UnknownNameError("layer on both sides", name, nominal.keys() & shifted.keys())
    rows = []
    for layer, values in nominal.items():
        features = pair(values, shifted[layer], vertex_uid, layer)
        moved, like = displacement(features, seed=seed), linear_cka(features)
        apart = mmd(features, seed=seed)
        told = two_sample(features, seed=seed) if trees is None or layer in trees else _NOT_MADE
        rows.append(
            (
                *(layer, moved.features, len(features.vertex), moved.drift, moved.drift2, moved.low, moved.high),
                *(moved.shrinkage, like.cka, like.low, like.high, apart.mmd2, apart.p_value),
                *(told.auc, told.low, told.high, told.p_value),
            )
        )
    return pd.DataFrame(rows, columns=list(DRIFT_COLUMNS))
