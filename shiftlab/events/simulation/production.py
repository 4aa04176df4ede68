"""From a composition to finished events: transport, labels, placement, cropping, merging."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shiftlab.events.deposits import Deposits, EventTable, concatenate
from shiftlab.events.keys import identities, random_generator
from shiftlab.events.sample.packing import merge
from shiftlab.events.simulation.composition import Composition
from shiftlab.events.simulation.draws import stream_starts, uniforms
from shiftlab.events.simulation.particles import EXIT_COLUMNS, muon_exits, number_particles, primary_table
from shiftlab.events.simulation.placement import ARGON_CUBE, FIDUCIAL, Placement, first_visible, inside, move
from shiftlab.events.simulation.transport import Carried, Transport
from shiftlab.events.steps import MAX_STEP, Steps, subdivide
from shiftlab.events.tracks import Labels, attach_fragments, label_tracks

__all__ = ["Names", "carry", "finish", "produce"]

_BATCH = 100
_PORTION = 50_000.0
"""Kinetic energy that is carried at once, MeV: some 150000 steps, whose columns stay in the processor's caches."""


@dataclass(frozen=True)
class Names:
    """What names the events of a sample: every random number and key is a function of a name and a number.

    Attributes:
        vertices: Name of the vertices: primaries, places and random streams; shared with two-model twins.
        events: Name of the events: their keys.
        dataset: ``name/revision`` of the data set.
    """

    vertices: str
    events: str
    dataset: str


def carry(
    primaries: Composition, first: int, names: Names, transport: Transport, simulation: Any, placement: Placement
) -> Deposits:
    """Return finished events, each of which depends on its number and on no other event.

    Args:
        primaries: The events.
        first: Number of the first one in the sample.
        names: Names of the sample.
        transport: Geant4 settings.
        simulation: What ``transport.open`` gave.
        placement: Where the events are put.
    """
    parts = []
    for start, stop in _portions(primaries):
        batch, span = primaries.batch(start, stop), range(first + start, first + stop)
        place = np.arange(len(batch.event)) - np.searchsorted(batch.event, batch.event)
        streams = [
            f"{first + start + event}/{n}" for event, n in zip(batch.event.tolist(), place.tolist(), strict=True)
        ]
        starts = stream_starts(f"{names.vertices}/transport", streams)
        carried = transport.run(simulation, batch, names.vertices, starts=starts)
        target = placement.fiducial.points(uniforms(f"{names.vertices}/placement", span, 3))
        key = identities(f"{names.events}/event", span)
        parts.append(finish(batch, key, carried, placement, target, names.dataset))
    return concatenate(parts)


def _portions(primaries: Composition) -> list[tuple[int, int]]:
    """Return ranges of events of at most _PORTION each, or of one event."""
    total = np.cumsum(np.bincount(primaries.event, primaries.kinetic, len(primaries)))
    ends: list[int] = [0]
    while ends[-1] < len(primaries):
        before = total[ends[-1] - 1] if ends[-1] else 0.0
        ends.append(max(int(np.searchsorted(total, before + _PORTION, side="right")), ends[-1] + 1))
    return list(pairwise(ends))


def produce(composition: Composition, transport: Transport, sample: str) -> Iterator[Deposits]:
    """Make the events of a composition of one kind, a batch at a time, with the columns of the shipped samples.

    Args:
        composition: Primaries.
        transport: Geant4 settings.
        sample: Name of the sample, seed included; with kind and batch it fixes every random number.
    """
    simulation = transport.open()
    for start in range(0, len(composition), _BATCH):
        batch = composition.batch(start, min(start + _BATCH, len(composition)))
        name = (sample, batch.kind[0], start // _BATCH)
        carried = transport.run(simulation, batch, *name, "transport")
        key = identities(f"{sample}/{batch.kind[0]}/event", range(start, start + len(batch)))
        target = FIDUCIAL.throw(len(batch), random_generator(*name, "placement"))
        events = finish(batch, key, carried, ARGON_CUBE, target)
        truth = {name: column for name, column in events.events.truth.items() if name not in EXIT_COLUMNS}
        yield replace(events, instance=None, particles=None, events=replace(events.events, truth=truth))


def finish(
    batch: Composition,
    key: NDArray[np.int64],
    carried: Carried,
    placement: Placement,
    target: NDArray[np.float64],
    dataset: str = "",
) -> Deposits:
    """Return the events of a batch, labelled, moved into the detector, cropped and merged.

    Args:
        batch: The primaries.
        key: int64 (event,).
        carried: What Geant4 made of them.
        placement: The detector's box and which point of an event is put at ``target``.
        target: float64 (event, 3), cm.
        dataset: ``name/revision`` of the data set.
    """
    labels = label_tracks(carried.tracks)
    semantic = attach_fragments(carried.steps, labels)
    parts, source = subdivide(carried.steps)
    anchor = first_visible(parts, len(batch)) if placement.anchor == "first_visible" else np.zeros((len(batch), 3))
    vertex = target - anchor
    parts = move(parts, vertex)
    middle = parts.midpoint
    within = inside(middle, placement.box) & (parts.energy > 0.0)
    truth = {
        "visible_energy": np.bincount(parts.event[within], parts.energy[within], len(batch)),
        "outside_energy": np.bincount(parts.event[~within], parts.energy[~within], len(batch)),
        "late_energy": carried.late,
        "neutrino_energy": batch.neutrino_energy,
        "neutrino_pdg": batch.neutrino_pdg,
        "em_class": batch.em_class,
        **{f"vertex_{axis}": vertex[:, i] for i, axis in enumerate("xyz")},
        **{f"first_{axis}": target[:, i] for i, axis in enumerate("xyz") if placement.anchor == "first_visible"},
        **muon_exits(batch, carried, vertex, placement.box),
        **batch.truth,
    }
    events = EventTable(
        key=torch.from_numpy(key),
        vertex=torch.from_numpy(batch.vertex.copy()),
        weight=torch.from_numpy(batch.weight.copy()),
        sample=batch.kind,
        truth={name: torch.from_numpy(np.array(column)) for name, column in truth.items()},
        selected=torch.ones(len(batch), dtype=torch.bool),
        dataset=dataset,
    )
    rows = np.flatnonzero(within)
    return _merged(parts, middle, rows, semantic[source], carried, labels, events, batch, vertex)


def _merged(
    parts: Steps,
    middle: NDArray[np.float64],
    inner: NDArray[np.int64],
    semantic: NDArray[np.int8],
    carried: Carried,
    labels: Labels,
    events: EventTable,
    batch: Composition,
    vertex: NDArray[np.float64],
) -> Deposits:
    """Merge the steps ``inner`` of one track in one cell, points apart from steps with a length."""
    track, place = parts.track[inner], middle[inner]
    cell = np.floor(place / MAX_STEP).astype(np.int64)
    wide = cell.max(axis=0, initial=0) + 1
    flat = (cell[:, 0] * wide[1] + cell[:, 1]) * wide[2] + cell[:, 2]
    stretch = parts.length[inner]
    group = (track * int(wide.prod()) + flat) * 2 + (stretch == 0.0)
    rows, position, energy, length = merge(group, place, parts.energy[inner], stretch)
    owner = labels.owner[track[rows]]
    counts = np.bincount(carried.tracks.event[track[rows]], minlength=len(events))
    number = number_particles(carried.tracks.event, carried.primary, owner)
    return Deposits(
        offsets=torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)),
        position=torch.from_numpy(position.astype(np.float32)),
        energy=torch.from_numpy(energy.astype(np.float32)),
        length=torch.from_numpy(length.astype(np.float32)),
        semantic=torch.from_numpy(semantic[inner[rows]]),
        particle=torch.from_numpy(labels.particle[track[rows]]),
        events=events,
        instance=torch.from_numpy(number[owner].astype(np.int32)),
        particles=primary_table(batch, number[carried.primary], vertex),
    )
