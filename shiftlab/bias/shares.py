"""Where the biases under joint universes come from: what all trainings share, and what each has of its own."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from shiftlab.bias.components import component_table, components, correlation_shares
from shiftlab.bias.degradation import Moved
from shiftlab.bias.design import Design
from shiftlab.errors import DataError

__all__ = ["variance_tables"]

_SHARES: Final = (
    *("arm", "task", "component", "variance", "lo", "hi", "lo95", "hi95", "share", "freedom"),
    *("flag", "note"),
)
_DRIVEN: Final = (
    *("arm", "task_a", "task_b", "seeds", "rho", "rho_lo", "rho_hi", "rho_lo95", "rho_hi95"),
    *("shift_driven", "shift_driven_lo", "shift_driven_hi", "shift_driven_lo95", "shift_driven_hi95"),
    *("seed_driven", "seed_driven_lo", "seed_driven_hi", "seed_driven_lo95", "seed_driven_hi95", "flag"),
)


def variance_tables(moved: Moved, design: Design, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return nuisance, seed and residual of every arm and task, and what of each correlation the nuisances drive.

    From the joint universes without recalibration, in the common unit squared: a catalogue of one-nuisance universes
    is no draw from the prior, of which a variance could be told. Where that cannot be done, one row per arm has a
    ``note`` that says why.

    Args:
        moved: The displacements.
        design: The universes.
        seed: Seed of the draws behind the intervals.
    """
    tables, driven = [pd.DataFrame(columns=list(_SHARES))], [pd.DataFrame(columns=list(_DRIVEN))]
    known = np.flatnonzero(np.isfinite(moved.unit))
    tasks = [moved.tasks[t] for t in known]
    note = _missing(moved, design)
    for a, arm in enumerate(moved.arms):
        try:
            if note:
                raise DataError(note)
            pairs = design.sampling("none") != "independent"
            order = _order(design, pairs)
            bias = np.moveaxis(moved.shift[a][:, :, order][..., known] / moved.unit[known], 1, 0)
            found = components(bias, pairs=pairs, tasks=tasks, seed=seed)
        except DataError as error:
            tables.append(pd.DataFrame([{"arm": arm, "note": str(error)}]))
            continue
        shares = component_table(found, tasks).replace({"component": {"shift": "nuisance"}})
        tables.append(shares.assign(arm=arm, note=""))
        driven.append(correlation_shares(found, tasks).assign(arm=arm))
    return _stacked(tables, _SHARES), _stacked(driven, _DRIVEN)


def _stacked(tables: list[pd.DataFrame], names: tuple[str, ...]) -> pd.DataFrame:
    stacked = pd.concat(tables[1:], ignore_index=True) if len(tables) > 1 else tables[0]
    return stacked.reindex(columns=list(names))


def _missing(moved: Moved, design: Design) -> str:
    """Return what is missing for variance components, or nothing."""
    if len(moved.seeds) < 2:
        return "one seed: what a training has of its own shows only beside another; 2 seeds or more are needed"
    if not design.joint("none"):
        return "no joint universes: universes.joint makes them"
    return ""


def _order(design: Design, pairs: bool) -> list[int]:
    """Return the joint universes, antithetic ones side by side; without pairs in their order."""
    blocks = design.joint("none")
    if pairs:
        blocks = tuple(block for block in blocks if len(block) == 2)
    return [universe for block in blocks for universe in block]
