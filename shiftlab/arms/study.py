"""Train all arms and seeds of a study on one sample, into one checkpoint folder; stopping and going on is safe."""

from __future__ import annotations

import hashlib
import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from shiftlab.arms.arm import Arm
from shiftlab.arms.checkpoint import arm_folder, has_record, load_record
from shiftlab.arms.recipe import Recipe
from shiftlab.arms.training import Deadline, Workshop
from shiftlab.arms.training_set import TrainingSet, training_set
from shiftlab.detector import Detector
from shiftlab.errors import RunError
from shiftlab.events.deposits import Deposits
from shiftlab.provenance import digest_json
from shiftlab.registry import Registry
from shiftlab.tasks.task import Task

__all__ = ["deposits_digest", "train_study"]

_STATE = ".training"


def deposits_digest(deposits: Deposits) -> str:
    """Return the SHA-256 hex digest of the events' keys, vertices and deposits."""
    total = hashlib.sha256()
    columns = (deposits.offsets, deposits.position, deposits.energy, deposits.length, deposits.semantic)
    for column in (*columns, deposits.events.key, deposits.events.vertex):
        total.update(np.ascontiguousarray(column.cpu().numpy()).data)
    return total.hexdigest()


def train_study(
    deposits: Deposits,
    detector: Detector,
    folder: Path,
    known: Registry[Arm],
    tasks: Sequence[Task],
    *,
    names: Sequence[str],
    seeds: Sequence[int] = (0, 1),
    recipe: Recipe | None = None,
    minutes: float = math.inf,
    device: torch.device | str = "cpu",
    fresh: bool = False,
    progress: bool | None = None,
) -> Path:
    """Train the named arms; one that the folder already has from the same recipe and sample is left alone.

    Args:
        deposits: Training events; no vertex of them may be judged later.
        detector: Its nominal images are trained on.
        folder: Checkpoint folder.
        known: Register of arms.
        tasks: What is trained.
        names: Which arms.
        seeds: Which seeds of each.
        recipe: How; the default when None.
        minutes: Wall-clock limit; the state is kept and RunError raised when it is reached.
        device: Where networks are trained.
        fresh: Throw away what is in the folder.
        progress: Show a bar on stderr; None only where stderr is a terminal.

    Returns:
        The checkpoint folder.

    Raises:
        RunError: the folder holds another training and ``fresh`` is False, or the time is over.
        DataError: a loss is not finite, or a task has no training events.
    """
    started = time.monotonic()
    recipe = recipe or Recipe()
    kinds = [known.get(name) for name in names]
    if fresh and folder.exists():
        shutil.rmtree(folder)
    about = {
        "data_digest": deposits_digest(deposits),
        "events": len(deposits),
        "samples": {name: deposits.events.sample.count(name) for name in sorted(set(deposits.events.sample))},
        "detector": detector.name,
        "recipe": recipe.plain(),
        "trained_tasks": [task.name for task in tasks],
    }
    missing = [(kind, seed) for seed in seeds for kind in kinds if not _there(folder, kind, seed, about)]
    if not missing:
        return folder
    total = len(deposits) + sum(recipe.presented(kind.name, len(tasks)) for kind, _ in missing)
    with tqdm(total=total, unit="event", disable=_hidden(progress), desc="images", smoothing=0.05) as bar:
        data = training_set(deposits, detector, tasks, bar.update).to(device)
        for kind, seed in missing:
            bar.set_description(f"{kind.name} seed {seed}")
            workshop = Workshop(
                folder / _STATE, _identity(about, kind, seed), Deadline(started + 60 * minutes), bar.update
            )
            _train_one(kind, seed, data, tasks, recipe, workshop, folder, about)
    shutil.rmtree(folder / _STATE, ignore_errors=True)
    return folder


def _train_one(
    kind: type[Arm],
    seed: int,
    data: TrainingSet,
    tasks: Sequence[Task],
    recipe: Recipe,
    workshop: Workshop,
    folder: Path,
    about: dict[str, Any],
) -> None:
    arm = kind.train(data, tasks, seed, recipe, workshop)
    events = data.image.events
    # Whatever an arm did with its events, say held some back to stop early: it has seen them all.
    arm.training_vertices = np.union1d(arm.training_vertices, events.vertex.cpu().numpy())
    arm.record.update(about, identity=workshop.identity, dataset=events.dataset)
    arm.save(folder)
    for state in workshop.folder.glob(f"{kind.name}-seed{seed}-*"):
        state.unlink()


def _identity(about: dict[str, Any], kind: type[Arm], seed: int) -> str:
    return digest_json([about, kind.name, seed])


def _there(folder: Path, kind: type[Arm], seed: int, about: dict[str, Any]) -> bool:
    own = arm_folder(folder, kind.name, seed)
    if not has_record(own):
        return False
    if load_record(own).get("identity") != _identity(about, kind, seed):
        raise RunError(
            f"'{own}' was trained with another recipe or sample. Choose another folder, or train with --fresh."
        )
    return True


def _hidden(progress: bool | None) -> bool | None:
    return None if progress is None else not progress
