"""What arms say of events without truth: the observable of every task, from the images or tokens of a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from shiftlab.arms import Arm, predict_all
from shiftlab.arms.repeatable import repeatable
from shiftlab.errors import DataError
from shiftlab.events import open_events, stream
from shiftlab.events.deposits import EventTable
from shiftlab.tasks import Task
from shiftlab.tasks.task import CANDIDATES

__all__ = ["observables"]

_CHUNK: Final = 256


def observables(
    path: Path, arms: Sequence[Arm], tasks: Sequence[Task], *, progress: bool | None = None
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.int64]]:
    """Return the observable of each arm and task, "arm task" to a mean over seeds (event,), and the events' vertices.

    No truth is looked at: every event is asked what a neutrino candidate is asked. Tasks whose stored answer counts
    voxels by their labels cannot be asked and are left out.

    Args:
        path: File of images or tokens, as a detector recorded them.
        arms: The arms, all seeds.
        tasks: What is asked.
        progress: Show a bar on stderr; None shows it on a terminal only.

    Raises:
        ConfigError: the images are of another lattice than the arms were trained on.
        DataError: the file holds deposits, which no detector has recorded yet, or events that an arm was trained on.
    """
    with open_events(path) as source:
        holds, events = source.holds, len(source)
    if holds == "deposits":
        raise DataError(
            f"{path}: holds deposits, which no detector has recorded yet; `shiftlab record {path} OUT.h5` does so."
        )
    asked = [task for task in tasks if task.level == "event"]
    if not asked:
        raise DataError(f"none of the tasks {', '.join(task.name for task in tasks)} can be asked without truth.")
    found: dict[str, list[NDArray[Any]]] = {}
    vertex = []
    shown = sys.stderr.isatty() if progress is None else progress
    with repeatable("cpu"), tqdm(total=events, unit="event", desc=path.name, disable=not shown) as bar:
        for piece in stream(path, chunk=_CHUNK):
            vertex.append(piece.events.vertex.cpu().numpy())
            for arm in arms:
                arm.refuse_training_vertices(piece.events)
            blind = replace(piece, events=_candidates(piece.events, asked))
            answers = predict_all(arms, blind, None, asked)
            for task in asked:
                for arm, outputs in zip(arms, answers, strict=True):
                    values = task.observable(outputs[task.name].astype(np.float64))
                    found.setdefault(f"{arm.name} {task.name} {arm.seed}", []).append(values)
            bar.update(len(piece))
    whole = {name: np.concatenate(values) for name, values in found.items()}
    names = dict.fromkeys(f"{arm.name} {task.name}" for arm in arms for task in asked)
    seeds = {name: [values for one, values in whole.items() if one.rpartition(" ")[0] == name] for name in names}
    means = {name: np.asarray(np.mean(values, axis=0), dtype=np.float64) for name, values in seeds.items()}
    return means, np.concatenate(vertex)


def _candidates(events: EventTable, tasks: Sequence[Task]) -> EventTable:
    """Return the events as neutrino candidates whose truth, on which no answer depends, is 0 throughout."""
    blank = torch.zeros(len(events), dtype=torch.float64)
    truth = {name: blank for task in tasks for name in (*task.truth_columns, "visible_energy")}
    table = replace(events, sample=(CANDIDATES[0],) * len(events), truth=truth)
    for task in tasks:
        if not task.scored(table).all():
            raise DataError(f"task '{task.name}' cannot be asked of events without truth; place with --tasks others.")
    return table
