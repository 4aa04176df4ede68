"""Workers: processes that image one event chunk in one universe and run every arm on it."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shiftlab.arms import Arm, Observation, observe_all, predict_all
from shiftlab.arms.repeatable import repeatable
from shiftlab.arms.token_limit import TokenLimit
from shiftlab.detector import NOMINAL, Detector, Universe
from shiftlab.detector.recorder import Recorder
from shiftlab.errors import DataError, RunError, ShiftlabError
from shiftlab.events import open_events
from shiftlab.events.deposits import EventTable
from shiftlab.plugins import load_plugins, loaded_plugins
from shiftlab.responses.selection import AnalysisSelection
from shiftlab.responses.shards import Arrays, Shards, Unit, chunks, read_events
from shiftlab.tasks import Task, VoxelTruth, truth_in

__all__ = ["Job", "StoredArm", "Worker", "work_through"]


@dataclass(frozen=True)
class StoredArm:
    """An arm as each worker loads it: its class, its seed and the folder that it was saved to."""

    kind: type[Arm]
    seed: int
    folder: Path

    def load(self, device: str) -> Arm:
        """Return the arm on ``device``."""
        return self.kind.load(self.folder, self.seed, device)


@dataclass(frozen=True)
class Job:
    """Everything that a worker needs to know; arrays and weights are files that it opens itself.

    Attributes:
        events: file of the deposits or tokens (``save_events``).
        detector: the detector.
        universes: all universes, in canonical order.
        scales: for each universe the factor of its muon calibration (1 without).
        arms: all arms, arm by arm and seed by seed.
        tasks: the tasks to predict.
        selection: the analysis selection.
        shards: where results go.
        chunk: events a chunk.
        device: torch device.
        threads: torch threads of one worker.
        reuse: False prepares the deposits anew for every universe (the control of the reuse).
        variations: by name of the effect, file of the same events by another model (``save_events``).
        most_tokens: tokens of an event that a network is shown; None for all.
        correlations: of nuisances in the prior, by pair.
    """

    events: Path
    detector: Recorder
    universes: tuple[Universe, ...]
    scales: tuple[float, ...]
    arms: tuple[StoredArm, ...]
    tasks: tuple[Task, ...]
    selection: AnalysisSelection
    shards: Shards
    chunk: int
    device: str
    threads: int
    reuse: bool
    variations: Mapping[str, Path] = field(default_factory=dict)
    most_tokens: int | None = None
    correlations: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Chunk:
    """What of one chunk does not depend on the universe; ``truth`` is None where no task asks for labels of voxels."""

    number: int
    prepared: Any
    truth: VoxelTruth | None


class Worker:
    """Computes units of one job; keeps the arms and the chunk it works on.

    Attributes:
        job: the job.
        arms: the loaded arms, in the order of the job.
    """

    def __init__(self, job: Job) -> None:
        """Load the arms and count the events."""
        self.job = job
        with open_events(job.events) as source:
            self._ranges = chunks(len(source), job.chunk)
        self.arms = [stored.load(job.device) for stored in job.arms]
        self._chunk: _Chunk | None = None

    def work(self, unit: Unit) -> None:
        """Compute one unit and write its shard.

        Raises:
            RunError: the unit failed; the message names it.
        """
        universe = self.job.universes[unit.universe].name
        where = f"chunk {unit.chunk} of {len(self._ranges)} in universe '{universe}'"
        try:
            self.job.shards.write(unit, self.compute(unit))
        except (ShiftlabError, MemoryError, RuntimeError) as error:
            raise RunError(f"{where} failed: {error}") from error

    def compute(self, unit: Unit) -> Arrays:
        """Return ``output/<task>`` float32 (arm x seed, event, output), ``selected`` and ``voxels`` (event,)."""
        chunk = self._open(unit.chunk)
        scale = self.job.scales[unit.universe]
        universe = self.job.universes[unit.universe]
        image = self.job.detector.image(chunk.prepared, universe, scale=scale)
        seen = observe_all(self.arms, image, self._truth(chunk, universe), TokenLimit(self.job.most_tokens))
        predicted = predict_all(self.arms, image, None, self.job.tasks, seen)
        arrays: Arrays = {
            "left_out": _left_out(seen.values(), len(image.events), self.job.most_tokens),
            "selected": self.job.selection(image, self.job.detector.geometry).cpu().numpy(),
            "voxels": (image.offsets[1:] - image.offsets[:-1]).cpu().numpy(),
        }
        for task in self.job.tasks:
            for stored, outputs in zip(self.job.arms, predicted, strict=True):
                _check_outputs(outputs, task, stored, image.events)
            arrays[f"output/{task.name}"] = np.stack([one[task.name] for one in predicted]).astype(np.float32)
        return arrays

    def _open(self, number: int) -> _Chunk:
        if self.job.reuse and self._chunk is not None and self._chunk.number == number:
            return self._chunk
        rows = self._ranges[number]
        twins = {name: partial(self._read, path, rows) for name, path in self.job.variations.items()}
        prepared = self.job.detector.prepare(self._read(self.job.events, rows), twins)
        labelled = any(task.level != "event" for task in self.job.tasks)
        truth = self._truth_in(prepared, NOMINAL) if labelled else None
        self._chunk = _Chunk(number, prepared, truth)
        return self._chunk

    def _read(self, path: Path, rows: range) -> Any:
        return read_events(path, slice(rows.start, rows.stop)).to(self.job.device)

    def _truth(self, chunk: _Chunk, universe: Universe) -> VoxelTruth | None:
        """Return the labels of voxels in a universe: the nominal ones unless it moves charge or varies generation."""
        detector = self.job.detector
        if chunk.truth is None or not (detector.moves(universe) or detector.displaced_generators(universe)):
            return chunk.truth
        return self._truth_in(chunk.prepared, universe)

    def _truth_in(self, prepared: Any, universe: Universe) -> VoxelTruth:
        if not isinstance(self.job.detector, Detector):
            raise DataError(f"labels of voxels are asked for; detector '{self.job.detector.name}' gives tokens.")
        return truth_in(self.job.detector, prepared, universe, particles=self._particles)

    @property
    def _particles(self) -> bool:
        """Whether a task asks for the particle of each voxel."""
        return any(task.level == "particle" for task in self.job.tasks)


def _left_out(seen: Iterable[Observation], events: int, most: int | None) -> NDArray[np.bool_]:
    """Return bool (event,): the events that were too long for a network."""
    found = np.zeros(events, dtype=np.bool_)
    for observation in seen if most is not None else ():
        found |= observation.left_out.cpu().numpy()
    return found


def _check_outputs(outputs: Mapping[str, NDArray[np.floating]], task: Task, arm: StoredArm, events: EventTable) -> None:
    """Refuse outputs of the wrong shape or with a value that is not finite."""
    who = f"arm '{arm.kind.name}', seed {arm.seed}, task '{task.name}'"
    scored = np.flatnonzero(task.scored(events))
    if task.name not in outputs:
        raise DataError(f"{who}: no outputs.")
    values = outputs[task.name]
    if values.shape != (len(scored), task.outputs):
        raise DataError(f"{who}: outputs of shape {values.shape}, not {(len(scored), task.outputs)}.")
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        key = int(events.key[int(scored[bad][0])])
        raise DataError(f"{who}: the output for event {key} is not finite.")


def work_through(job: Job, units: Sequence[Unit], workers: int) -> Iterator[Unit]:
    """Compute all units and give each one when its shard is written.

    With one worker the work is done here; else in spawned processes, worker i taking every
    ``workers``-th unit from the i-th on. A worker whose parent is gone ends after its unit.

    Raises:
        RunError: a unit failed or a worker died; the message names the unit.
    """
    if workers == 1:
        yield from _work_here(job, units)
        return
    context = get_context("spawn")
    shares: dict[Connection, list[Unit]] = {}
    processes = []
    try:
        for i in range(min(workers, len(units))):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, loaded_plugins()), daemon=True)
            process.start()
            there.close()
            processes.append(process)
            shares[here] = list(units[i::workers])
            here.send((job, tuple(shares[here])))
        yield from _collect(job, shares)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _work_here(job: Job, units: Sequence[Unit]) -> Iterator[Unit]:
    before = torch.get_num_threads()
    torch.set_num_threads(job.threads)
    try:
        worker = Worker(job)
        for unit in units:
            worker.work(unit)
            yield unit
    finally:
        torch.set_num_threads(before)


def _collect(job: Job, shares: dict[Connection, list[Unit]]) -> Iterator[Unit]:
    """Give units as workers finish them; ``shares`` holds what each has still to do, in order."""
    while shares:
        ready = connection.wait(list(shares))
        for worker in [one for one in shares if one in ready]:
            unit = shares[worker].pop(0)
            try:
                failure = worker.recv()
            except (EOFError, ConnectionResetError) as error:
                raise RunError(
                    f"the worker of chunk {unit.chunk} in universe '{job.universes[unit.universe].name}' died "
                    "(out of memory?). Start again with fewer workers; finished units are kept."
                ) from error
            if failure is not None:
                raise RunError(failure)
            if not shares[worker]:
                del shares[worker]
            yield unit


def _serve(parent: Connection, plugins: tuple[str, ...]) -> None:
    """Be a worker process: receive the job and its units, report each; end when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            load_plugins(plugins)
            job, units = parent.recv()
            torch.set_num_threads(job.threads)
            with repeatable(job.device):
                worker = Worker(job)
                for unit in units:
                    worker.work(unit)
                    parent.send(None)
        except ShiftlabError as error:
            parent.send(str(error))
