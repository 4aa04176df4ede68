"""Arm B: for each task a copy of the foundation model that goes on learning, body and head together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Self

from shiftlab.arms.body import Body
from shiftlab.arms.network import Network
from shiftlab.arms.network_arm import BodyPerTask
from shiftlab.arms.training import Workshop
from shiftlab.arms.training.networks import fit_heads, seeded
from shiftlab.arms.training.pretraining import pretrain
from shiftlab.arms.training.recipe import Recipe
from shiftlab.arms.training.spending import counted, spent
from shiftlab.arms.training_set import TrainingSet
from shiftlab.tasks.task import Task

__all__ = ["Finetuned"]


class Finetuned(BodyPerTask):
    """The body starts from the foundation model and learns more slowly than the head.

    In the first share of the steps (``Recipe.frozen``) the head alone is trained, so that a random head does not
    spoil the features (linear probing then fine-tuning: Kumar et al., arXiv:2202.10054).
    """

    name = "finetuned"
    letter = "B"
    pretrained = True

    @classmethod
    def train(cls, data: TrainingSet, tasks: Sequence[Task], seed: int, recipe: Recipe, workshop: Workshop) -> Self:
        """Fine-tune one copy after another of the workshop's foundation model, else of one pre-trained here."""
        model = workshop.foundation or pretrain(data, seed, recipe, workshop)

        def copied() -> Body:
            return deepcopy(model.body).requires_grad_(True).train()

        networks, curves, stages = {}, {}, {}
        for task in tasks:
            with seeded(seed, cls.name, task.name):
                network = cls.fresh((task,), copied)[task.name].to(data.device)
            label = f"{cls.name} seed{seed} {task.name}"
            head = min(round(recipe.frozen * recipe.finetune), recipe.finetune - 1)
            if head:
                run = workshop.run(f"{label} head", seed)
                with _frozen(network):
                    curves[f"{task.name} head"] = fit_heads(run, network, task, data, recipe, head, recipe.head_rate)
                stages[f"{task.name} head"] = spent(run)
            run = workshop.run(label, seed)
            rest = recipe.finetune - head
            curves[task.name] = fit_heads(run, network, task, data, recipe, rest, recipe.finetune_rate)
            stages[task.name] = spent(run)
            networks[task.name] = network
        record = {"curves": curves, "spent": counted(stages)}
        return cls(seed, networks, record, data.image.events.vertex.cpu().numpy(), model)


@contextmanager
def _frozen(network: Network) -> Iterator[None]:
    """Keep the body of a network as it is inside."""
    network.body.requires_grad_(False)
    yield
    network.body.requires_grad_(True).train()
