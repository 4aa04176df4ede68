"""What the two network arms share: networks as data, stored as half-precision weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shiftlab.arms.arm import Arm
from shiftlab.arms.bodies import bodies
from shiftlab.arms.bodies.patch_transformer import PatchTransformer
from shiftlab.arms.body import Body
from shiftlab.arms.checkpoint import (
    arm_folder,
    load_record,
    load_vertices,
    load_weights,
    round_weights,
    save_record,
    save_vertices,
    save_weights,
)
from shiftlab.arms.contract import InputContract
from shiftlab.arms.network import Network
from shiftlab.tasks import named_tasks
from shiftlab.tasks.task import Task

__all__ = ["NetworkArm"]


class NetworkArm(Arm):
    """An arm made of networks.

    Attributes:
        networks: The networks by name; which ones there are is up to the arm.
    """

    views: ClassVar[bool] = False

    def __init__(
        self,
        seed: int,
        networks: Mapping[str, Network],
        record: Mapping[str, Any],
        training_vertices: NDArray[np.int64],
    ) -> None:
        """Take trained (or fresh) networks; their weights are rounded to what the file will hold."""
        first = next(iter(networks.values()))
        super().__init__(seed, first.contract, record, training_vertices)
        self.networks = nn.ModuleDict(dict(networks))
        self.networks.eval().requires_grad_(False)
        round_weights(self.networks)

    @classmethod
    @abstractmethod
    def fresh(cls, tasks: Sequence[Task], body: Callable[[], Body]) -> dict[str, Network]:
        """Return untrained networks for the tasks, on bodies that ``body`` makes."""

    def save(self, folder: Path) -> None:
        """Write record, weights and, once per ``folder``, the training vertices."""
        own = arm_folder(folder, self.name, self.seed)
        first = self._network()
        described = {
            "arm": self.name,
            "seed": self.seed,
            "tasks": list(self.tasks),
            "contract": self.contract.plain(),
            "body": {"name": first.body.name, **first.body.plain()},
        }
        save_vertices(folder, self.training_vertices)
        save_weights(own, self.networks)
        save_record(own, {**self.record, **described})

    @classmethod
    def load(cls, folder: Path, seed: int, device: torch.device | str = "cpu") -> Self:
        """Return the arm that ``save`` wrote; see ``Arm.load``."""
        own = arm_folder(folder, cls.name, seed)
        record = load_record(own)
        contract = InputContract.from_plain(record["contract"])
        size = dict(record["body"])
        kind = bodies().get(size.pop("name", PatchTransformer.name))
        networks = cls.fresh(named_tasks(record["tasks"]), lambda: kind.fresh(size, contract))
        arm = cls(seed, networks, record, load_vertices(folder))
        load_weights(own, arm.networks)
        arm.networks.to(device)
        return arm

    def _network(self, name: str | None = None) -> Network:
        module = self.networks[name] if name else next(iter(self.networks.values()))
        if not isinstance(module, Network):
            raise TypeError(f"{name} is not a network")
        return module
