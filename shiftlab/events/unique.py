"""Event keys that were met already, at 8 bytes an event: no key may come twice in a file, however far apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import DataError

__all__ = ["SeenKeys"]


class SeenKeys:
    """All event keys so far, in sorted runs of which each is more than twice as long as the next."""

    def __init__(self) -> None:
        """Begin with none."""
        self._runs: list[NDArray[np.int64]] = []

    def add(self, keys: NDArray[np.int64], first: int, path: Path) -> None:
        """Take the keys of the events from number ``first`` on, which differ among themselves.

        Raises:
            DataError: an earlier event has one of them; none is taken then.
        """
        new = np.sort(keys)
        for run in self._runs:
            place = np.searchsorted(run, new).clip(max=len(run) - 1)
            twice = new[run[place] == new]
            if len(twice):
                event = first + int(np.flatnonzero(keys == twice[0])[0])
                raise DataError(f"{path}: event {event} has the key of an earlier event; keys must be unique.")
        while self._runs and len(self._runs[-1]) <= 2 * len(new):
            new = np.sort(np.concatenate([self._runs.pop(), new]), kind="stable")
        self._runs.append(new)
