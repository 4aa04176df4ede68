"""From a composition to finished events: transport, labels, placement, cropping, merging."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.events.keys import identities, random_generator
from shiftlab.events.packing import merge
from shiftlab.events.simulation.composition import Composition
from shiftlab.events.simulation.placement import FIDUCIAL, SIDE, first_visible, inside, move
from shiftlab.events.simulation.transport import Transport
from shiftlab.events.steps import MAX_STEP, Steps, subdivide
from shiftlab.events.tracks import Tracks, attach_fragments, label_tracks

__all__ = ["produce"]

_CELLS = round(SIDE / MAX_STEP)
_BATCH = 100


def produce(composition: Composition, transport: Transport, sample: str) -> Iterator[Deposits]:
    """Make the events of a composition, a batch at a time.

    Args:
        composition: Primaries.
        transport: Geant4 settings.
        sample: Name of the sample, seed included; with kind and batch it fixes every random number.
    """
    simulation = transport.open()
    for start in range(0, len(composition), _BATCH):
        batch = composition.batch(start, min(start + _BATCH, len(composition)))
        name = (sample, batch.kind[0], start // _BATCH)
        tracks, steps, late = transport.run(simulation, batch, *name, "transport")
        key = identities(f"{sample}/{batch.kind[0]}/event", range(start, start + len(batch)))
        yield _finish(batch, key, tracks, steps, late, random_generator(*name, "placement"))


def _finish(
    batch: Composition,
    key: NDArray[np.int64],
    tracks: Tracks,
    steps: Steps,
    late: NDArray[np.float64],
    generator: np.random.Generator,
) -> Deposits:
    labels = label_tracks(tracks)
    whole = steps.take(np.lexsort((steps.time, steps.track, steps.event)))
    semantic = attach_fragments(whole, labels)
    parts, source = subdivide(whole)
    target = FIDUCIAL.throw(len(batch), generator)
    vertex = target - first_visible(parts, len(batch))
    parts = move(parts, vertex)
    within = inside(parts) & (parts.energy > 0.0)
    truth = {
        "visible_energy": np.bincount(parts.event[within], parts.energy[within], len(batch)),
        "outside_energy": np.bincount(parts.event[~within], parts.energy[~within], len(batch)),
        "late_energy": late,
        "neutrino_energy": batch.neutrino_energy,
        "neutrino_pdg": batch.neutrino_pdg,
        "em_class": batch.em_class,
        **{f"vertex_{axis}": vertex[:, i] for i, axis in enumerate("xyz")},
        **{f"first_{axis}": target[:, i] for i, axis in enumerate("xyz")},
    }
    events = EventTable(
        key=torch.from_numpy(key),
        vertex=torch.from_numpy(batch.vertex.copy()),
        weight=torch.from_numpy(batch.weight.copy()),
        sample=batch.kind,
        truth={name: torch.from_numpy(np.array(column)) for name, column in truth.items()},
        selected=torch.ones(len(batch), dtype=torch.bool),
    )
    return _merged(parts.take(within), semantic[source[within]], labels.particle, events)


def _merged(parts: Steps, semantic: NDArray[np.int8], particle: NDArray[np.int8], events: EventTable) -> Deposits:
    """Merge the steps of one track in one cell, points apart from steps with a length."""
    cell = np.floor(parts.midpoint / MAX_STEP).astype(np.int64)
    flat = (cell[:, 0] * _CELLS + cell[:, 1]) * _CELLS + cell[:, 2]
    group = (parts.track * _CELLS**3 + flat) * 2 + (parts.length == 0.0)
    rows, position, energy, length = merge(group, parts.midpoint, parts.energy, parts.length)
    counts = np.bincount(parts.event[rows], minlength=len(events))
    return Deposits(
        offsets=torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)),
        position=torch.from_numpy(position.astype(np.float32)),
        energy=torch.from_numpy(energy.astype(np.float32)),
        length=torch.from_numpy(length.astype(np.float32)),
        semantic=torch.from_numpy(semantic[rows]),
        particle=torch.from_numpy(particle[parts.track[rows]]),
        events=events,
    )
