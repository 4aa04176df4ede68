"""Arm A: one shared body, pre-trained without labels and frozen, with one head per task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from shiftlab.arms.network_arm import OneBody
from shiftlab.arms.training import Workshop
from shiftlab.arms.training.networks import fit_each_head, seeded
from shiftlab.arms.training.pretraining import pretrain
from shiftlab.arms.training.recipe import Recipe
from shiftlab.arms.training_set import TrainingSet
from shiftlab.tasks.task import Task

__all__ = ["Foundation"]


class Foundation(OneBody):
    """Heads on the frozen body of a foundation model; one pass of it feeds all heads, and those of all seeds on it."""

    name = "foundation"
    letter = "A"
    pretrained = True
    moves_body = False

    @classmethod
    def train(cls, data: TrainingSet, tasks: Sequence[Task], seed: int, recipe: Recipe, workshop: Workshop) -> Self:
        """Train one head after another on the body of the workshop's foundation model, else of one pre-trained here."""
        model = workshop.foundation or pretrain(data, seed, recipe, workshop)
        with seeded(seed, cls.name):
            networks = cls.fresh(tasks, lambda: model.body)
        network = networks["shared"].to(data.device)
        record = fit_each_head(f"{cls.name} seed{seed}", network, tasks, data, recipe, workshop, seed)
        return cls(seed, networks, record, data.image.events.vertex.cpu().numpy(), model)
