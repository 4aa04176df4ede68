"""Assembly of shards into responses, in the canonical order of the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from shiftlab.detector import Nuisance, Universe
from shiftlab.detector.prior import correlation_matrix
from shiftlab.errors import RunError
from shiftlab.events.deposits import EventTable
from shiftlab.responses.responses import Responses
from shiftlab.responses.shards import Shards, Unit, chunks
from shiftlab.responses.workers import Job
from shiftlab.tasks import Task

__all__ = ["assemble"]


def assemble(job: Job, events: EventTable, nuisances: Sequence[Nuisance], attrs: dict[str, Any]) -> Responses:
    """Read every shard once and give the responses.

    Args:
        job: the finished job.
        events: the table of all events, in the order of the plan.
        nuisances: the detector's nuisances, in its order.
        attrs: identity and provenance to keep.

    Raises:
        RunError: a shard is missing or broken.
    """
    arms = list(dict.fromkeys(stored.kind.name for stored in job.arms))
    seeds = list(dict.fromkeys(stored.seed for stored in job.arms))
    grid = (len(arms), len(seeds), len(job.universes), len(events))
    outputs = {task.name: np.zeros((*grid, task.outputs), dtype=np.float32) for task in job.tasks}
    selected = np.zeros(grid, dtype=np.bool_)
    empty, left_out = np.zeros((2, len(job.universes)), dtype=np.int64)
    scored = {task.name: task.scored(events) for task in job.tasks}
    for number, rows in enumerate(chunks(len(events), job.chunk)):
        here = slice(rows.start, rows.stop)
        for u in range(len(job.universes)):
            arrays = _read(job.shards, Unit(number, u))
            selected[:, :, u, here] = arrays["selected"]
            empty[u] += int((arrays["voxels"] == 0).sum())
            left_out[u] += int(arrays["left_out"].sum())
            for name, mask in scored.items():
                block = arrays[f"output/{name}"]
                events_here = np.flatnonzero(mask[here]) + rows.start
                outputs[name][:, :, u, events_here] = block.reshape(len(arms), len(seeds), *block.shape[1:])
    shared = (
        _universe_coordinates(job.universes, nuisances)
        | _prior(nuisances, job.correlations)
        | {
            "arm": arms,
            "seed": np.array(seeds, dtype=np.int64),
            "empty": ("universe", empty),
            "left_out": ("universe", left_out),
        }
    )
    return Responses(
        {
            task.name: _dataset(task, outputs[task.name][:, :, :, scored[task.name]], selected, events, shared)
            for task in job.tasks
        },
        attrs,
    )


def _read(shards: Shards, unit: Unit) -> dict[str, NDArray[Any]]:
    arrays = shards.read(unit)
    if arrays is None:
        raise RunError(f"shard {shards.path(unit)} is missing or broken; start the same command again.")
    return dict(arrays)


def _universe_coordinates(universes: Sequence[Universe], nuisances: Sequence[Nuisance]) -> dict[str, Any]:
    values = [[universe.value(nuisance.name) for nuisance in nuisances] for universe in universes]
    return {
        "universe": [universe.name for universe in universes],
        "nuisance": [nuisance.name for nuisance in nuisances],
        "one_sided": ("nuisance", np.array([not one.parameter.two_sided for one in nuisances], dtype=np.bool_)),
        "group": ("universe", [universe.group for universe in universes]),
        "throw": ("universe", np.array([universe.throw for universe in universes], dtype=np.int64)),
        "recalibrate": ("universe", [universe.recalibrate for universe in universes]),
        "scrambling": ("universe", np.array([universe.scrambling for universe in universes], dtype=np.int64)),
        "nuisance_value": (("universe", "nuisance"), np.array(values, dtype=np.float64).reshape(len(universes), -1)),
    }


def _prior(nuisances: Sequence[Nuisance], correlations: Mapping[str, float]) -> dict[str, Any]:
    """Return the correlation matrix of the prior; nothing where the nuisances are independent."""
    names = [nuisance.name for nuisance in nuisances]
    if not correlations:
        return {}
    return {
        "other_nuisance": names,
        "prior_correlation": (("nuisance", "other_nuisance"), correlation_matrix(names, correlations)),
    }


def _dataset(
    task: Task, outputs: NDArray[np.float32], selected: NDArray[np.bool_], events: EventTable, shared: dict[str, Any]
) -> xr.Dataset:
    """Return the dataset of one task over the events that it is scored on."""
    scored = np.flatnonzero(task.scored(events))
    table = events.take(torch.from_numpy(scored))
    over_events = ("arm", "seed", "universe", "event")
    return xr.Dataset(
        {
            "output": ((*over_events, "output"), outputs),
            "observable": (over_events, task.observable(outputs.astype(np.float64)).astype(np.float32)),
            "selected": (over_events, selected[..., scored]),
            "truth": (("event", "truth_column"), task.truth(events)[scored]),
            "evaluated": ("event", task.evaluated(events)[scored]),
        },
        coords=shared
        | {
            "event": table.key.cpu().numpy(),
            "vertex_uid": ("event", table.vertex.cpu().numpy()),
            "weight": ("event", table.weight.cpu().numpy()),
            "sample": ("event", list(table.sample)),
        },
        attrs={"statistic": task.statistic, "unit": task.unit, "observable_label": task.observable_label},
    )
