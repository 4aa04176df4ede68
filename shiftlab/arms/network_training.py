"""Training of a network towards the truth of one task, body and head together or the head alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor

from shiftlab.arms.network import Network
from shiftlab.arms.recipe import Recipe
from shiftlab.arms.training import Run, keyed, presentations, train
from shiftlab.arms.training_set import TrainingSet
from shiftlab.tasks.task import Task, VoxelTask

__all__ = ["fit_heads", "seeded"]


@contextmanager
def seeded(*words: object) -> Iterator[None]:
    """Give initial weights that are a function of the words; torch's own generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed(*words))
        yield


def fit_heads(
    run: Run, network: Network, task: Task, data: TrainingSet, recipe: Recipe, total: int, peak: float
) -> list[float]:
    """Train what needs a gradient in the body and in one task's head; return the loss curve.

    Args:
        run: Name, seed and state file.
        network: The network; a body without gradients stays frozen.
        task: Its head is trained, on the task's own events.
        data: Training events.
        recipe: Optimiser settings.
        total: Presentations.
        peak: Peak learning rate.
    """
    head = network.heads[task.name]
    frozen = not any(value.requires_grad for value in network.body.parameters())

    def loss(rows: Tensor, generator: Generator) -> Tensor:
        """Return the task's loss of the events at ``rows``; a frozen body keeps no gradients."""
        batch = data.batch(rows, generator)
        with torch.set_grad_enabled(not frozen):
            encoded = network.body(batch.patches)
        raw = head(encoded)
        target = batch.label if isinstance(task, VoxelTask) else batch.targets[task.name]
        return task.loss(raw, target)

    trained = head if frozen else _only(network, task)
    batches = presentations(data.rows[task.name], data.size, total, recipe.batch, run.seed)
    head_peak = None if frozen else recipe.head_rate
    return train(run, trained, batches, loss, recipe, peak=peak, keys=data.image.events.key, head_peak=head_peak)


def _only(network: Network, task: Task) -> torch.nn.Module:
    return torch.nn.ModuleDict({"body": network.body, "head": network.heads[task.name]})
