"""From steps with labels to deposits: what the readers of simulated steps have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.events.particles import ParticleTable
from shiftlab.events.steps import Steps, subdivide
from shiftlab.events.tracks import Tracks, attach_fragments, label_tracks, species

__all__ = ["assemble", "cut_and_assemble", "labels_of_steps", "particle_table"]


def assemble(
    steps: Steps,
    length: NDArray[np.float64],
    semantic: NDArray[np.int8],
    particle: NDArray[np.int8],
    *,
    key: NDArray[np.int64],
    vertex: NDArray[np.int64],
    weight: NDArray[np.float64],
    sample: tuple[str, ...],
    truth: Mapping[str, NDArray[np.float64]],
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    instance: NDArray[np.int32] | None = None,
    particles: ParticleTable | None = None,
    missing: tuple[str, ...] = (),
) -> Deposits:
    """Return deposits at the midpoints of steps, which must be in order of their events.

    Args:
        steps: Steps no longer than a cell.
        length: float64 (step,), cm, path length of each step.
        semantic: int8 (step,).
        particle: int8 (step,).
        key: int64 (event,).
        vertex: int64 (event,).
        weight: float64 (event,).
        sample: Name of each event's sample.
        truth: float64 (event,) columns; ``visible_energy``, the sum of the steps', is added if absent.
        origin: Subtracted from positions, cm.
        instance: int32 (step,), number of the particle that made each step.
        particles: The true particles of the events.
        missing: Columns of deposits that the file does not have.
    """
    count = len(key)
    visible = np.bincount(steps.event, steps.energy, count).astype(np.float64)
    every = {"visible_energy": visible, **truth}
    offsets = np.concatenate([[0], np.cumsum(np.bincount(steps.event, minlength=count))]).astype(np.int64)
    position = steps.midpoint
    position -= np.asarray(origin)
    return Deposits(
        offsets=torch.from_numpy(offsets),
        position=torch.from_numpy(position.astype(np.float32)),
        energy=torch.from_numpy(steps.energy.astype(np.float32)),
        length=torch.from_numpy(length.astype(np.float32)),
        semantic=torch.from_numpy(semantic),
        particle=torch.from_numpy(particle),
        events=EventTable(
            key=torch.from_numpy(key),
            vertex=torch.from_numpy(vertex.copy()),
            weight=torch.from_numpy(weight),
            sample=sample,
            truth={name: torch.from_numpy(np.array(column, dtype=np.float64)) for name, column in every.items()},
            selected=torch.ones(count, dtype=torch.bool),
        ),
        instance=None if instance is None else torch.from_numpy(instance),
        particles=particles,
        missing=missing,
    )


def cut_and_assemble(
    steps: Steps,
    length: NDArray[np.float64],
    semantic: NDArray[np.int8],
    particle: NDArray[np.int8],
    instance: NDArray[np.int32],
    **events: Any,
) -> Deposits:
    """Return deposits of steps of any length, cut to one cell at most; arguments as for ``assemble``."""
    parts, source = subdivide(steps)
    if len(parts) == len(steps):
        return assemble(parts, length, semantic, particle, instance=instance, **events)
    pieces = np.bincount(source, minlength=len(steps))
    return assemble(
        parts, (length / pieces)[source], semantic[source], particle[source], instance=instance[source], **events
    )


def labels_of_steps(steps: Steps, tracks: Tracks) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Return the semantic class and the particle id of each step, both int8 (step,), from the tracks' parentage."""
    labels = label_tracks(tracks)
    return attach_fragments(steps, labels), labels.particle[steps.track]


def particle_table(
    tracks: Tracks,
    count: int,
    momentum: NDArray[np.float64],
    place: NDArray[np.float64],
    origin: tuple[float, float, float],
    interaction: NDArray[np.float64] | None = None,
) -> ParticleTable:
    """Return the table of true particles of ``count`` events from tracks that are in order of their events.

    Args:
        tracks: Tracks, numbered from 1 where their parents' 0 means primary.
        count: Number of events.
        momentum: float64 (track, 3), MeV, at birth; NaN where unknown.
        place: float64 (track, 3), cm, of birth, in the file's frame.
        origin: Subtracted from places, cm.
        interaction: float64 (track,), number of the interaction in the event, where the file says.
    """
    primary = tracks.parent == 0
    columns: dict[str, NDArray[Any]] = {
        "number": tracks.number,
        "parent": np.where(primary, np.nan, tracks.parent),
        "primary": primary,
        "particle": species(tracks.pdg),
        "pdg": tracks.pdg,
        "kinetic": tracks.kinetic,
        "momentum": np.sqrt((momentum * momentum).sum(axis=1)),
        **{f"momentum_{axis}": momentum[:, i] for i, axis in enumerate("xyz")},
        **{f"vertex_{axis}": place[:, i] - origin[i] for i, axis in enumerate("xyz")},
    }
    if interaction is not None:
        columns["interaction"] = interaction
    offsets = np.concatenate([[0], np.cumsum(np.bincount(tracks.event, minlength=count))]).astype(np.int64)
    return ParticleTable(
        torch.from_numpy(offsets),
        {name: torch.from_numpy(np.array(column, dtype=np.float64)) for name, column in columns.items()},
    )
