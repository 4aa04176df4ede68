"""Train all arms and seeds of a study on one sample, into one checkpoint folder; stopping and going on is safe."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from tqdm import tqdm

from shiftlab.arms.admitted import under_contract
from shiftlab.arms.arm import Arm
from shiftlab.arms.checkpoint import arm_folder, has_record, load_record
from shiftlab.arms.foundation_model import FoundationModel, load_foundation, save_foundation
from shiftlab.arms.network_arm import NetworkArm
from shiftlab.arms.tokens.set import TokenSet, token_set
from shiftlab.arms.training import Deadline, Workshop
from shiftlab.arms.training.pretraining import pretrain
from shiftlab.arms.training.processes import Processes
from shiftlab.arms.training.recipe import Recipe
from shiftlab.arms.training.spending import PRETRAINED, counted
from shiftlab.arms.training_set import TrainingSet, input_contract, training_set
from shiftlab.detector import Detector
from shiftlab.detector.recorder import Recorder
from shiftlab.errors import ConfigError, DataError, RunError
from shiftlab.events.deposits import Deposits
from shiftlab.events.tokens import Tokens
from shiftlab.provenance import digest_json
from shiftlab.registry import Registry
from shiftlab.tasks.task import Task

__all__ = ["deposits_digest", "train_study", "with_labels"]

_STATE: Final = ".training"
_CURVES: Final = "curves"


def deposits_digest(deposits: Deposits | Tokens) -> str:
    """Return the SHA-256 hex digest of the events' keys, vertices and deposits (or tokens)."""
    total = hashlib.sha256()
    columns: tuple[torch.Tensor, ...]
    if isinstance(deposits, Tokens):
        columns = (deposits.offsets, deposits.features, deposits.valid, deposits.particle, deposits.globals)
    else:
        columns = (deposits.offsets, deposits.position, deposits.energy, deposits.length, deposits.semantic)
    for column in (*columns, deposits.events.key, deposits.events.vertex):
        total.update(np.ascontiguousarray(column.cpu().numpy()).data)
    return total.hexdigest()


def train_study(
    deposits: Deposits | Tokens,
    detector: Recorder,
    folder: Path,
    known: Registry[Arm],
    tasks: Sequence[Task],
    *,
    names: Sequence[str],
    seeds: Sequence[int] = (0, 1),
    recipe: Recipe | None = None,
    foundation: Path | None = None,
    minutes: float = math.inf,
    device: torch.device | str = "cpu",
    fresh: bool = False,
    progress: bool | None = None,
) -> Path:
    """Train the named arms; one that the folder already has from the same recipe and sample is left alone.

    Arms that rest on a foundation model get the same one: that of ``foundation`` for all seeds, or one for
    each seed, pre-trained here on all events of the sample.

    Args:
        deposits: Training events, tokens where the detector takes them; no vertex of them may be judged later.
        detector: Its nominal images or tokens are trained on.
        folder: Checkpoint folder.
        known: Register of arms.
        tasks: What is trained.
        names: Which arms.
        seeds: Which seeds of each.
        recipe: How; the default when None.
        foundation: Folder of a foundation model that all seeds share; None pre-trains one for each seed.
        minutes: Wall-clock limit; the state is kept and RunError raised when it is reached.
        device: Where networks are trained.
        fresh: Throw away what is in the folder.
        progress: Show a bar on stderr; None only where stderr is a terminal.

    Returns:
        The checkpoint folder.

    Raises:
        RunError: the folder holds another training and ``fresh`` is False, or the time is over.
        DataError: a loss is not finite, or a task has no or too few training events.
        ConfigError: the foundation model cannot be used with this detector.
    """
    started = time.monotonic()
    recipe = recipe or Recipe()
    kinds = [known.get(name) for name in names]
    given = None
    if foundation is not None and any(kind.pretrained for kind in kinds):
        given = load_foundation(foundation, input_contract(detector) if isinstance(detector, Detector) else None)
        # The card says what was built, so that a body trained from scratch is of the same size.
        body = given.described["body"]
        recipe = replace(recipe, network=body["name"], size={key: body[key] for key in body if key != "name"})
    device = Processes.own_device(device)
    processes = Processes.here(device)
    if fresh:
        if processes.first:
            shutil.rmtree(folder, ignore_errors=True)
        processes.told(0.0)  # the others wait
    about = {
        "data_digest": deposits_digest(deposits),
        "events": len(deposits),
        "samples": {name: deposits.events.sample.count(name) for name in sorted(set(deposits.events.sample))},
        "detector": detector.name,
        "recipe": recipe.plain(),
        "trained_tasks": [task.name for task in tasks],
    }
    trainings = _Trainings(folder, about, recipe, tuple(tasks), given, Deadline(started + 60 * minutes))
    missing = [(kind, seed) for seed in seeds for kind in kinds if not trainings.has(kind, seed)]
    if not missing:
        return folder
    total = len(deposits) + trainings.presented(missing)
    hidden = _hidden(progress) if processes.first else True
    with tqdm(total=total, unit="event", disable=hidden, desc="images", smoothing=0.05) as bar:
        data = _training_data(deposits, detector, tasks, bar.update).to(device)
        for kind, seed in missing:
            bar.set_description(f"{kind.name} seed {seed}")
            trainings.train(kind, seed, data, bar)
    shutil.rmtree(folder / _STATE, ignore_errors=True)
    return folder


def _training_data(
    events: Deposits | Tokens, detector: Recorder, tasks: Sequence[Task], advance: Callable[[int], object]
) -> TrainingSet:
    """Return the nominal images, or the nominal tokens, with what the tasks are trained towards."""
    if not isinstance(detector, Detector):
        data = token_set(detector.image(detector.prepare(events)), tasks)
        advance(len(events))
        return data
    if isinstance(events, Tokens):
        raise ConfigError(f"detector '{detector.name}' takes deposits; the training events are tokens.")
    return training_set(events, detector, tasks, advance)


@dataclass(frozen=True)
class _Trainings:
    """What all trainings of one study share.

    Attributes:
        folder: Checkpoint folder.
        about: What every record says of the sample and the recipe.
        recipe: How arms are trained.
        tasks: What is trained.
        given: Foundation model that all seeds share; None pre-trains one for each seed.
        deadline: When to stop.
        made: Foundation models of this call, by seed.
    """

    folder: Path
    about: dict[str, Any]
    recipe: Recipe
    tasks: tuple[Task, ...]
    given: FoundationModel | None
    deadline: Deadline
    made: dict[int, FoundationModel] = field(default_factory=dict)

    def identity(self, kind: type[Arm], seed: int) -> str:
        """Return the digest of all that decides an arm's weights."""
        rests = [self.given.digest] if kind.pretrained and self.given is not None else []
        return digest_json([self.about, kind.name, seed, *rests])

    def has(self, kind: type[Arm], seed: int) -> bool:
        """Return whether the arm is trained already.

        Raises:
            RunError: it was trained otherwise.
        """
        own = arm_folder(self.folder, kind.name, seed)
        if not has_record(own):
            return False
        if load_record(own).get("identity") != self.identity(kind, seed):
            raise RunError(
                f"'{own}' was trained with another recipe, sample or foundation model. Choose another folder, or train "
                "with --fresh."
            )
        return True

    def presented(self, missing: Sequence[tuple[type[Arm], int]]) -> int:
        """Return all presentations that are still to come, pre-training among them."""
        heads = sum(self.recipe.presented(kind.name, len(self.tasks)) for kind, _ in missing)
        seeds = {seed for kind, seed in missing if kind.pretrained and self.given is None}
        return heads + self.recipe.body * sum(self._pretrained(seed) is None for seed in seeds)

    def train(self, kind: type[Arm], seed: int, data: TrainingSet, bar: tqdm[Any]) -> None:
        """Train one arm and seed and store it."""
        resting = {"foundation": self._foundation(seed, data, bar)} if kind.pretrained else {}
        workshop = self._workshop(self.identity(kind, seed), bar)
        seen = data
        if self.given is not None and issubclass(kind, NetworkArm):
            seen = under_contract(data, self.given.body.contract, self.tasks)
        taught = with_labels(seen, self.recipe.labels, seed)
        started = time.monotonic()
        arm = kind.train(taught, self.tasks, seed, self.recipe, workshop, **resting)
        events = data.image.events
        # Whatever an arm did with its events, say held some back to stop early: it has seen them all.
        arm.training_vertices = np.union1d(arm.training_vertices, events.vertex.cpu().numpy())
        arm.record.update(self.about, identity=workshop.identity, dataset=events.dataset, bodies=arm.bodies)
        if isinstance(data, TokenSet):
            arm.record["events_over_token_limit"] = int(data.too_long.sum())
        if isinstance(arm, NetworkArm):
            arm.record["augmentations"] = taught.augmentations
        arm.record.setdefault("spent", counted({"all": {"wall_s": time.monotonic() - started}}))
        if self.recipe.labels:
            arm.record["labelled_keys"] = {
                name: digest_json(events.key[rows.to(events.key.device)].tolist()) for name, rows in taught.rows.items()
            }
        if Processes.here(data.device).first:
            arm.save(self.folder)
            for state in workshop.folder.glob(f"{kind.name}-seed{seed}-*"):
                state.unlink()

    def _foundation(self, seed: int, data: TrainingSet, bar: tqdm[Any]) -> FoundationModel:
        """Return the foundation model of a seed: the given one, that of an earlier arm, or a new one."""
        if self.given is not None:
            return self.given
        if seed not in self.made:
            there = self._pretrained(seed)
            if there is not None:
                self.made[seed] = load_foundation(there, data.contract, data.device)
            else:
                self.made[seed] = self._pretrain(seed, data, bar)
        return self.made[seed]

    def _pretrain(self, seed: int, data: TrainingSet, bar: tqdm[Any]) -> FoundationModel:
        workshop = self._workshop(self._pretraining_identity(seed), bar)
        about = {key: self.about[key] for key in ("data_digest", "detector", "samples")}
        model = pretrain(data, seed, self.recipe, workshop, {**about, "identity": workshop.identity})
        if Processes.here(data.device).first:
            save_foundation(self.folder / PRETRAINED / model.digest[:12], model)
        return model

    def _pretrained(self, seed: int) -> Path | None:
        """Return the folder of the foundation model that was pre-trained here for a seed, if it is there."""
        wanted = self._pretraining_identity(seed)
        for card in sorted((self.folder / PRETRAINED).glob("*/foundation.json")):
            if json.loads(card.read_text(encoding="utf-8")).get("identity") == wanted:
                return card.parent
        return None

    def _pretraining_identity(self, seed: int) -> str:
        return digest_json(
            [self.about["data_digest"], self.about["detector"], self.recipe.plain(), "pretraining", seed]
        )

    def _workshop(self, identity: str, bar: tqdm[Any]) -> Workshop:
        def tell(loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.3g}", refresh=False)

        return Workshop(self.folder / _STATE, identity, self.deadline, bar.update, self.folder / _CURVES, tell)


def with_labels(data: TrainingSet, labels: int, seed: int) -> TrainingSet:
    """Return the training set with ``labels`` labelled events of each task; 0 keeps all.

    The events of fewer labels are among those of more (``shiftlab.arms.training.labelled``), and all arms of a seed
    get the same ones.

    Raises:
        DataError: a task has fewer events than that.
    """
    if not labels:
        return data
    for task, own in data.rows.items():
        if len(own) < labels:
            raise DataError(
                f"arms.train.labels={labels}: the training sample has only {len(own)} events with the truth of task "
                f"'{task}'. Ask for fewer labels, or give a larger sample."
            )
    return replace(data, rows={task: data.labelled(own, labels, seed) for task, own in data.rows.items()})


def _hidden(progress: bool | None) -> bool | None:
    return None if progress is None else not progress
