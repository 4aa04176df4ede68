"""Tasks: what is predicted of an event, and how well a prediction does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from shiftlab.registry import Registry
from shiftlab.tasks.event_summary import EventSummary
from shiftlab.tasks.task import CANDIDATES, NEUTRINOS, Task, VoxelTask
from shiftlab.tasks.voxel_truth import MatchedTruth, VoxelTruth, match, truth_in, voxel_truth

__all__ = [
    "CANDIDATES",
    "EventSummary",
    "NEUTRINOS",
    "MatchedTruth",
    "Task",
    "VoxelTask",
    "VoxelTruth",
    "match",
    "named_tasks",
    "tasks",
    "truth_in",
    "voxel_truth",
]


@cache
def tasks() -> Registry[Task]:
    """Return the register of tasks, filled from the entry-point group ``shiftlab.tasks``."""
    return Registry("shiftlab.tasks", Task, "task")  # type: ignore[type-abstract]


def named_tasks(names: Sequence[str] | None = None) -> tuple[Task, ...]:
    """Return the named tasks; without names those asked of images that need not be named, in order of their names.

    Raises:
        UnknownNameError: no task has a given name.
    """
    known = tasks()
    if names is None:
        return tuple(kind() for kind in known if kind.input == "images" and not kind.opt_in)
    return tuple(known.get(name)() for name in names)
