"""Truth columns of events, asked for by name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import DataError
from shiftlab.events.deposits import EventTable

__all__ = ["column"]


def column(events: EventTable, name: str, task: str) -> NDArray[np.float64]:
    """Return float64 (event,): a truth column.

    Raises:
        DataError: the events do not have it; the message names the task that needs it and what there is.
    """
    if name not in events.truth:
        have = ", ".join(sorted(events.truth)) or "none"
        raise DataError(f"task '{task}' needs the truth '{name}', which these events do not have; they have {have}.")
    values: NDArray[np.float64] = events.truth[name].cpu().numpy().astype(np.float64)
    return values
