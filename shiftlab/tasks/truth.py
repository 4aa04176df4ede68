"""Truth columns of events, asked for by name."""

from __future__ import annotations

import numpy as np

from shiftlab.errors import DataError
from shiftlab.events.deposits import EventTable
from shiftlab.tasks.task import Floats

__all__ = ["column"]


def column(events: EventTable, name: str, task: str) -> Floats:
    """Return float64 (event,): a truth column.

    Raises:
        DataError: the events do not have it; the message names the task that needs it and what there is.
    """
    if name not in events.truth:
        have = ", ".join(sorted(events.truth)) or "none"
        raise DataError(f"task '{task}' needs the truth '{name}', which these events do not have; they have {have}.")
    values: Floats = events.truth[name].cpu().numpy().astype(np.float64)
    return values
