"""Control R: one shared body with random weights, frozen, with one head per task: what heads learn without a body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from shiftlab.arms.network_arm import OneBody
from shiftlab.arms.training import Workshop
from shiftlab.arms.training.networks import fit_each_head, seeded
from shiftlab.arms.training.recipe import Recipe
from shiftlab.arms.training_set import TrainingSet
from shiftlab.tasks.task import Task

__all__ = ["Random"]


class Random(OneBody):
    """Arm A without the pre-training; each seed has random weights of its own."""

    name = "random"
    letter = "R"
    moves_body = False

    @classmethod
    def train(cls, data: TrainingSet, tasks: Sequence[Task], seed: int, recipe: Recipe, workshop: Workshop) -> Self:
        """Draw the body, freeze it, and train one head after another as arm A does."""
        with seeded(seed, cls.name):
            networks = cls.fresh(tasks, lambda: recipe.fresh_body(data.contract))
        network = networks["shared"].to(data.device)
        network.body.requires_grad_(False)
        record = fit_each_head(f"{cls.name} seed{seed}", network, tasks, data, recipe, workshop, seed)
        return cls(seed, networks, record, data.image.events.vertex.cpu().numpy())
