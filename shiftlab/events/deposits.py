"""Energy deposits of many events as flat tensors, with the table of events that they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from shiftlab.errors import DataError
from shiftlab.events.particles import ParticleTable, concatenate_particles
from shiftlab.events.ragged import ragged_rows

__all__ = ["Deposits", "EventTable", "concatenate", "concatenate_tables", "dataset_names", "joint_dataset"]


@dataclass(frozen=True)
class EventTable:
    """What is known of each event apart from its deposits; all tensors have shape (event,).

    Attributes:
        key: int64, hash of sample uid and event id; unique.
        vertex: int64, uid of the generator vertex; re-throws and two-model twins share it.
        weight: float64, generator weight.
        sample: name of each event's sample, say ``numu_cc`` (a tuple of str, one per event).
        truth: named float64 tensors; ``visible_energy`` in MeV is always there.
        selected: bool, False for an event that failed a cut; it keeps its place.
        dataset: ``name/revision`` of the data set; several are joined by `` + ``; empty where unknown.
    """

    key: Tensor
    vertex: Tensor
    weight: Tensor
    sample: tuple[str, ...]
    truth: Mapping[str, Tensor]
    selected: Tensor
    dataset: str = ""

    def __len__(self) -> int:
        """Return the number of events."""
        return int(self.key.shape[0])

    def take(self, index: Tensor) -> EventTable:
        """Return the events at ``index`` (int64), in that order."""
        return EventTable(
            key=self.key[index],
            vertex=self.vertex[index],
            weight=self.weight[index],
            sample=tuple(self.sample[i] for i in index.tolist()),
            truth={name: value[index] for name, value in self.truth.items()},
            selected=self.selected[index],
            dataset=self.dataset,
        )

    def to(self, device: torch.device | str) -> EventTable:
        """Return the same table on ``device``."""
        return EventTable(
            key=self.key.to(device),
            vertex=self.vertex.to(device),
            weight=self.weight.to(device),
            sample=self.sample,
            truth={name: value.to(device) for name, value in self.truth.items()},
            selected=self.selected.to(device),
            dataset=self.dataset,
        )


@dataclass(frozen=True)
class Deposits:
    """Energy deposits; those of event i are rows ``offsets[i]:offsets[i + 1]``.

    Attributes:
        offsets: int64 (event + 1,).
        position: float32 (deposit, 3), cm, in the file's frame; in the detector's frame after
            reading with its origin: x is the distance to the anode, the beam runs along z.
        energy: float32 (deposit,), MeV, not negative.
        length: float32 (deposit,), cm, path length dx; 0 is legal (point deposits).
        semantic: int8 (deposit,), class in ``units.SEMANTIC``, -1 where unknown.
        particle: int8 (deposit,), id in ``units.PARTICLES``, -1 where unknown.
        events: the table of events.
        electrons: float32 (deposit,), electrons that escaped recombination in the file's own simulation;
            None where the file has none.
        instance: int32 (deposit,), number of the particle that made it, unique in its event, -1 where unknown;
            None where the file says nothing.
        particles: the true particles of the events; None where the file has none.
        direction: float32 (deposit, 3), unit vector from start to end of the step, 0 where start and end are one
            point; None where the file has no steps.
        missing: names of columns that the file does not have, say ``length`` (which is then 0 everywhere).
    """

    offsets: Tensor
    position: Tensor
    energy: Tensor
    length: Tensor
    semantic: Tensor
    particle: Tensor
    events: EventTable
    electrons: Tensor | None = None
    instance: Tensor | None = None
    particles: ParticleTable | None = None
    direction: Tensor | None = None
    missing: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of events (not of deposits)."""
        return len(self.events)

    @property
    def event_index(self) -> Tensor:
        """int64 (deposit,): the event that each deposit belongs to."""
        counts = self.offsets[1:] - self.offsets[:-1]
        return torch.repeat_interleave(torch.arange(len(self), device=counts.device), counts)

    def take(self, index: Tensor | Sequence[int]) -> Deposits:
        """Return the events at ``index``, in that order, with their deposits."""
        index = torch.as_tensor(index, dtype=torch.int64, device=self.offsets.device)
        rows, offsets = ragged_rows(self.offsets, index)
        particles = None if self.particles is None else self.particles.take(index)
        return self._rows(rows, offsets, self.events.take(index), particles)

    def keep(self, mask: Tensor) -> Deposits:
        """Return the deposits where ``mask`` (deposit,) is True; every event keeps its place."""
        counts = torch.zeros(len(self) + 1, dtype=torch.int64, device=mask.device)
        counts[1:] = torch.bincount(self.event_index[mask], minlength=len(self))
        rows = torch.nonzero(mask).squeeze(1)
        return self._rows(rows, torch.cumsum(counts, 0), self.events, self.particles)

    def _rows(self, rows: Tensor, offsets: Tensor, events: EventTable, particles: ParticleTable | None) -> Deposits:
        return Deposits(
            offsets=offsets,
            position=self.position[rows],
            energy=self.energy[rows],
            length=self.length[rows],
            semantic=self.semantic[rows],
            particle=self.particle[rows],
            events=events,
            electrons=None if self.electrons is None else self.electrons[rows],
            instance=None if self.instance is None else self.instance[rows],
            particles=particles,
            direction=None if self.direction is None else self.direction[rows],
            missing=self.missing,
        )

    def to(self, device: torch.device | str) -> Self:
        """Return the same deposits on ``device``."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: Any = {
            name: value.to(device)
            for name, value in values.items()
            if isinstance(value, Tensor | EventTable | ParticleTable)
        }
        return replace(self, **moved)


def concatenate_tables(tables: Sequence[EventTable], *, mix_revisions: bool = False) -> EventTable:
    """Return the events of all tables, one after another; truth columns missing in a table are NaN.

    Args:
        tables: The tables.
        mix_revisions: Whether two revisions of one data set may be joined.

    Raises:
        DataError: the tables are of two revisions of one data set.
    """
    names = sorted({name for table in tables for name in table.truth})
    nan = [torch.full((len(table),), float("nan"), dtype=torch.float64) for table in tables]
    return EventTable(
        key=torch.cat([t.key for t in tables]),
        vertex=torch.cat([t.vertex for t in tables]),
        weight=torch.cat([t.weight for t in tables]),
        sample=tuple(name for t in tables for name in t.sample),
        truth={n: torch.cat([t.truth.get(n, fill) for t, fill in zip(tables, nan, strict=True)]) for n in names},
        selected=torch.cat([t.selected for t in tables]),
        dataset=joint_dataset([t.dataset for t in tables], mix_revisions=mix_revisions),
    )


def dataset_names(dataset: str) -> tuple[str, ...]:
    """Return the single ``name/revision`` of an ``EventTable.dataset``, sorted; none where it is unknown."""
    return tuple(sorted({name for name in dataset.split(" + ") if name}))


def joint_dataset(datasets: Sequence[str], *, mix_revisions: bool = False) -> str:
    """Return the data sets of events that are joined, each once, with `` + `` between; unknown ones add nothing.

    Raises:
        DataError: they are two revisions of one data set, and ``mix_revisions`` is False.
    """
    known = sorted({dataset for dataset in datasets if dataset})
    names = sorted({name for dataset in known for name in dataset_names(dataset)})
    revisions: dict[str, str] = {}
    for name in names:
        family, _, revision = name.partition("/")
        other = revisions.setdefault(family, revision)
        if other != revision and len(known) > 1 and not mix_revisions:
            raise DataError(
                f"events of data set '{family}' in revisions '{other}' and '{revision}': one event may be in both. "
                "Join them with mix_revisions=True if that is meant."
            )
    return " + ".join(names)


def concatenate(parts: Sequence[Deposits], *, mix_revisions: bool = False) -> Deposits:
    """Return the events of all parts, one after another, as ``concatenate_tables`` joins their tables.

    Raises:
        DataError: there is none, or the parts are of two revisions of one data set.
    """
    if not parts:
        raise DataError("no events: every one was left out.")
    counts = torch.cat([part.offsets[1:] - part.offsets[:-1] for part in parts])
    offsets = torch.zeros(len(counts) + 1, dtype=torch.int64)
    torch.cumsum(counts, 0, out=offsets[1:])
    electrons = [part.electrons for part in parts if part.electrons is not None]
    instance = [part.instance for part in parts if part.instance is not None]
    particles = [part.particles for part in parts if part.particles is not None]
    direction = [part.direction for part in parts if part.direction is not None]
    return Deposits(
        offsets=offsets,
        position=torch.cat([p.position for p in parts]),
        energy=torch.cat([p.energy for p in parts]),
        length=torch.cat([p.length for p in parts]),
        semantic=torch.cat([p.semantic for p in parts]),
        particle=torch.cat([p.particle for p in parts]),
        events=concatenate_tables([part.events for part in parts], mix_revisions=mix_revisions),
        # What one part lacks, the whole lacks.
        electrons=torch.cat(electrons) if len(electrons) == len(parts) else None,
        instance=torch.cat(instance) if len(instance) == len(parts) else None,
        particles=concatenate_particles(particles) if len(particles) == len(parts) else None,
        direction=torch.cat(direction) if len(direction) == len(parts) else None,
        missing=tuple(sorted({name for part in parts for name in part.missing})),
    )
