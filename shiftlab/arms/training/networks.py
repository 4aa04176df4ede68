"""Training of networks towards the truth of tasks: body and head together, the head alone, or all heads at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import torch
from torch import Generator, Tensor, nn

from shiftlab.arms.network import Network
from shiftlab.arms.training import Measured, Run, Workshop, keyed, presentations, train
from shiftlab.arms.training.ahead import draws
from shiftlab.arms.training.presentation import held_out
from shiftlab.arms.training.processes import Processes
from shiftlab.arms.training.recipe import Recipe
from shiftlab.arms.training.spending import counted, spent
from shiftlab.arms.training_set import Batch, TrainingSet
from shiftlab.errors import DataError
from shiftlab.tasks.particle_task import ParticleTask
from shiftlab.tasks.set_loss import SetAnswer, SetTarget
from shiftlab.tasks.task import Task, VoxelTask
from shiftlab.tasks.voxel_truth import NONE

__all__ = [
    "Balance",
    "VALIDATED",
    "divided",
    "fit_each_head",
    "fit_heads",
    "fit_together",
    "foreseeing",
    "judge",
    "seeded",
    "task_loss",
]

VALIDATED: Final = 2048
"""At most so many held-out events of a task judge a training."""


@contextmanager
def seeded(*words: object) -> Iterator[None]:
    """Give initial weights that are a function of the words; torch's own generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed(*words))
        yield


def divided(data: TrainingSet, rows: Tensor, recipe: Recipe, seed: int) -> tuple[Tensor, Tensor]:
    """Return the events that are trained on and those that judge the training, int64 (event,) each.

    Whole vertices are held out (``Recipe.validation``). Where few events leave one side empty, all are trained on.
    """
    vertices = data.image.events.vertex
    kept = torch.from_numpy(held_out(vertices[rows.to(vertices.device)].cpu().numpy(), recipe.validation, seed))
    return (rows[~kept], rows[kept]) if bool(kept.any()) and not bool(kept.all()) else (rows, rows[:0])


@contextmanager
def foreseeing(run: Run, data: TrainingSet, batches: Sequence[Tensor], recipe: Recipe) -> Iterator[TrainingSet]:
    """Give the set whose batches a thread cuts while the network works, where images are mapped; the same bits."""
    if not data.mapped:  # in memory they are at hand
        yield data
        return
    own = Processes.here(data.device).own(recipe.pieces)
    with data.cutting(draws(run, batches, recipe.pieces, own)) as source:
        yield source


def task_loss(task: Task, raw: Tensor | SetAnswer, batch: Batch, asked: Tensor | None = None) -> Tensor:
    """Return the loss of a task on a batch.

    Args:
        task: The task.
        raw: What its head gave.
        batch: The events.
        asked: bool (event,), the events that count, all of which have the task's truth; None for all.

    Raises:
        DataError: the task asks for particles, and the batch came without them.
    """
    if isinstance(raw, SetAnswer):
        if not isinstance(task, ParticleTask) or batch.owner is None or batch.particles is None:
            raise DataError(f"task '{task.name}' is trained on sets of particles; this batch came without them.")
        return task.set_loss(raw, SetTarget(batch.owner, batch.particles, asked))
    if isinstance(task, VoxelTask):
        if asked is None:
            return task.loss(raw, batch.label)
        patches = batch.patches
        return task.loss(raw, torch.where(asked[patches.patch_event[patches.voxel_patch]], batch.label, NONE))
    target = batch.targets[task.name]
    return task.loss(raw, target) if asked is None else task.loss(raw[asked], target[asked])


def fit_each_head(
    label: str,
    network: Network,
    tasks: Sequence[Task],
    data: TrainingSet,
    recipe: Recipe,
    workshop: Workshop,
    seed: int,
) -> dict[str, Any]:
    """Train one head after another on a frozen body; return the arm's record: curves and what was spent."""
    curves, stages = {}, {}
    for task in tasks:
        run = workshop.run(f"{label} {task.name}", seed)
        curves[task.name] = fit_heads(run, network, task, data, recipe, recipe.head, recipe.head_rate)
        stages[task.name] = spent(run)
    return {"curves": curves, "spent": counted(stages)}


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
    if frozen:
        network.body.eval()

    trained = head if frozen else nn.ModuleDict({"body": network.body, "head": head})
    rows, judged = divided(data, data.rows[task.name], recipe, run.seed)
    batches = presentations(rows, data.size, total, recipe.batch, run.seed)
    with foreseeing(run, data, batches, recipe) as source:

        def loss(rows: Tensor, generator: Generator) -> Tensor:
            """Return the task's loss of the events at ``rows``; a frozen body keeps no gradients."""
            batch = source.batch(rows, generator)
            with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
                encoded = network.body(batch.patches)
            return task_loss(task, head(encoded), batch)

        return train(
            run,
            trained,
            batches,
            loss,
            recipe,
            peak=peak,
            keys=data.image.events.key,
            head_peak=None if frozen else recipe.head_rate,
            validation=judge(loss, [judged], recipe, run.seed),
        )


class Balance(nn.Module):
    """Weights of the losses of several tasks that are learned together.

    The sum is over exp(-s) L + s with one learned s per task, 0 at the start: at its minimum exp(s) = L, so that each
    task counts in units of its own loss (homoscedastic uncertainty: Kendall, Gal and Cipolla, arXiv:1705.07115,
    section 3.2, with one form for all tasks). It needs no draws and no running mean.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        """Make equal weights."""
        super().__init__()
        self.log_scale = nn.ParameterDict({task.name: nn.Parameter(torch.zeros(())) for task in tasks})

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the balanced mean of scalar losses."""
        terms = [torch.exp(-self.log_scale[name]) * loss + self.log_scale[name] for name, loss in losses.items()]
        return torch.stack(terms).mean()


def fit_together(
    run: Run, network: Network, tasks: Sequence[Task], data: TrainingSet, recipe: Recipe, total: int, peak: float
) -> list[float]:
    """Train one body with all heads at once; return the curve of the balanced loss.

    Every step takes ``Recipe.batch`` events of each task's own, and each event counts for every task whose
    truth it has. Losses are weighed against each other by ``Balance``.

    Args:
        run: Name, seed and state file.
        network: The network.
        tasks: All of them are trained.
        data: Training events.
        recipe: Optimiser settings.
        total: Presentations for each task.
        peak: Peak learning rate of the body.
    """
    parts = {task.name: divided(data, data.rows[task.name], recipe, run.seed) for task in tasks}
    device = data.device
    taught = {name: _members(len(data.image), rows, device) for name, (rows, _) in parts.items()}
    known = {name: _members(len(data.image), torch.cat(pair), device) for name, pair in parts.items()}
    balance = Balance(tasks).to(device)
    trained = nn.ModuleDict({"body": network.body, "head": nn.ModuleDict({"tasks": network.heads, "balance": balance})})
    streams = [
        presentations(parts[task.name][0], data.size, total, recipe.batch, keyed(run.seed, task.name)) for task in tasks
    ]
    batches = [torch.cat(step) for step in zip(*streams, strict=True)]
    with foreseeing(run, data, batches, recipe) as source:

        def loss(rows: Tensor, generator: Generator, members: Mapping[str, Tensor] = taught) -> Tensor:
            batch = source.batch(rows, generator)
            encoded = network.body(batch.patches)
            losses = {}
            for task in tasks:
                asked = members[task.name][rows.to(device)]
                if bool(asked.any()):
                    losses[task.name] = task_loss(task, network.heads[task.name](encoded), batch, asked)
            balanced: Tensor = balance(losses)
            return balanced

        return train(
            run,
            trained,
            batches,
            loss,
            recipe,
            peak=peak,
            keys=data.image.events.key,
            head_peak=recipe.head_rate,
            validation=judge(partial(loss, members=known), [pair[1] for pair in parts.values()], recipe, run.seed),
        )


def _members(events: int, rows: Tensor, device: torch.device | str) -> Tensor:
    """Return bool (event,): which are among ``rows``."""
    found = torch.zeros(events, dtype=torch.bool)
    found[rows.cpu()] = True
    return found.to(device)


def _sampled(rows: Tensor, seed: int) -> Tensor:
    """Return at most ``VALIDATED`` of the events at ``rows``, in their order."""
    if len(rows) <= VALIDATED:
        return rows
    order = torch.randperm(len(rows), generator=Generator().manual_seed(keyed(seed, "judged")))
    return rows[order[:VALIDATED].sort().values]


def judge(
    loss: Callable[[Tensor, Generator], Tensor | Measured], judged: Sequence[Tensor], recipe: Recipe, seed: int
) -> Callable[[], float] | None:
    """Return what judges a training: the mean loss of held-out events, with the same draws each time.

    Of more than ``VALIDATED`` events a keyed sample is taken: a file may hold one class after the other.

    Args:
        loss: Mean loss of some events.
        judged: int64 (event,), held-out events of each task; None is returned where one of them has none.
        recipe: Events per batch.
        seed: Seed of the sample and of the draws.
    """
    if any(not len(rows) for rows in judged):
        return None
    parts = [part for rows in judged for part in torch.split(_sampled(rows, seed), recipe.batch)]

    def validation() -> float:
        generator = torch.Generator().manual_seed(keyed(seed, "validation"))
        total = weight = 0.0
        for part in parts:
            found = loss(part, generator)
            measured = found if isinstance(found, Measured) else Measured(found, float(len(part)))
            total, weight = total + float(measured.loss) * measured.weight, weight + measured.weight
        return total / weight

    return validation
