"""Arm D: one body trained from scratch with the heads of all tasks together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from shiftlab.arms.network_arm import OneBody
from shiftlab.arms.training import Workshop
from shiftlab.arms.training.networks import fit_together, seeded
from shiftlab.arms.training.recipe import Recipe
from shiftlab.arms.training.spending import counted, spent
from shiftlab.arms.training_set import TrainingSet
from shiftlab.tasks.task import Task

__all__ = ["Multitask"]


class Multitask(OneBody):
    """The body is shared as in arm A, and learns from labels as in arm C; losses are balanced by learned weights."""

    name = "multitask"
    letter = "D"

    @classmethod
    def train(cls, data: TrainingSet, tasks: Sequence[Task], seed: int, recipe: Recipe, workshop: Workshop) -> Self:
        """Train body and heads together; every step takes events of every task."""
        with seeded(seed, cls.name):
            networks = cls.fresh(tasks, lambda: recipe.fresh_body(data.contract))
        network = networks["shared"].to(data.device)
        run = workshop.run(f"{cls.name} seed{seed} all", seed)
        curve = fit_together(run, network, tasks, data, recipe, recipe.multitask, recipe.scratch_rate)
        record = {"curves": {"all": curve}, "spent": counted({"all": spent(run)})}
        return cls(seed, networks, record, data.image.events.vertex.cpu().numpy())
