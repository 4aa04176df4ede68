"""Arm A: one shared body, pre-trained without labels and frozen, with one head per task."""

from __future__ import annotations

from collections.abc import Sequence

from shiftlab.arms.arm import Outputs
from shiftlab.arms.body import BodyShape
from shiftlab.arms.contract import InputContract
from shiftlab.arms.network import Network
from shiftlab.arms.network_arm import NetworkArm
from shiftlab.arms.observation import Observation
from shiftlab.tasks.task import Task

__all__ = ["Foundation"]


class Foundation(NetworkArm):
    """The body learns by masked modelling of voxel patches; one pass of it feeds all heads."""

    name = "foundation"
    letter = "A"

    @classmethod
    def fresh(cls, tasks: Sequence[Task], shape: BodyShape, contract: InputContract) -> dict[str, Network]:
        """Return one untrained network with all heads."""
        return {"shared": Network(tasks, shape, contract)}

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
