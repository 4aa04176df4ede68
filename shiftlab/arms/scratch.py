"""Arm C: the same architecture trained from scratch for each task on that task's own events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from shiftlab.arms.network_arm import BodyPerTask
from shiftlab.arms.training import Workshop
from shiftlab.arms.training.networks import fit_heads, seeded
from shiftlab.arms.training.recipe import Recipe
from shiftlab.arms.training.spending import counted, spent
from shiftlab.arms.training_set import TrainingSet
from shiftlab.tasks.task import Task

__all__ = ["Scratch"]


class Scratch(BodyPerTask):
    """A body and a head of its own for each task, from random weights."""

    name = "scratch"
    letter = "C"

    @classmethod
    def train(cls, data: TrainingSet, tasks: Sequence[Task], seed: int, recipe: Recipe, workshop: Workshop) -> Self:
        """Train one network after another, body and head together."""
        networks, curves, stages = {}, {}, {}
        for task in tasks:
            with seeded(seed, cls.name, task.name):
                network = cls.fresh((task,), lambda: recipe.fresh_body(data.contract))[task.name].to(data.device)
            run = workshop.run(f"{cls.name} seed{seed} {task.name}", seed)
            own = recipe.from_scratch(task.name)
            curves[task.name] = fit_heads(run, network, task, data, own, own.scratch, own.scratch_rate)
            stages[task.name] = spent(run)
            networks[task.name] = network
        record = {"curves": curves, "spent": counted(stages)}
        return cls(seed, networks, record, data.image.events.vertex.cpu().numpy())
