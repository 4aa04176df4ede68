"""Arm A: one shared body, pre-trained without labels and frozen, with one head per task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

from torch import Generator, Tensor

from shiftlab.arms.arm import Outputs
from shiftlab.arms.body import Body
from shiftlab.arms.network import Network
from shiftlab.arms.network_arm import NetworkArm
from shiftlab.arms.network_training import fit_heads, seeded
from shiftlab.arms.objectives.masked_modelling import MaskedModelling
from shiftlab.arms.observation import Observation
from shiftlab.arms.recipe import Recipe
from shiftlab.arms.training import Workshop, presentations, train
from shiftlab.arms.training_set import TrainingSet
from shiftlab.tasks.task import Task

__all__ = ["Foundation"]


class Foundation(NetworkArm):
    """The body learns by masked modelling of voxel patches; one pass of it feeds all heads."""

    name = "foundation"
    letter = "A"

    @classmethod
    def fresh(cls, tasks: Sequence[Task], body: Callable[[], Body]) -> dict[str, Network]:
        """Return one untrained network with all heads."""
        return {"shared": Network(body(), tasks)}

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that have a head."""
        return tuple(self._network().heads)

    @property
    def bodies(self) -> int:
        """One: the pass is shared."""
        return 1

    def answer(self, observation: Observation, tasks: Sequence[Task]) -> Outputs:
        """Return float32 (scored event, output) for each task."""
        self.require_tasks(tasks)
        return self._network().answer(observation, tasks)

    @classmethod
    def train(cls, data: TrainingSet, tasks: Sequence[Task], seed: int, recipe: Recipe, workshop: Workshop) -> Self:
        """Pre-train the body on all events without labels, freeze it, then train one head after another."""
        label = f"{cls.name} seed{seed}"
        with seeded(seed, cls.name):
            networks = cls.fresh(tasks, lambda: recipe.fresh_body(data.contract))
            network = networks["shared"].to(data.label.device)
            model = MaskedModelling(network.body).to(data.label.device)

        def loss(rows: Tensor, generator: Generator) -> Tensor:
            value: Tensor = model(data.batch(rows, generator).patches, generator)
            return value

        batches = presentations(data.seen, data.size, recipe.body, recipe.batch, seed)
        run = workshop.run(f"{label} body", seed)
        curves = {"body": train(run, model, batches, loss, recipe, peak=recipe.body_rate, keys=data.image.events.key)}
        network.body.requires_grad_(False)
        for task in tasks:
            run = workshop.run(f"{label} {task.name}", seed)
            curves[task.name] = fit_heads(run, network, task, data, recipe, recipe.head, recipe.head_rate)
        vertices = data.image.events.vertex.cpu().numpy()
        return cls(seed, networks, {"curves": curves, "pretraining_events": len(data.seen)}, vertices)
