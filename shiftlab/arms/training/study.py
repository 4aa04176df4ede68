"""Train all arms and seeds of a study on one sample, into one checkpoint folder; stopping and going on is safe."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from tqdm import tqdm

from shiftlab.arms.admitted import under_contract
from shiftlab.arms.arm import Arm
from shiftlab.arms.checkpoint import arm_folder, has_record, load_record, require_vertices
from shiftlab.arms.foundation_model import FoundationModel, load_foundation, save_foundation
from shiftlab.arms.network_arm import NetworkArm
from shiftlab.arms.tokens.set import TokenSet
from shiftlab.arms.training import Deadline, Workshop
from shiftlab.arms.training.pretraining import pretrain
from shiftlab.arms.training.processes import Processes
from shiftlab.arms.training.recipe import Recipe
from shiftlab.arms.training.sample import Sample, deposits_digest, described, training_data
from shiftlab.arms.training.spending import PRETRAINED, counted
from shiftlab.arms.training_set import TrainingSet, input_contract
from shiftlab.detector import Detector
from shiftlab.detector.recorder import Recorder
from shiftlab.errors import DataError, RunError
from shiftlab.provenance import digest_json
from shiftlab.registry import Registry
from shiftlab.tasks.task import Task

__all__ = ["deposits_digest", "train_study", "with_labels"]

_STATE: Final = ".training"
_CURVES: Final = "curves"


def train_study(
    sample: Sample,
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
    workers: int = 1,
    fresh: bool = False,
    progress: bool | None = None,
) -> Path:
    """Train the named arms and return the folder; one that it has from the same recipe and sample is left alone.

    Arms that rest on a foundation model get the same one: that of ``foundation`` for all seeds, or one for each
    seed, pre-trained here. Events in files, whose images are mapped, give the same arms as in memory, bit for bit.

    Args:
        sample: Training events in memory, or files of deposits; no vertex of them may be judged later.
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
        workers: Processes that make the images of files.
        fresh: Throw away what is in the folder.
        progress: Show bars on stderr; None only where stderr is a terminal.

    Raises:
        RunError: the folder holds another training and ``fresh`` is False, or the time is over.
        DataError: a loss is not finite, or a task has no or too few training events.
        ConfigError: the foundation model cannot be used with this detector, or the folder holds arms of another sample.
    """
    deadline = Deadline(time.monotonic() + 60 * minutes)
    kinds = [known.get(name) for name in names]
    given, recipe = _resting(foundation, kinds, detector, recipe or Recipe())
    processes = Processes.here(Processes.own_device(device))
    if fresh:
        _discard(folder, processes, whole=True)
    trainings = _Trainings(folder, _about(sample, detector, recipe, tasks), recipe, tuple(tasks), given, deadline)
    missing = [(kind, seed) for seed in seeds for kind in kinds if not trainings.has(kind, seed)]
    if missing:
        bars = _bars(processes, progress)
        with bars(desc="events") as bar:
            data = training_data(sample, detector, tasks, folder / _STATE, workers, bar.update).to(processes.device)
        require_vertices(folder, np.unique(data.image.events.vertex.cpu().numpy()))  # now, not when all is trained
        with bars(desc="training", total=trainings.presented(missing), smoothing=0.05) as bar:
            trainings.train_all(missing, data, bar)
        _discard(folder / _STATE, processes)
    return folder


def _resting(
    foundation: Path | None, kinds: Sequence[type[Arm]], detector: Recorder, recipe: Recipe
) -> tuple[FoundationModel | None, Recipe]:
    """Return the foundation model of all seeds, where an arm wants one, and the recipe with bodies of its size.

    Its card says what was built, so that a body trained from scratch is of the same size.
    """
    if foundation is None or not any(kind.pretrained for kind in kinds):
        return None, recipe
    given = load_foundation(foundation, input_contract(detector) if isinstance(detector, Detector) else None)
    body = given.described["body"]
    return given, replace(recipe, network=body["name"], size={key: body[key] for key in body if key != "name"})


def _about(sample: Sample, detector: Recorder, recipe: Recipe, tasks: Sequence[Task]) -> dict[str, Any]:
    """Return what every record says of the sample and the recipe."""
    trained = {"recipe": recipe.plain(), "trained_tasks": [task.name for task in tasks]}
    nominal = digest_json(_nominal(detector.to_dict()))
    return {**described(sample), "detector": detector.name, "detector_digest": nominal, **trained}


def _nominal(plain: Any) -> Any:
    """Return a detector's plain values with nothing but the nominal value of each parameter: what images depend on."""
    if not isinstance(plain, Mapping):
        return plain
    if "nominal" in plain and "sigma" in plain:
        return plain["nominal"]
    return {name: _nominal(value) for name, value in plain.items()}


def _discard(folder: Path, processes: Processes, *, whole: bool = False) -> None:
    """Remove a folder once no process needs it; all go on when it is gone.

    Raises:
        RunError: ``whole``, and something of it cannot be removed.
    """
    processes.wait()
    if processes.first:
        shutil.rmtree(folder, ignore_errors=True)
        if whole and folder.exists():
            raise RunError(f"'{folder}' cannot be removed for --fresh. Remove it yourself, or choose another folder.")
    processes.wait()


def _bars(processes: Processes, progress: bool | None) -> Callable[..., tqdm[Any]]:
    """Return what makes the bars of a training; only the first process shows them."""
    hidden = None if progress is None else not progress
    return partial(tqdm, unit="event", disable=hidden if processes.first else True)


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

    def identity(self, kind: type[Arm], seed: int, without: tuple[str, ...] = ()) -> str:
        """Return the digest of all that decides an arm's weights, without what an older record does not say."""
        rests = [self.given.digest] if kind.pretrained and self.given is not None else []
        about = {key: value for key, value in self.about.items() if key not in without}
        return digest_json([about, kind.name, seed, *rests])

    def has(self, kind: type[Arm], seed: int) -> bool:
        """Return whether the arm is trained already.

        Raises:
            RunError: it was trained otherwise.
        """
        own = arm_folder(self.folder, kind.name, seed)
        if not has_record(own):
            return False
        record = load_record(own)
        unsaid = tuple(key for key in ("detector_digest",) if key not in record)
        if record.get("identity") != self.identity(kind, seed, unsaid):
            raise RunError(
                f"'{own}' was trained with another recipe, sample, detector or foundation model. Choose another folder "
                "(arms.checkpoints=FOLDER), or train with --fresh, which discards it."
            )
        return True

    def presented(self, missing: Sequence[tuple[type[Arm], int]]) -> int:
        """Return all presentations that are still to come, pre-training among them."""
        heads = sum(self.recipe.presented(kind.name, len(self.tasks)) for kind, _ in missing)
        seeds = {seed for kind, seed in missing if kind.pretrained and self.given is None}
        return heads + self.recipe.body * sum(self._pretrained(seed) is None for seed in seeds)

    def train_all(self, missing: Sequence[tuple[type[Arm], int]], data: TrainingSet, bar: tqdm[Any]) -> None:
        """Train one arm and seed after another."""
        for kind, seed in missing:
            bar.set_description(f"{kind.name} seed {seed}")
            self.train(kind, seed, data, bar)

    def train(self, kind: type[Arm], seed: int, data: TrainingSet, bar: tqdm[Any]) -> None:
        """Train one arm and seed and store it."""
        rests = self._foundation(seed, data, bar) if kind.pretrained else None
        workshop = replace(self._workshop(self.identity(kind, seed), bar), foundation=rests)
        seen = data
        if self.given is not None and issubclass(kind, NetworkArm):
            seen = under_contract(data, self.given.body.contract, self.tasks)
        taught = with_labels(seen, self.recipe.labels, seed)
        started = time.monotonic()
        arm = kind.train(taught, self.tasks, seed, self.recipe, workshop)
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
            [
                *(self.about[key] for key in ("data_digest", "detector", "detector_digest")),
                *(self.recipe.plain(), "pretraining", seed),
            ]
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
