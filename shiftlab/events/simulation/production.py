"""From a composition to finished events: transport, labels, placement, cropping, merging."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.events.keys import identities, random_generator
from shiftlab.events.packing import merge
from shiftlab.events.simulation.composition import Composition
from shiftlab.events.simulation.particles import EXIT_COLUMNS, muon_exits, number_particles, primary_table
from shiftlab.events.simulation.placement import ARGON_CUBE, FIDUCIAL, Placement, first_visible, inside, move
from shiftlab.events.simulation.transport import Carried, Transport
from shiftlab.events.steps import MAX_STEP, Steps, subdivide
from shiftlab.events.tracks import Labels, attach_fragments, label_tracks

__all__ = ["finish", "produce"]

_BATCH = 100


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
    order = _along_tracks(carried.steps, len(carried.tracks.event))
    whole = carried.steps.take(order)
    semantic = attach_fragments(whole, labels)
    parts, source = subdivide(whole)
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
        **muon_exits(batch, carried.primary, whole, carried.kinetic[order], vertex, placement.box),
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
    if within.all():
        return _merged(parts, middle, semantic[source], carried, labels, events, batch, vertex)
    inner, kept = parts.take(within), semantic[source[within]]
    return _merged(inner, middle[within], kept, carried, labels, events, batch, vertex)


def _along_tracks(steps: Steps, tracks: int) -> NDArray[np.int64]:
    """Return the order of steps by track, then time: that of ``lexsort((time, track))``, but sooner.

    Lines come in time order already; only tracks whose points lie between their lines need sorting by time.
    """
    order = np.argsort(steps.track, kind="stable")
    track, time = steps.track[order], steps.time[order]
    back = (track[1:] == track[:-1]) & (time[1:] < time[:-1])
    if back.any():
        mixed = np.zeros(tracks, dtype=bool)
        mixed[track[1:][back]] = True
        rows = np.flatnonzero(mixed[track])
        order[rows] = order[rows][np.lexsort((time[rows], track[rows]))]
    return order


def _merged(
    parts: Steps,
    middle: NDArray[np.float64],
    semantic: NDArray[np.int8],
    carried: Carried,
    labels: Labels,
    events: EventTable,
    batch: Composition,
    vertex: NDArray[np.float64],
) -> Deposits:
    """Merge the steps of one track in one cell, points apart from steps with a length."""
    cell = np.floor(middle / MAX_STEP).astype(np.int64)
    wide = cell.max(axis=0, initial=0) + 1
    flat = (cell[:, 0] * wide[1] + cell[:, 1]) * wide[2] + cell[:, 2]
    stretch = parts.length
    group = (parts.track * int(wide.prod()) + flat) * 2 + (stretch == 0.0)
    rows, position, energy, length = merge(group, middle, parts.energy, stretch)
    counts = np.bincount(parts.event[rows], minlength=len(events))
    track = parts.track[rows]
    number = number_particles(carried.tracks.event, carried.primary, labels.owner[track])
    return Deposits(
        offsets=torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)),
        position=torch.from_numpy(position.astype(np.float32)),
        energy=torch.from_numpy(energy.astype(np.float32)),
        length=torch.from_numpy(length.astype(np.float32)),
        semantic=torch.from_numpy(semantic[rows]),
        particle=torch.from_numpy(labels.particle[track]),
        events=events,
        instance=torch.from_numpy(number[labels.owner[track]].astype(np.int32)),
        particles=primary_table(batch, number[carried.primary], vertex),
    )
