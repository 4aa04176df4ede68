"""Making a store of training images: chunks by any number of processes, then one file; what was killed goes on."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shiftlab.arms.images.imaged import CHUNK, imaged, input_contract
from shiftlab.arms.images.store import ImageStore, TrainingFile, described, made_of, store_path
from shiftlab.arms.images.store_writing import holds_chunk, write_chunk, write_store
from shiftlab.arms.training_set import asked_of_voxels
from shiftlab.detector import Detector
from shiftlab.errors import ConfigError, DataError, RunError
from shiftlab.events.reader import open_events, read
from shiftlab.events.sample.digest import refuse_changed
from shiftlab.events.simulation.workers import work_through
from shiftlab.plugins import LoadedPlugins
from shiftlab.provenance import digest_json, provenance_record
from shiftlab.tasks.task import Task

__all__ = ["alone", "store_images"]


def store_images(
    files: Sequence[TrainingFile | Path],
    detector: Detector,
    folder: Path,
    tasks: Sequence[Task],
    *,
    workers: int = 1,
    chunk: int = CHUNK,
    advance: Callable[[int], object] = lambda events: None,
) -> ImageStore:
    """Return the store of the nominal images of some files; it is made if the folder does not have it.

    Neither memory nor the content grows or changes with the number of processes or events a chunk. A
    second process that asks for the same store waits for the first. A run that was stopped goes on with the
    chunks that are missing.

    Args:
        files: Files of deposits, in the order in which their events follow one another.
        detector: Its nominal universe is used.
        folder: Where ``images-*.h5`` lies.
        tasks: What will be trained; decides which truth is derived and whether voxels get their particle.
        workers: Processes that image chunks; 1 works here.
        chunk: Events a chunk.
        advance: Called with the number of events done.

    Raises:
        ConfigError: no file is given, or workers or chunk are below 1.
        DataError: a file cannot be used, or lacks what a task cannot do without.
        RunError: a chunk failed, or the disk is full; the same call goes on.
    """
    given = tuple(file if isinstance(file, TrainingFile) else TrainingFile(file) for file in files)
    if not given or workers < 1 or chunk < 1:
        raise ConfigError(f"training images: {len(given)} files, workers={workers}, chunk={chunk}; each at least 1.")
    identity = made_of(given, detector, tasks)
    path = store_path(folder, identity)
    with alone(path):
        if not path.exists():
            _make(path, _Maker.of(given, detector, tasks, path, identity, chunk), workers, advance)
    return ImageStore.open(path, identity)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only process that makes this store; others wait. The kernel drops the lock of one that was killed."""
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context(path.with_suffix(".lock").open("a")), fcntl.LOCK_EX)
        except OSError as error:
            raise RunError(f"cannot keep training images in {path.parent}: {error.strerror}.") from error
        yield


@dataclass(frozen=True)
class _Span:
    """Events of a file that make one chunk."""

    file: int
    first: int
    last: int


@dataclass(frozen=True)
class _Maker:
    """What images one chunk after another; it is sent to each worker, plug-ins first, as the others may need them."""

    plugins: LoadedPlugins
    files: tuple[TrainingFile, ...]
    detector: Detector
    tasks: tuple[Task, ...]
    spans: tuple[_Span, ...]
    folder: Path
    identity: dict[str, Any]
    digest: str

    @classmethod
    def of(
        cls,
        files: tuple[TrainingFile, ...],
        detector: Detector,
        tasks: Sequence[Task],
        path: Path,
        identity: dict[str, Any],
        chunk: int,
    ) -> _Maker:
        """Plan the chunks."""
        spans = []
        for number, file in enumerate(files):
            refuse_changed(file.path)
            with open_events(file.path) as source:
                if source.holds != "deposits":
                    raise DataError(f"{file.path}: holds {source.holds}; images are made of deposits.")
                events = len(source)
            spans += [_Span(number, first, min(first + chunk, events)) for first in range(0, events, chunk)]
        folder = path.with_suffix(f".chunks{chunk}")
        digest = digest_json(identity)
        return cls(LoadedPlugins(), files, detector, tuple(tasks), tuple(spans), folder, identity, digest)

    def path(self, number: int) -> Path:
        """Return where a chunk lies."""
        return self.folder / f"chunk{number:06d}.safetensors"

    def open(self) -> Callable[[int], int]:
        """Return what makes one chunk and gives its number of events, in a process of its own."""
        torch.set_num_threads(1)
        return self.make

    def make(self, number: int) -> int:
        """Image one chunk and write it; return the events of the file that it stands for."""
        span = self.spans[number]
        file = self.files[span.file]
        deposits = file.chosen(read(file.path, events=slice(span.first, span.last)))
        for task in self.tasks:
            deposits = task.with_truth(deposits)
        particles, voxels = asked_of_voxels(self.tasks)[1], self.detector.geometry.views == 1
        images = imaged(deposits, self.detector, labelled=voxels, particles=particles)
        write_chunk(self.path(number), images, self.digest)
        return span.last - span.first


def _make(path: Path, maker: _Maker, workers: int, advance: Callable[[int], object]) -> None:
    missing = []
    for number, span in enumerate(maker.spans):
        if holds_chunk(maker.path(number), maker.digest):
            advance(span.last - span.first)
        else:
            missing.append(number)
    for part in maker.folder.glob(".*.part"):
        part.unlink()
    if workers == 1 or len(missing) < 2:
        for number in missing:
            advance(maker.make(number))
    else:
        for _, events in work_through(maker, missing, workers):
            advance(events)
    chunks = [(maker.path(number), maker.files[span.file].path, span.first) for number, span in enumerate(maker.spans)]
    contract = input_contract(maker.detector)
    record = provenance_record({"images": maker.digest})
    write_store(path, chunks, contract.shape, described(maker.identity, contract), record)
    shutil.rmtree(maker.folder)
