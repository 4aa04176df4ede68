"""Pre-training of a foundation model of images or tokens: from files of events to a folder with weights and card."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from shiftlab.arms.foundation_model import is_foundation, load_foundation, save_foundation
from shiftlab.arms.images.store import TrainingFile, made_of
from shiftlab.arms.images.store_making import store_images
from shiftlab.arms.tokens.recorded import recorded_tokens
from shiftlab.arms.tokens.set import TokenSet, token_set
from shiftlab.arms.training import Deadline, Workshop
from shiftlab.arms.training.pretraining import pretrain
from shiftlab.arms.training.processes import Processes
from shiftlab.arms.training.study import deposits_digest
from shiftlab.arms.training_set import TrainingSet
from shiftlab.detector.recorder import Recorder, recorder
from shiftlab.detector.scintillator.token_chain import TokenChain
from shiftlab.errors import RunError
from shiftlab.events.splits import Manifest
from shiftlab.plan import PretrainingPlan
from shiftlab.provenance import digest_json
from shiftlab.run.ingredients import choose_device
from shiftlab.run.training import recipe_of

__all__ = ["pretrain_foundation"]

_STATE: Final = ".training"
_CURVES: Final = "curves"


def pretrain_foundation(plan: PretrainingPlan, *, fresh: bool = False, progress: bool | None = None) -> Path:
    """Pre-train the foundation model of a plan and return its folder.

    One that was stopped goes on from its state, and one that is finished is left alone. Under ``torchrun`` every
    process calls this, and the first one writes.

    Args:
        plan: The ingredients.
        fresh: Discard what the folder holds.
        progress: Show bars on stderr; None only where stderr is a terminal.

    Raises:
        RunError: the folder holds another foundation model, or the time limit was reached; the same call goes on.
        ConfigError: the objective cannot teach this body.
        DataError: a file cannot be used.
    """
    started = time.monotonic()
    device = Processes.own_device(choose_device(plan.device))
    processes = Processes.here(device)
    if fresh:
        if processes.first:
            shutil.rmtree(plan.out, ignore_errors=True)
        processes.told(0.0)  # the others wait
    shown = processes.first and (sys.stderr.isatty() if progress is None else progress)
    detector = recorder(plan.detector, plan.seed)
    recipe = recipe_of(plan.arms, "tokens" if isinstance(detector, TokenChain) else "images")
    lesson = _lesson(plan, detector)
    identity = digest_json([lesson.made_of, recipe.plain(), plan.arms.seed, "pretraining"])
    if _there(plan.out, identity):
        return plan.out
    with tqdm(unit="event", desc="events", disable=not shown) as bar:
        data = lesson.open(bar.update)
    about = _about(plan, lesson, data)
    with tqdm(total=recipe.body, unit="event", desc="pre-training", disable=not shown, smoothing=0.05) as bar:
        workshop = Workshop(
            plan.out / _STATE,
            identity,
            Deadline(started + 60 * plan.arms.train.minutes),
            bar.update,
            plan.out / _CURVES,
            _teller(bar),
        )
        model = pretrain(
            data.to(device), plan.arms.seed, recipe, workshop, {**about, "identity": identity}, name="pretraining"
        )
    if processes.first:
        save_foundation(plan.out, replace(model, card={**model.card, "licence": plan.licence}))
        shutil.rmtree(plan.out / _STATE, ignore_errors=True)
    return plan.out


@dataclass(frozen=True)
class _Lesson:
    """What is learned from.

    Attributes:
        made_of: What decides it, as JSON values.
        open: Gives the events; takes what is told the number of events done.
    """

    made_of: Mapping[str, Any]
    open: Callable[[Callable[[int], object]], TrainingSet]


def _lesson(plan: PretrainingPlan, detector: Recorder) -> _Lesson:
    """Return images, which are kept in a file, or tokens, which memory holds."""
    manifest = None if plan.data.manifest is None else Manifest.load(plan.data.manifest)
    files = [TrainingFile(path, manifest, plan.data.train_part) for path in plan.data.train]
    if isinstance(detector, TokenChain):
        tokens = token_set(recorded_tokens(files, detector), ())
        made = {"tokens": deposits_digest(tokens.image), "contract": tokens.contract.plain()}
        return _Lesson({"files": [file.plain() for file in files], **made}, lambda advance: tokens)
    folder, workers = plan.out / _STATE, plan.workers or os.cpu_count() or 1

    def images(advance: Callable[[int], object]) -> TrainingSet:
        return store_images(files, detector, folder, (), workers=workers, advance=advance).training_set(())

    return _Lesson(made_of(files, detector, ()), images)


def _about(plan: PretrainingPlan, lesson: _Lesson, data: TrainingSet) -> dict[str, Any]:
    """Return what the card says of the events, as JSON values."""
    sample = data.image.events.sample
    about = {
        "detector": str(plan.detector.get("name", "")),
        "detector_seed": plan.seed,
        "files": [
            {"name": path.name, **file} for path, file in zip(plan.data.train, lesson.made_of["files"], strict=True)
        ],
        "samples": {name: sample.count(name) for name in sorted(set(sample))},
    }
    if isinstance(data, TokenSet):
        return {
            **about,
            "tokens": digest_json(dict(lesson.made_of)),
            "events_over_token_limit": int(data.too_long.sum()),
        }
    return {**about, "images": digest_json(dict(lesson.made_of))}


def _teller(bar: Any) -> Callable[[float], object]:
    """Return what shows a running mean of the loss on the bar."""
    mean: list[float] = []

    def tell(loss: float) -> None:
        mean[:] = [loss if not mean else 0.98 * mean[0] + 0.02 * loss]
        bar.set_postfix_str(f"loss {mean[0]:.3f}", refresh=False)

    return tell


def _there(folder: Path, identity: str) -> bool:
    if not is_foundation(folder):
        return False
    if load_foundation(folder).card.get("identity") != identity:
        raise RunError(
            f"'{folder}' holds a foundation model of another recipe or sample. Choose another folder (out=FOLDER), or "
            "say --fresh, which discards it."
        )
    return True
