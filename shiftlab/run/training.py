"""Training the arms of a study: from its training sample to a checkpoint folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from shiftlab.arms import arms
from shiftlab.arms.recipe import Recipe
from shiftlab.arms.study import train_study as train_arms
from shiftlab.detector import Detector
from shiftlab.plan import StudyConfig
from shiftlab.run.ingredients import choose_device, read_training
from shiftlab.tasks import named_tasks

__all__ = ["retrained", "train_study"]


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
    events = read_training(config)
    plan = config.arms.train
    return train_arms(
        events,
        replace(Detector.from_config(config.detector), seed=config.seed),
        folder,
        arms(),
        named_tasks(config.tasks),
        names=config.arms.names,
        seeds=config.arms.seeds,
        recipe=Recipe(body=plan.body, head=plan.head, scratch=plan.scratch),
        minutes=plan.minutes,
        device=device,
        fresh=fresh,
    )
