"""Data-parallel training: the processes that ``torchrun`` started, and what they tell each other."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch import distributed as dist

from shiftlab.errors import ConfigError

__all__ = ["Processes"]


@dataclass(frozen=True)
class Processes:
    """This process among those that train one network together.

    Gradients are summed with one ``all_reduce`` of the flattened gradients instead of
    ``DistributedDataParallel``: a loss here calls parts of a module, freezes others and may leave some unused,
    which that wrapper sees only when its own ``forward`` is called; and one sum after all pieces is the same
    arithmetic whether one process works on two pieces or two on one each.

    Attributes:
        rank: This process, from 0; only rank 0 writes files and shows a bar.
        count: How many there are.
        device: Where tensors lie that are sent.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def here(cls, device: torch.device | str = "cpu") -> Processes:
        """Join the other processes as the environment of ``torchrun`` says; be alone when it says nothing.

        The processes speak through nccl on CUDA and gloo elsewhere.
        """
        device = torch.device(device)
        joined = dist.is_available() and dist.is_initialized()
        if not joined and not (dist.is_available() and dist.is_torchelastic_launched()):
            return cls(device=device)
        if not joined:
            if device.type == "cuda":
                torch.cuda.set_device(device)
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
            atexit.register(_leave)
        return cls(dist.get_rank(), dist.get_world_size(), device)

    @staticmethod
    def own_device(device: torch.device | str) -> torch.device:
        """Return this process's accelerator: ``cuda`` stands for the one of the local rank under ``torchrun``."""
        device = torch.device(device)
        if str(device) == "cuda":
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return device

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def own(self, pieces: int) -> range:
        """Return the pieces of a step that this process works on.

        Raises:
            ConfigError: the pieces do not go round the processes evenly.
        """
        if pieces % self.count:
            raise ConfigError(
                f"recipe.pieces is {pieces}, and {self.count} processes train: give a multiple of {self.count}, "
                "and the same one for any number of processes that shall give the same network."
            )
        return range(self.rank, pieces, self.count)

    def gather(self, own: Sequence[Sequence[float]]) -> list[list[float]]:
        """Return one row of numbers for each piece, in their order; ``own`` has those of ``own(pieces)``."""
        if self.count == 1:
            return [list(row) for row in own]
        mine = torch.tensor(own, dtype=torch.float64, device=self.device)
        found = [torch.empty_like(mine) for _ in range(self.count)]
        dist.all_gather(found, mine)
        rows: list[list[float]] = torch.stack(found, 1).flatten(0, 1).tolist()
        return rows

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Add up the gradients of all processes in place; a parameter that no process used keeps none."""
        if self.count == 1:
            return
        values = list(parameters)
        used = torch.tensor([float(value.grad is not None) for value in values], device=self.device)
        parts = [torch.zeros_like(value) if value.grad is None else value.grad for value in values]
        flat = torch.cat([used, *(part.flatten() for part in parts)])
        dist.all_reduce(flat)
        sums = torch.split_with_sizes(flat[len(values) :], [value.numel() for value in values])
        for value, total, anyone in zip(values, sums, flat[: len(values)].tolist(), strict=True):
            value.grad = total.view_as(value).clone() if anyone else None

    def agree(self, values: Iterable[Tensor]) -> None:
        """Give every process the tensors of rank 0, in place."""
        if self.count > 1:
            with torch.no_grad():
                for value in values:
                    dist.broadcast(value, 0)

    def wait(self) -> None:
        """Go on when every process is here, say to read what rank 0 has written."""
        if self.count > 1:
            dist.barrier()

    def told(self, value: float) -> float:
        """Return the number that rank 0 has."""
        if self.count == 1:
            return value
        number = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(number, 0)
        return float(number)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
