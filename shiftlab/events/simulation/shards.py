"""Shards: finished batches of simulated events, kept on disk until the sample is assembled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.events.particles import ParticleTable
from shiftlab.provenance import write_whole

__all__ = ["Shards"]

_COLUMNS = ("offsets", "position", "energy", "length", "semantic", "particle", "instance")
_EVENTS = ("key", "vertex", "weight", "selected")


@dataclass(frozen=True)
class Shards:
    """The shards of one campaign: one safetensors file a batch, written whole or not at all.

    Attributes:
        folder: Where they lie.
        identity: Digest of the campaign, written into each; a shard of another one does not count.
    """

    folder: Path
    identity: str

    def path(self, batch: int) -> Path:
        """Return where the shard of a batch lies."""
        return self.folder / f"batch{batch:06d}.safetensors"

    def write(self, batch: int, deposits: Deposits, notes: Mapping[str, str]) -> None:
        """Write the events of one batch; every column that a simulation gives must be there.

        Args:
            batch: Number of the batch.
            deposits: Its events.
            notes: What else is to be known of how they were made.

        Raises:
            RunError: the disk is full or the folder cannot be written.
        """
        table, particles = deposits.events, deposits.particles
        assert particles is not None
        tensors: dict[str, Tensor] = {name: getattr(deposits, name) for name in _COLUMNS}
        tensors |= {f"events/{name}": getattr(table, name) for name in _EVENTS}
        tensors |= {f"truth/{name}": column for name, column in table.truth.items()}
        tensors |= {f"particles/{name}": column for name, column in particles.columns.items()}
        tensors["particles"] = particles.offsets
        metadata = {"identity": self.identity, "sample": json.dumps(table.sample), "dataset": table.dataset}
        metadata["notes"] = json.dumps(dict(notes))
        with write_whole(self.path(batch)) as temporary:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata)

    def holds(self, batch: int) -> bool:
        """Say whether the shard of a batch is there, readable and of this campaign."""
        try:
            with safe_open(self.path(batch), framework="pt") as file:
                return (file.metadata() or {}).get("identity") == self.identity
        except (FileNotFoundError, SafetensorError):
            return False

    def notes(self, batch: int) -> dict[str, str]:
        """Return the notes of a batch that ``holds`` found."""
        with safe_open(self.path(batch), framework="pt") as file:
            return {str(name): str(value) for name, value in json.loads(file.metadata()["notes"]).items()}

    def read(self, batch: int) -> Deposits:
        """Return the events of a batch that ``holds`` found."""
        with safe_open(self.path(batch), framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping

        def group(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}

        table = EventTable(
            **group("events/"),
            sample=tuple(json.loads(metadata["sample"])),
            truth=group("truth/"),
            dataset=metadata["dataset"],
        )
        particles = ParticleTable(tensors["particles"], group("particles/"))
        return Deposits(**{name: tensors[name] for name in _COLUMNS}, events=table, particles=particles)
