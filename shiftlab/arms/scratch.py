"""Arm C: the same architecture trained from scratch for each task on that task's own events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

from shiftlab.arms.arm import Outputs
from shiftlab.arms.body import Body
from shiftlab.arms.network import Network
from shiftlab.arms.network_arm import NetworkArm
from shiftlab.arms.network_training import fit_heads, seeded
from shiftlab.arms.observation import Observation
from shiftlab.arms.recipe import Recipe
from shiftlab.arms.training import Workshop
from shiftlab.arms.training_set import TrainingSet
from shiftlab.tasks.task import Task

__all__ = ["Scratch"]


class Scratch(NetworkArm):
    """A body and a head of its own for each task; nothing is shared between tasks."""

    name = "scratch"
    letter = "C"

    @classmethod
    def fresh(cls, tasks: Sequence[Task], body: Callable[[], Body]) -> dict[str, Network]:
        """Return one untrained network per task."""
        return {task.name: Network(body(), (task,)) for task in tasks}

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that have a network."""
        return tuple(self.networks)

    @property
    def bodies(self) -> int:
        """One per task."""
        return len(self.networks)

    def answer(self, observation: Observation, tasks: Sequence[Task]) -> Outputs:
        """Return float32 (scored event, output) for each task."""
        self.require_tasks(tasks)
        found: Outputs = {}
        for task in tasks:
            found.update(self._network(task.name).answer(observation, (task,)))
        return found

    @classmethod
    def train(cls, data: TrainingSet, tasks: Sequence[Task], seed: int, recipe: Recipe, workshop: Workshop) -> Self:
        """Train one network after another, body and head together."""
        networks, curves = {}, {}
        for task in tasks:
            with seeded(seed, cls.name, task.name):
                network = cls.fresh((task,), lambda: recipe.fresh_body(data.contract))[task.name].to(data.label.device)
            run = workshop.run(f"{cls.name} seed{seed} {task.name}", seed)
            own = recipe.from_scratch(task.name)
            curves[task.name] = fit_heads(run, network, task, data, own, own.scratch, own.scratch_rate)
            networks[task.name] = network
        return cls(seed, networks, {"curves": curves}, data.image.events.vertex.cpu().numpy())
