"""What all arms of networks share: networks as data, stored as half-precision weights, on a foundation model or not."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shiftlab.arms.arm import Arm, Outputs
from shiftlab.arms.bodies import bodies
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
from shiftlab.arms.foundation_model import FoundationModel, contract_from_plain, load_foundation, save_foundation
from shiftlab.arms.network import Network
from shiftlab.arms.observation import Observation
from shiftlab.arms.training.spending import PRETRAINED, parameters
from shiftlab.errors import ConfigError
from shiftlab.tasks import named_tasks
from shiftlab.tasks.task import Task

__all__ = ["BodyPerTask", "NetworkArm", "OneBody"]

_SHARED: Final = "shared"


class NetworkArm(Arm):
    """An arm made of networks.

    Attributes:
        networks: The networks by name; which ones there are is up to the arm.
        foundation: The foundation model that it rests on; None for one without, or whose body is all its own.
        moves_body: Whether its training with labels changes the weights of its bodies.
    """

    views: ClassVar[bool] = False
    moves_body: ClassVar[bool] = True

    def __init__(
        self,
        seed: int,
        networks: Mapping[str, Network],
        record: Mapping[str, Any],
        training_vertices: NDArray[np.int64],
        foundation: FoundationModel | None = None,
    ) -> None:
        """Take trained (or fresh) networks; their weights are rounded to what the file will hold."""
        first = next(iter(networks.values()))
        super().__init__(seed, first.contract, record, training_vertices)
        self.networks = nn.ModuleDict(dict(networks))
        self.networks.eval().requires_grad_(False)
        round_weights(self.networks)
        self.foundation = foundation
        if foundation is not None:
            self.pretraining_vertices = foundation.vertices
            self.pretraining_dataset = foundation.dataset

    @classmethod
    @abstractmethod
    def fresh(cls, tasks: Sequence[Task], body: Callable[[], Body]) -> dict[str, Network]:
        """Return untrained networks for the tasks, on bodies that ``body`` makes."""

    @property
    def frozen_body(self) -> str:
        """Digest of the foundation model whose body it uses as it is; empty where its bodies are its own."""
        return self.foundation.digest if self.foundation is not None and not self.moves_body else ""

    def save(self, folder: Path) -> None:
        """Write record, weights and, once per ``folder``, the training vertices and the foundation model."""
        own = arm_folder(folder, self.name, self.seed)
        first = self._network()
        described = {
            "arm": self.name,
            "seed": self.seed,
            "tasks": list(self.tasks),
            "contract": self.contract.plain(),
            "body": {"name": first.body.name, **first.body.plain()},
            "parameters": self.learned,
        }
        save_vertices(folder, self.training_vertices)
        if self.foundation is not None:
            described["foundation"] = self.foundation.digest
            save_foundation(folder / PRETRAINED / self.foundation.digest[:12], self.foundation)
        save_weights(own, self.networks, without=self._elsewhere)
        save_record(own, {**self.record, **described})

    @classmethod
    def load(cls, folder: Path, seed: int, device: torch.device | str = "cpu") -> Self:
        """Return the arm that ``save`` wrote; see ``Arm.load``."""
        own = arm_folder(folder, cls.name, seed)
        record = load_record(own, ("body", "contract", "tasks"))
        size = dict(record["body"])
        kind = bodies().get(str(size.pop("name")))
        contract = contract_from_plain(kind, record["contract"])
        foundation = cls._foundation(folder, record)
        shares = foundation is not None and not cls.moves_body

        def body() -> Body:
            return foundation.body if foundation is not None and shares else kind.fresh(size, contract)

        networks = cls.fresh(named_tasks(record["tasks"]), body)
        arm = cls(seed, networks, record, load_vertices(folder), foundation)
        load_weights(own, arm.networks, without=arm._elsewhere)
        arm.networks.to(device)
        return arm

    @property
    def learned(self) -> dict[str, int]:
        """Learned numbers of all networks (``total``), and of those that training with labels moved (``trained``)."""
        bodies = sum(parameters(self._network(name).body) for name in self.networks)
        total = parameters(self.networks)
        return {"total": total, "trained": total if self.moves_body else total - bodies}

    @property
    def _elsewhere(self) -> tuple[str, ...]:
        """Beginnings of the names of weights that lie with the foundation model."""
        return tuple(f"{name}.body." for name in self.networks) if self.frozen_body else ()

    @classmethod
    def _foundation(cls, folder: Path, record: Mapping[str, Any]) -> FoundationModel | None:
        digest = str(record.get("foundation", ""))
        if not digest:
            return None
        asked_by = f"arm '{cls.name}' seed {record.get('seed')}"
        model = load_foundation(folder / PRETRAINED / digest[:12], asked_by=asked_by)
        if model.digest != digest:
            raise ConfigError(
                f"{asked_by}: it was trained on the foundation model {digest[:12]}, not on {model.digest[:12]}."
            )
        return model

    def _network(self, name: str | None = None) -> Network:
        module = self.networks[name] if name else next(iter(self.networks.values()))
        if not isinstance(module, Network):
            raise TypeError(f"{name} is not a network")
        return module


class OneBody(NetworkArm):
    """An arm with one network: one pass of its body feeds all heads."""

    @classmethod
    def fresh(cls, tasks: Sequence[Task], body: Callable[[], Body]) -> dict[str, Network]:
        """Return one untrained network with all heads."""
        return {_SHARED: Network(body(), tasks)}

    @property
    def network(self) -> Network:
        """The one network."""
        return self._network()

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that have a head."""
        return tuple(self.network.heads)

    @property
    def bodies(self) -> int:
        """One: the pass is shared."""
        return 1

    def answer(self, observation: Observation, tasks: Sequence[Task]) -> Outputs:
        """Return float32 (scored event, output) for each task."""
        self.require_tasks(tasks)
        return self.network.answer(observation, tasks)


class BodyPerTask(NetworkArm):
    """An arm with a network of its own for each task; nothing is shared between tasks."""

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
