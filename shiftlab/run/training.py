"""Training the arms of a study: from its training sample to a checkpoint folder."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from shiftlab.arms import arms
from shiftlab.arms.training.recipe import NETWORKS, OBJECTIVES, Recipe
from shiftlab.arms.training.study import train_study as train_arms
from shiftlab.detector import Detector
from shiftlab.detector.recorder import recorder
from shiftlab.plan import ArmPlan, PretrainingArms, StudyConfig
from shiftlab.run.ingredients import choose_device, read_training, training_file
from shiftlab.tasks import named_tasks

__all__ = ["recipe_of", "retrained", "train_study"]


def train_study(config: StudyConfig, *, fresh: bool = False) -> Path:
    """Train the arms and seeds of a study and return the folder of their checkpoints.

    A training that was stopped goes on where it was; what is trained already is left alone.

    Args:
        config: the ingredients; ``data.train`` must be given.
        fresh: discard what was trained before.

    Raises:
        ConfigError: there is no training sample, or the folder holds other arms.
        DataError: the sample cannot be used.
        RunError: the time limit was reached; the same command goes on.
    """
    return _train(config, config.arms.checkpoints, choose_device(config.device), fresh=fresh)


def retrained(config: StudyConfig, folder: Path, device: str) -> Path:
    """Train the arms of a study into the folder of its run and return the checkpoint folder."""
    return _train(config, folder / "checkpoints", device, fresh=False)


def _train(config: StudyConfig, folder: Path, device: str, *, fresh: bool) -> Path:
    detector = recorder(config.detector, config.seed)
    # Images are mapped from a file, as in pre-training; tokens are few enough for memory.
    sample = [training_file(config)] if isinstance(detector, Detector) else read_training(config)
    return train_arms(
        sample,
        detector,
        folder,
        arms(),
        named_tasks(config.tasks),
        names=config.arms.names,
        seeds=config.arms.seeds,
        recipe=recipe_of(config.arms, "images" if isinstance(detector, Detector) else "tokens"),
        foundation=config.arms.foundation,
        minutes=config.arms.train.minutes,
        device=device,
        workers=config.workers or os.cpu_count() or 1,
        fresh=fresh,
    )


def recipe_of(plan: ArmPlan | PretrainingArms, given: Literal["images", "tokens"] = "images") -> Recipe:
    """Return the recipe of a plan for a kind of events: what it leaves open is the default for these."""
    settings: dict[str, Any] = {
        field.name: getattr(plan.train, field.name) for field in fields(plan.train) if field.name != "minutes"
    }
    if plan.size is not None:
        settings["size"] = plan.size
    return Recipe(network=plan.body or NETWORKS[given], objective=plan.objective or OBJECTIVES[given], **settings)
