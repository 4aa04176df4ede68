"""What responses must hold before anything is paired by them: names, keys and finite numbers, refused where missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from shiftlab.errors import DataError

__all__ = ["admit", "keys", "refuse_other_record"]

_OUTPUT: Final = ("arm", "seed", "universe", "event", "output")

_OVER_EVENTS: Final = ("evaluated", "vertex_uid", "weight", "sample", "truth")

_OVER_UNIVERSES: Final = ("group", "throw", "recalibrate", "nuisance_value")

_MOST: Final = 5
"""Keys that a message lists."""


def admit(datasets: Mapping[str, xr.Dataset]) -> None:
    """Refuse responses whose arms, seeds, universes or events cannot be told apart by name or key.

    xarray counts through a dimension that has no coordinate, so that events of other files would be paired by their
    place alone; and it fills what two files do not share with NaN when it joins them. Both are refused here.

    Raises:
        DataError: a task lacks a variable or coordinate, has it over other dimensions, or has a number that is not
            finite: the message names the task, and the universe or the event keys.
    """
    for task, data in datasets.items():
        for name in ("output", *_OVER_EVENTS, *_OVER_UNIVERSES):
            if name not in data.variables:
                raise DataError(f"task '{task}': the responses have no '{name}'.")
        for name in ("arm", "seed", "universe", "event", "nuisance"):
            if name not in data.indexes:
                raise DataError(
                    f"task '{task}': the responses have no coordinate '{name}', so that nothing says which {name} is "
                    "which; biases are paired by name and key, never by place."
                )
        if set(data["output"].dims) != set(_OUTPUT):
            raise DataError(f"task '{task}': 'output' is over {data['output'].dims}; needed are {_OUTPUT}.")
        _over(task, data, _OVER_EVENTS, "event")
        _over(task, data, _OVER_UNIVERSES, "universe")
        _refuse_unknown_universes(task, data)
        _refuse_unknown_events(task, data)


def keys(found: npt.NDArray[Any]) -> str:
    """Return the first few event keys in words."""
    return "event keys " + ", ".join(str(int(key)) for key in found[:_MOST]) + (", ..." if len(found) > _MOST else "")


def refuse_other_record(name: str, first: str, second: str, common: int, unequal: npt.NDArray[Any]) -> None:
    """Refuse two tasks in which the same event keys have another record.

    Args:
        name: What differs.
        first: One task.
        second: The other.
        common: Number of common events.
        unequal: Their keys where it differs.

    Raises:
        DataError: there are such keys.
    """
    if len(unequal):
        raise DataError(
            f"tasks '{first}' and '{second}': {len(unequal)} of {common} common events have another {name} in the one "
            f"than in the other ({keys(unequal)}); their biases cannot be paired. Make the responses of all tasks in "
            "one call."
        )


def _over(task: str, data: xr.Dataset, names: tuple[str, ...], dimension: str) -> None:
    for name in names:
        other = {"truth": "truth_column", "nuisance_value": "nuisance"}.get(name)
        wanted = {dimension} if other is None else {dimension, other}
        if set(data[name].dims) != wanted:
            raise DataError(
                f"task '{task}': '{name}' is over {data[name].dims}; it is one value for each {dimension}. Were "
                "responses of different files joined?"
            )


def _refuse_unknown_universes(task: str, data: xr.Dataset) -> None:
    values = data["nuisance_value"].transpose("universe", "nuisance").values.astype(np.float64)
    for row, universe in zip(values, data["universe"].values, strict=True):
        if not np.isfinite(row).all():
            nuisance = data["nuisance"].values[~np.isfinite(row)][0]
            raise DataError(f"task '{task}', universe '{universe}': the value of nuisance '{nuisance}' is not finite.")


def _refuse_unknown_events(task: str, data: xr.Dataset) -> None:
    """Refuse events without a record; the truth is needed of evaluated events only."""
    event = data["event"].values
    needed: npt.NDArray[np.bool_] = np.ones(len(event), dtype=np.bool_)
    for name in ("evaluated", "vertex_uid", "weight", "truth"):
        values = data[name].transpose("event", ...).values.reshape(len(event), -1)
        bad = needed & ~np.isfinite(values.astype(np.float64)).all(axis=1)
        if bad.any():
            raise DataError(
                f"task '{task}': {int(bad.sum())} of {len(event)} events have no {name} ({keys(event[bad])})."
            )
        if name == "weight":
            needed = data["evaluated"].values.astype(np.bool_)
