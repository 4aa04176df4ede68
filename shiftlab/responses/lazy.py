"""Responses that stay in their file: everything but the outputs is in memory, the outputs are read where asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from shiftlab.errors import DataError

__all__ = ["LazyResponses", "open_responses"]

_LAZY: Final = ("output", "observable", "selected")
"""Variables over universes and events, too large for memory where there are many of both."""


@dataclass(frozen=True)
class LazyResponses:
    """What ``Responses`` holds, but for the types in memory, with outputs that are read piece by piece.

    Attributes:
        datasets: Task name to dataset; ``output``, ``observable`` and ``selected`` are lazy.
        attrs: Identity and provenance, plain values that JSON can hold.
    """

    datasets: Mapping[str, xr.Dataset]
    attrs: Mapping[str, Any]


@contextmanager
def open_responses(path: Path) -> Iterator[LazyResponses]:
    """Open a file of ``Responses.save`` for as long as the context lasts.

    The outputs are checked when they are read, not here.

    Raises:
        DataError: the file is missing, truncated, not netCDF-4 or not from ``Responses.save``.
    """
    with ExitStack() as stack:
        try:
            with xr.open_dataset(path, engine="h5netcdf") as head:
                attrs = json.loads(head.attrs["shiftlab"])
                tasks = json.loads(head.attrs["tasks"])
            datasets = {}
            known: dict[str, NDArray[Any]] = {}
            for task in tasks:
                data = xr.open_dataset(path, group=task, engine="h5netcdf", decode_times=False, cache=False)
                datasets[task] = _loaded(stack.enter_context(data), known)
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"cannot read responses from '{path}': {error}.") from error
        yield LazyResponses(datasets, attrs)


def _loaded(data: xr.Dataset, known: dict[str, NDArray[Any]]) -> xr.Dataset:
    """Return the dataset with all its small variables in memory, those that an earlier task knows only once."""
    for name, variable in data.variables.items():
        if name in _LAZY:
            continue
        variable.load()
        if variable.dims == ("event",) and name not in data.indexes:
            values = variable.values.astype(np.str_) if variable.dtype.kind == "O" else variable.values
            earlier = known.setdefault(str(name), values)
            variable.values = earlier if np.array_equal(earlier, values) else values
    return data
