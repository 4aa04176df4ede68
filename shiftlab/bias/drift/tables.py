"""Tables of drift over all universes, and of how its size ranks beside that of the biases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from shiftlab.bias.drift.classifier import ENOUGH
from shiftlab.bias.drift.harm import FEWEST, drift_against_harm
from shiftlab.bias.drift.layers import DRIFT_COLUMNS, layer_drift
from shiftlab.errors import DataError

__all__ = ["HARM_COLUMNS", "TABLE_COLUMNS", "BodyFeatures", "Trees", "drift_table", "harm_table"]

Trees = Literal["last", "all", "none"]
"""Layers that the classifier two-sample test is made of."""

TABLE_COLUMNS: Final = (
    *(
        "arm",
        "seed",
        "body",
        "universe",
        "nuisance",
        "strength",
        "throw",
        "events_lost",
        "matched",
        "new",
        *DRIFT_COLUMNS,
    ),
)
HARM_COLUMNS: Final = (*("arm", "seed", "body", "layer", "task", "rho", "error", "lo", "hi", "universes", "families"),)

_SHARED: Final = "shared"
"""Body of all tasks, as tables call it."""


@dataclass(frozen=True)
class BodyFeatures:
    """Pooled features of one body, the same events in every universe.

    Attributes:
        arm: Name of the arm.
        task: Whose own body it is; empty for one that all tasks share.
        seeds: Seeds whose heads rest on it.
        universes: Names, the first the nominal one.
        nuisance: (universe,), what each displaces alone; empty for nominal.
        strength: (universe,), sigma.
        throw: int64 (universe,), number of the frozen-map realisation.
        vertex: int64 (event,), uid of each event's generator vertex.
        layers: Layer to (universe, event, feature), NaN where an event has no token; the last one is what heads read
            last.
        matched: (universe,), share of the nominal tokens that are there again.
        new: (universe,), tokens that nominal lacks, over the number of nominal ones.
    """

    arm: str
    task: str
    seeds: tuple[int, ...]
    universes: tuple[str, ...]
    nuisance: tuple[str, ...]
    strength: npt.NDArray[np.float64]
    throw: npt.NDArray[np.int64]
    vertex: npt.NDArray[np.int64]
    layers: Mapping[str, npt.NDArray[np.floating]]
    matched: npt.NDArray[np.float64]
    new: npt.NDArray[np.float64]

    @property
    def seed(self) -> str:
        """Its seed, or "all" where several rest on one body: they are one measurement and not several."""
        return str(self.seeds[0]) if len(self.seeds) == 1 else "all"

    def trees(self, which: Trees) -> tuple[str, ...]:
        """Return the layers for the two-sample test; the last one is that of the tokens."""
        if which == "all":
            return tuple(self.layers)
        return () if which == "none" else (last_layer(self.layers),)


def last_layer(layers: Mapping[str, object] | Sequence[str]) -> str:
    """Return the layer nearest to the heads: the last one of tokens, for features of single voxels come before them."""
    of_tokens = [name for name in layers if name != "voxels"]
    return (of_tokens or list(layers))[-1]


def drift_table(
    bodies: Sequence[BodyFeatures],
    *,
    trees: Trees = "last",
    seed: int = 0,
    step: Callable[[], object] = lambda: None,
) -> pd.DataFrame:
    """Return one row per body, displaced universe and layer; columns ``TABLE_COLUMNS``, intervals 68%.

    ``events_lost`` is the number of events that one of the two universes lacks; they are in no measure.

    Args:
        bodies: All of the same universes and events.
        trees: Layers that the classifier two-sample test is made of; fewer than 100 vertices have none.
        seed: Of permutations, folds and bootstrap.
        step: Called after each universe.

    Raises:
        DataError: features that cannot be compared; the message says of which body and universe.
    """
    tables = [pd.DataFrame(columns=list(TABLE_COLUMNS))]
    for body in bodies:
        for number in range(1, len(body.universes)):
            try:
                tables.append(_rows(body, number, trees, seed))
            except DataError as error:
                who = f"arm '{body.arm}', seed {body.seed}, body '{body.task or _SHARED}'"
                raise DataError(f"{who}, universe '{body.universes[number]}': {error}") from error
            step()
    return tables[0] if len(tables) == 1 else pd.concat(tables[1:], ignore_index=True)


def _rows(body: BodyFeatures, number: int, trees: Trees, seed: int) -> pd.DataFrame:
    whole = np.array(
        [np.isfinite(values[[0, number]]).all(axis=(0, 2)) for values in body.layers.values()], dtype=np.bool_
    ).all(axis=0)
    nominal, shifted = ({name: values[u][whole] for name, values in body.layers.items()} for u in (0, number))
    there = np.isfinite(next(iter(body.layers.values()))[[0, number]]).any(axis=(0, 2))
    taught = body.trees(trees) if len(np.unique(body.vertex[whole])) >= ENOUGH else ()
    table = layer_drift(nominal, shifted, body.vertex[whole], seed, taught)
    head = {
        **{"arm": body.arm, "seed": body.seed, "body": body.task or _SHARED, "universe": body.universes[number]},
        **{"nuisance": body.nuisance[number], "strength": body.strength[number], "throw": body.throw[number]},
        **{"events_lost": int((there & ~whole).sum()), "matched": body.matched[number], "new": body.new[number]},
    }
    return pd.concat([pd.DataFrame([head] * len(table)), table], axis=1)[list(TABLE_COLUMNS)]


def harm_table(drift: pd.DataFrame, bias: pd.DataFrame) -> pd.DataFrame:
    """Return the rank correlation of drift with harm over the universes, for each seed, layer and task.

    Drift is the squared score freed of event noise, which may be below 0, so that universes without drift are not all
    of one rank; harm is |bias| in errors of the data, of all evaluated events. A body of one task is compared with that
    task alone. Empty where fewer than four nuisances are displaced, or for a task that is not quoted in them.

    Args:
        drift: As ``drift_table`` makes it.
        bias: As ``Bias.table``, biases of one-nuisance universes without recalibration among it.
    """
    rows = [pd.DataFrame(columns=list(HARM_COLUMNS))]
    quoted = bias[(bias["group"] == "unisim") & (bias["recalibrate"] == "none") & (bias["not_quoted"] == "")]
    quoted = quoted[np.isfinite(quoted["bias_over_sigma_data"])]
    for (arm, seed, body, layer), part in drift.groupby(["arm", "seed", "body", "layer"], sort=False):
        of_arm = quoted[quoted["arm"] == arm]
        for one in of_arm["seed"].unique() if seed == "all" else [int(str(seed))]:
            heads = of_arm[of_arm["seed"] == one]
            for task, harms in heads.groupby("task", sort=False):
                if body in (_SHARED, task):
                    rows += _one(part, harms, {"arm": arm, "seed": one, "body": body, "layer": layer}, str(task))
    return rows[0] if len(rows) == 1 else pd.concat(rows[1:], ignore_index=True)


def _one(drift: pd.DataFrame, harms: pd.DataFrame, head: Mapping[str, object], task: str) -> list[pd.DataFrame]:
    both = drift.merge(harms[["universe", "bias_over_sigma_data"]], on="universe")
    size = both["bias_over_sigma_data"].abs()
    if both["nuisance"].nunique() < FEWEST or not np.ptp(size) or not np.ptp(both["drift2"]):
        return []
    found = drift_against_harm(both["drift2"].to_numpy(), size.to_numpy()[:, None], list(both["nuisance"]), [task])
    return [pd.concat([pd.DataFrame([head]), found], axis=1)[list(HARM_COLUMNS)]]
