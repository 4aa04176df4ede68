"""Outputs of the evaluated events, read in pieces that fit into memory and refused where they are not finite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from shiftlab.bias.admission import keys
from shiftlab.bias.design import Design
from shiftlab.bias.sample import Sample
from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["Events", "event_blocks", "place", "read_nominal", "read_outputs", "universe_blocks"]

Events = slice | npt.NDArray[np.int64]
"""Some of the evaluated events, by number, in rising order."""

_EVENTS: Final = 2**14
"""Events of one piece: a matrix product over them runs at full speed."""

_NUMBERS: Final = 2**23
"""Most numbers of one piece (64 MiB)."""


_SPARSE: Final = 4
"""Events are picked one by one where reading all that lie between them would read more than this many times more."""


def place(data: xr.Dataset, task: str, arm: int, seed: int) -> str:
    """Return the words for one head in a message."""
    return f"task '{task}', arm '{data['arm'].values[arm]}', seed {data['seed'].values[seed]}"


def event_blocks(data: xr.Dataset, sample: Sample) -> Iterator[slice]:
    """Give all evaluated events in blocks that begin and end where the chunks of the file do.

    A chunk of a compressed file is read and unpacked as a whole: no chunk is touched twice.
    """
    step = _whole(_EVENTS, _chunk(data, "event"))
    edges = np.unique(np.searchsorted(sample.index, np.arange(0, data.sizes["event"] + step, step)))
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        yield slice(start, stop)


def universe_blocks(data: xr.Dataset, events: int, terms: int = 1) -> Iterator[slice]:
    """Give all universes in blocks of so many that their outputs, or terms, of some events fit into memory."""
    chunk, universes = _chunk(data, "universe"), data.sizes["universe"]
    most = max(1, _NUMBERS // max(1, events * max(terms, data.sizes["output"])))
    step = most // chunk * chunk or most
    for start in range(0, universes, step):
        yield slice(start, min(start + step, universes))


def read_nominal(data: xr.Dataset, sample: Sample, arm: int, seed: int, design: Design, events: Events) -> Floats:
    """Return float64 (event, output) of some evaluated events of one head at nominal, all finite."""
    alone = slice(design.nominal, design.nominal + 1)
    return np.asarray(read_outputs(data, sample, arm, seed, design, alone, events)[0], dtype=np.float64)


def read_outputs(
    data: xr.Dataset, sample: Sample, arm: int, seed: int, design: Design, universes: slice, events: Events
) -> npt.NDArray[np.floating]:
    """Return (universe, event, output) of some evaluated events of one head, as stored, all finite.

    Raises:
        DataError: an evaluated event has no finite response in some universe: how many, and which.
    """
    outputs = _read(data, sample, arm, seed, universes, events)
    # The sum of finite numbers may overflow, but that of others is never finite.
    with np.errstate(over="ignore", invalid="ignore"):
        suspect = not np.isfinite(outputs.sum())
    if suspect and not np.isfinite(outputs).all():
        _refuse(data, sample, arm, seed, design)
    return outputs


def _read(
    data: xr.Dataset, sample: Sample, arm: int, seed: int, universes: slice, events: Events
) -> npt.NDArray[np.floating]:
    index = sample.index[events]
    heads = data["output"].isel(arm=arm, seed=seed, universe=universes)
    first, last = int(index[0]), int(index[-1]) + 1
    if last - first > _SPARSE * len(index):
        return _array(heads.isel(event=index))
    outputs = _array(heads.isel(event=slice(first, last)))
    return outputs if last - first == len(index) else outputs[:, index - first]


def _array(heads: xr.DataArray) -> npt.NDArray[np.floating]:
    values: npt.NDArray[np.floating] = heads.transpose("universe", "event", "output").values
    return values


def _refuse(data: xr.Dataset, sample: Sample, arm: int, seed: int, design: Design) -> None:
    """Count the events without a finite response over all universes, and refuse them."""
    found: list[npt.NDArray[np.int64]] = []
    for universe in range(len(design.names)):
        bad = [np.zeros(0, dtype=np.int64)]
        for events in event_blocks(data, sample):
            outputs = _read(data, sample, arm, seed, slice(universe, universe + 1), events)[0]
            bad.append(sample.key[events][~np.isfinite(outputs).all(axis=1)])
        found.append(np.concatenate(bad))
    universe = next(i for i, bad in enumerate(found) if len(bad))
    raise DataError(
        f"{place(data, sample.task, arm, seed)}, universe '{design.names[universe]}': {len(found[universe])} of "
        f"{len(sample.key)} evaluated events have responses that are not finite ({keys(found[universe])}); "
        f"{sum(len(bad) for bad in found)} over all universes."
    )


def _chunk(data: xr.Dataset, dimension: str) -> int:
    """Return the length along one dimension of the chunks in which the outputs are stored; 1 where they are not."""
    stored = data["output"].encoding.get("chunksizes")
    return 1 if not stored else int(stored[data["output"].dims.index(dimension)])


def _whole(least: int, chunk: int) -> int:
    """Return the smallest multiple of ``chunk`` that is not below ``least``."""
    return -(-least // chunk) * chunk
