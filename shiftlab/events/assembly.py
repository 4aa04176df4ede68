"""From steps with labels to deposits: what the readers of simulated steps have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.events.particles import ParticleTable
from shiftlab.events.steps import Steps, cell_midpoints
from shiftlab.events.tracks import Tracks, attach_fragments, label_tracks, species

__all__ = ["assemble", "labels_of_steps", "particle_table"]


def assemble(
    steps: Steps,
    length: NDArray[np.float64] | None,
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
    """Return deposits at the midpoints of steps, with their directions; steps must be in order of their events.

    Steps longer than a cell are cut into equal parts first; each part has the dE/dx of its step.

    Args:
        steps: Steps of any length.
        length: float64 (step,), cm, path length of each step; None takes the distance from start to end.
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
    middle, pieces, straight = cell_midpoints(steps, origin)
    direction = _directions(steps, straight)
    length = straight if length is None else length
    offsets = np.concatenate([[0], np.cumsum(np.bincount(steps.event, pieces, count))]).astype(np.int64)

    def each(column: NDArray[Any], kind: type) -> Tensor:
        column = column.astype(kind, copy=False)
        return torch.from_numpy(column if len(middle) == len(pieces) else np.repeat(column, pieces, axis=0))

    return Deposits(
        offsets=torch.from_numpy(offsets),
        position=torch.from_numpy(middle),
        energy=each(steps.energy / pieces, np.float32),
        length=each(length / pieces, np.float32),
        semantic=each(semantic, np.int8),
        particle=each(particle, np.int8),
        events=EventTable(
            key=torch.from_numpy(key),
            vertex=torch.from_numpy(vertex.copy()),
            weight=torch.from_numpy(weight),
            sample=sample,
            truth={name: torch.from_numpy(np.array(column, dtype=np.float64)) for name, column in every.items()},
            selected=torch.ones(count, dtype=torch.bool),
        ),
        instance=None if instance is None else each(instance, np.int32),
        particles=particles,
        direction=each(direction, np.float32),
        missing=missing,
    )


def _directions(steps: Steps, length: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return float32 (step, 3): unit vectors from start to end, 0 for points."""
    span = steps.end - steps.start
    span /= np.where(length > 0.0, length, 1.0)[:, None]
    return span.astype(np.float32)


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
