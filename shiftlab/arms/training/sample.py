"""The training events of a study, in memory or in files that may be larger: who they are, and what is trained on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from torch import Tensor

from shiftlab.arms.images.store import TrainingFile
from shiftlab.arms.images.store_making import store_images
from shiftlab.arms.tokens.set import token_set
from shiftlab.arms.training_set import TrainingSet, training_set
from shiftlab.detector import Detector
from shiftlab.detector.recorder import Recorder
from shiftlab.errors import ConfigError, DataError
from shiftlab.events.deposits import Deposits
from shiftlab.events.reader import stream
from shiftlab.events.sample.digest import refuse_changed
from shiftlab.events.tokens import Tokens
from shiftlab.tasks.task import Task

__all__ = ["Sample", "deposits_digest", "described", "training_data"]

Sample: TypeAlias = Deposits | Tokens | Sequence[TrainingFile]
"""Events in memory, or files of deposits in the order in which their events follow one another."""

_DEPOSITED: Final = ("position", "energy", "length", "semantic")


def deposits_digest(deposits: Deposits | Tokens) -> str:
    """Return the SHA-256 hex digest of the events' keys, vertices and deposits (or tokens)."""
    if isinstance(deposits, Tokens):
        columns = (deposits.offsets, deposits.features, deposits.valid, deposits.particle, deposits.globals)
        return _digest((*columns, deposits.events.key, deposits.events.vertex))
    own = (getattr(deposits, name) for name in _DEPOSITED)
    return _digest((deposits.offsets, *own, deposits.events.key, deposits.events.vertex))


def described(sample: Sample) -> dict[str, Any]:
    """Return what a record says of the training events, the same wherever they lie: digest, number, samples.

    Raises:
        DataError: a file cannot be used, or has no event of its part.
    """
    if isinstance(sample, Deposits | Tokens):
        digest, names = deposits_digest(sample), Counter(sample.events.sample)
    else:
        digest, names = _of_files(sample)
    return {"data_digest": digest, "events": names.total(), "samples": dict(names)}


def training_data(
    sample: Sample,
    detector: Recorder,
    tasks: Sequence[Task],
    folder: Path,
    workers: int,
    advance: Callable[[int], object],
) -> TrainingSet:
    """Return the nominal images or tokens with what the tasks are trained towards; images of files are mapped.

    Args:
        sample: The events.
        detector: What records them.
        tasks: What is trained.
        folder: Where the images of files are kept.
        workers: Processes that make those.
        advance: Called with the number of events done.

    Raises:
        ConfigError: the detector does not take such events.
        DataError: the events lack what a task cannot do without.
    """
    if not isinstance(sample, Deposits | Tokens):
        if not isinstance(detector, Detector):
            raise ConfigError(f"detector '{detector.name}' gives tokens, which are trained on in memory.")
        return store_images(sample, detector, folder, tasks, workers=workers, advance=advance).training_set(tasks)
    if not isinstance(detector, Detector):
        data = token_set(detector.image(detector.prepare(sample)), tasks)
        advance(len(sample))
        return data
    if isinstance(sample, Tokens):
        raise ConfigError(f"detector '{detector.name}' takes deposits; the training events are tokens.")
    return training_set(sample, detector, tasks, advance)


def _digest(columns: Iterable[Tensor]) -> str:
    total = hashlib.sha256()
    for column in columns:
        total.update(np.ascontiguousarray(column.cpu().numpy()).data)
    return total.hexdigest()


def _of_files(files: Sequence[TrainingFile]) -> tuple[str, Counter[str]]:
    """Return ``deposits_digest`` of all events and how many each sample has.

    Memory holds one chunk and three numbers an event; files are read once for these and once for each column.
    """
    counts, keys, vertices, names = [torch.zeros(1, dtype=torch.int64)], [], [], Counter[str]()
    for part in _parts(files):
        counts.append(part.offsets.diff())
        keys.append(part.events.key)
        vertices.append(part.events.vertex)
        names.update(part.events.sample)
    if not names:
        where = ", ".join(str(file.path) for file in files)
        raise DataError(f"{where}: no event is in part '{files[0].part}' of the manifest.")
    columns = (getattr(part, name) for name in _DEPOSITED for part in _parts(files))
    return _digest(chain([torch.cat(counts).cumsum(0)], columns, keys, vertices)), names


def _parts(files: Sequence[TrainingFile]) -> Iterator[Deposits]:
    """Give the events chunk by chunk."""
    for file in files:
        refuse_changed(file.path)
        for piece in stream(file.path):
            if not isinstance(piece, Deposits):
                raise DataError(f"{file.path}: holds no deposits, of which the detector makes images.")
            yield file.chosen(piece)
