"""Run every arm on the same events in every universe: shards, resume, budget and assembly."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import torch
from tqdm import tqdm

from shiftlab.arms import Arm
from shiftlab.arms.contract import InputContract
from shiftlab.arms.repeatable import repeatable
from shiftlab.arms.tokens.observation import observe
from shiftlab.arms.training_set import input_contract
from shiftlab.detector import NOMINAL, Detector, Universe
from shiftlab.detector.prior import correlation_matrix
from shiftlab.detector.recorder import Recorder
from shiftlab.detector.variation import missing_variation
from shiftlab.errors import ConfigError, DataError
from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.events.pairs import pair
from shiftlab.events.tokens import Tokens
from shiftlab.provenance import digest_file, digest_json, digest_source, versions
from shiftlab.responses.assembly import assemble
from shiftlab.responses.budget import measure
from shiftlab.responses.responses import Responses
from shiftlab.responses.selection import AnalysisSelection
from shiftlab.responses.shards import Shards, Unit, chunks, save_events
from shiftlab.responses.workers import Job, StoredArm, work_through
from shiftlab.tasks import Task, named_tasks

__all__ = ["RESPONSES", "respond"]

RESPONSES: Final = "responses.h5"
"""Name of the file in a run's folder."""


def respond(
    events: Deposits | Tokens,
    detector: Recorder,
    universes: Sequence[Universe],
    arms: Sequence[Arm],
    *,
    tasks: Sequence[Task | str] | None = None,
    muons: Deposits | None = None,
    variations: Mapping[str, Deposits] | None = None,
    selection: AnalysisSelection | None = None,
    folder: Path | None = None,
    workers: int = 1,
    chunk: int = 256,
    device: str = "cpu",
    progress: bool | None = None,
    reuse: bool = True,
    mix_revisions: bool = False,
    most_tokens: int | None = None,
    correlations: Mapping[str, float] | None = None,
) -> Responses:
    """Return the outputs of every arm and seed for every event in every universe.

    The nominal universe is put first when it is not among them. The unit of work is one event
    chunk in one universe: the chunk is prepared once, imaged once a universe, and every arm runs
    on that image. Units are kept in ``folder`` as they finish, so that a run that was stopped
    goes on where it was; the assembled responses lie there as ``responses.h5``.

    Args:
        events: deposits of the evaluation sample, in the detector's frame; tokens where the detector takes them.
        detector: the detector.
        universes: the universes; names must differ.
        arms: all arms of all seeds; every arm must have the same seeds.
        tasks: what to predict, tasks or their names; None for every task of images that need not be named.
        muons: the disjoint muon sample, needed when a universe is recalibrated with ``mip``.
        variations: by name of the effect, the same vertices carried by another model; needed where a universe
            displaces an effect of the stage ``generate``; matched by ``vertex_uid`` (``shiftlab.events.pair``).
        selection: the analysis selection; None for its default cuts.
        folder: where to keep units and result; None keeps nothing.
        workers: number of processes, at least 1; they share torch's threads (one per core, if not set otherwise).
        chunk: events a chunk.
        device: torch device of images and arms.
        progress: True or False to show or hide budget and progress bar on stderr; None shows them
            on a terminal.
        reuse: False prepares the deposits anew in every universe, as a control.
        most_tokens: tokens of an event that the memory of the machine allows a network; an event with more is answered
            as an empty image is, and counted (``left_out``); None for no limit.
        mix_revisions: whether arms may be judged on another revision of the data set that they were
            trained on; the choice is recorded.
        correlations: of nuisances in the prior, by pair, as ``multisim`` takes them; kept with the responses, so that
            whoever sums over nuisances knows the prior. None where the nuisances are independent.

    Raises:
        ConfigError: universes, arms, workers, chunk or correlations that cannot be run, or an arm that was trained
            on another lattice or threshold than the detector has.
        DataError: no events, events that an arm was trained on or of another revision of its data set,
            or an output that is not finite.
        RunError: a unit failed (the message names it) or the disk is full.
    """
    _check(events, workers, chunk)
    tasks = named_tasks() if tasks is None else _named(tasks)
    for task in tasks:
        events = events if isinstance(events, Tokens) else task.with_truth(events)
    universes = _with_nominal(universes)
    prior = dict(correlations or {})
    correlation_matrix([nuisance.name for nuisance in detector.nuisances], prior)
    for universe in universes:
        detector.check(universe)
    twins = _twins(events, detector, universes, variations or {})
    stored = _grid(arms)
    for arm in stored:
        _admit(arm, detector, events, mix_revisions)
    with ExitStack() as stack:
        stack.enter_context(repeatable(device))
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shiftlab-")))
        scratch = folder / "shards"
        job = Job(
            events=scratch / "events.h5",
            detector=detector,
            universes=universes,
            scales=_scales(detector, universes, muons, device),
            arms=tuple(StoredArm(type(arm), arm.seed, scratch / "arms") for arm in stored),
            tasks=tasks,
            selection=selection or AnalysisSelection(),
            most_tokens=most_tokens,
            shards=Shards(scratch, ""),
            chunk=chunk,
            device=device,
            threads=max(1, torch.get_num_threads() // workers),
            reuse=reuse,
            variations={name: scratch / f"variation_{name}.h5" for name in twins},
            correlations=prior,
        )
        record = {**_handed_over(job, events, stored, twins), "mix_revisions": mix_revisions}
        return _responses(job, folder / RESPONSES, events.events, record, workers, progress)


def _admit(arm: Arm, detector: Recorder, events: Deposits | Tokens, mix_revisions: bool) -> None:
    """Refuse an arm that may not be judged on these events of this detector.

    Raises:
        ConfigError: it was trained on other input.
        DataError: it was trained on some of the events, or on another revision of their data set.
    """
    _require_input(arm, detector, events)
    arm.refuse_training_vertices(events.events)
    if not mix_revisions:
        arm.refuse_other_revisions(events.events)


def _require_input(arm: Arm, detector: Recorder, events: Deposits | Tokens) -> None:
    """Refuse an arm that was trained on other input than the detector gives; of tokens the first event is recorded.

    Raises:
        ConfigError: it was; the message names what differs.
    """
    where = f"arm '{arm.name}' seed {arm.seed}"
    if not isinstance(detector, Detector):
        try:
            observe(detector.image(detector.prepare(events.take([0]))), None, arm.contract)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error
    elif isinstance(arm.contract, InputContract):
        arm.contract.require(input_contract(detector), where)
    else:
        raise ConfigError(f"{where}: trained on tokens, but detector '{detector.name}' gives images.")


def _check(events: Deposits | Tokens, workers: int, chunk: int) -> None:
    if len(events) == 0:
        raise DataError("no events to respond to: the evaluation sample or its selection is empty.")
    for key, value in (("workers", workers), ("chunk", chunk)):
        if value < 1:
            raise ConfigError(f"{key} = {value}; it must be at least 1.")


def _twins(
    events: Deposits | Tokens, detector: Recorder, universes: Sequence[Universe], given: Mapping[str, Deposits]
) -> dict[str, Deposits]:
    """Return the variations that the universes take, matched to the events.

    Raises:
        ConfigError: a universe varies generation without its paired events, or combines two variations.
        DataError: the vertices are not the same.
    """
    detector.refuse_variations(given)
    wanted = dict.fromkeys(name for universe in universes for name in detector.displaced_generators(universe))
    for name in wanted:
        if name not in given:
            raise missing_variation(name)
    return {name: pair(events, given[name])[1] for name in wanted if isinstance(events, Deposits)}


def _named(tasks: Sequence[Task | str]) -> tuple[Task, ...]:
    return tuple(named_tasks([task])[0] if isinstance(task, str) else task for task in tasks)


def _with_nominal(universes: Sequence[Universe]) -> tuple[Universe, ...]:
    """Return the universes with the nominal one first.

    Raises:
        ConfigError: two of them have one name.
    """
    rest = [universe for universe in universes if universe != NOMINAL]
    names = [NOMINAL.name, *(universe.name for universe in rest)]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"universes: '{name}' is given more than once.")
    return (NOMINAL, *rest)


def _grid(arms: Sequence[Arm]) -> list[Arm]:
    """Return the arms arm by arm and seed by seed.

    Raises:
        ConfigError: none is given, one is given twice, or an arm lacks a seed that another has.
    """
    if not arms:
        raise ConfigError("arms: none is given.")
    found = {(arm.name, arm.seed): arm for arm in arms}
    if len(found) < len(arms):
        raise ConfigError("arms: one arm is given twice with the same seed.")
    names, seeds = dict.fromkeys(arm.name for arm in arms), sorted({arm.seed for arm in arms})
    missing = [f"{name} seed {seed}" for name in names for seed in seeds if (name, seed) not in found]
    if missing:
        raise ConfigError(f"arms: every arm needs the same seeds; missing: {', '.join(missing)}.")
    return [found[name, seed] for name in names for seed in seeds]


def _scales(
    detector: Recorder, universes: Sequence[Universe], muons: Deposits | None, device: str
) -> tuple[float, ...]:
    """Return the muon-calibration factor of each universe; 1 where none is applied."""
    if not isinstance(detector, Detector) or all(universe.recalibrate != "mip" for universe in universes):
        return (1.0,) * len(universes)
    if muons is None or len(muons) == 0:
        raise DataError("universes with recalibrate 'mip' need the calibration muons; none are given.")
    prepared = detector.prepare(muons.to(device))
    return tuple(detector.mip_factor(prepared, u) if u.recalibrate == "mip" else 1.0 for u in universes)


def _handed_over(
    job: Job, events: Deposits | Tokens, arms: Sequence[Arm], twins: Mapping[str, Deposits]
) -> dict[str, Any]:
    """Write arms and events where the workers open them; return what decides the numbers, as plain values."""
    folder = job.events.parent / "arms"
    shutil.rmtree(folder, ignore_errors=True)
    for arm in arms:
        arm.save(folder)
    return {
        **_record(job, save_events(job.events, events)),
        "dataset": events.events.dataset,
        "most_tokens": job.most_tokens,
        "variations": {name: save_events(job.variations[name], twin) for name, twin in twins.items()},
    }


def _record(job: Job, events: str) -> dict[str, Any]:
    """Return what of a job decides the numbers, as plain values; ``events`` is their digest."""
    return {
        "arms": {
            str(file.relative_to(job.events.parent)): digest_file(file)
            for file in sorted((job.events.parent / "arms").rglob("*"))
            if file.is_file()
        },
        "chunk": job.chunk,
        "detector": job.detector.to_dict(),
        "device": job.device,
        "events": events,
        "scales": list(job.scales),
        "seeds": [[arm.kind.name, arm.seed] for arm in job.arms],
        "selection": asdict(job.selection),
        "source": digest_source(),
        "tasks": [task.name for task in job.tasks],
        "threads": job.threads,
        "universes": [universe.to_dict() for universe in job.universes],
        "versions": versions(),
        # Only where it says something, so that a plan from before there were correlations stays the same.
        **({"correlations": dict(job.correlations)} if job.correlations else {}),
    }


def _responses(
    job: Job, file: Path, events: EventTable, record: Mapping[str, Any], workers: int, progress: bool | None
) -> Responses:
    """Return the responses of a job: those in ``file`` if they are of the same plan, else worked out and saved there.

    Args:
        job: the job; shards of its plan are taken over.
        file: where the result lies.
        events: the table of all events.
        record: what decides the numbers; its digest is the plan.
        workers: number of processes.
        progress: see ``respond``.
    """
    plan = digest_json(record)
    responses = Responses.load(file) if file.exists() else None
    if responses is None or responses.attrs.get("plan") != plan:
        job = replace(job, shards=Shards(job.shards.folder, plan))
        _work(job, len(events), workers, progress)
        responses = assemble(job, events, job.detector.nuisances, {**record, "plan": plan})
        responses.save(file)
    shutil.rmtree(job.shards.folder)
    return responses


def _work(job: Job, events: int, workers: int, progress: bool | None) -> None:
    """Compute the units that are not there yet."""
    units = [Unit(i, u) for i in range(len(chunks(events, job.chunk))) for u in range(len(job.universes))]
    missing = [unit for unit in units if unit not in job.shards]
    if not missing:
        return
    shown = sys.stderr.isatty() if progress is None else progress
    if shown:
        budget = measure(job, done=1.0 - len(missing) / len(units), workers=workers)
        sys.stderr.write(f"{budget}\n")
    interval = 0.1 if sys.stderr.isatty() else 15.0
    done = len(units) - len(missing)
    with tqdm(
        desc="responses", total=len(units), initial=done, unit="unit", mininterval=interval, disable=not shown
    ) as bar:
        for _ in work_through(job, missing, workers):
            bar.update()
