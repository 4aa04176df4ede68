"""What a simulated event says of its particles: their numbers, the table of primaries, where the muon leaves."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from shiftlab.events.particles import ParticleTable
from shiftlab.events.simulation.composition import Composition
from shiftlab.events.simulation.spectra import MASS
from shiftlab.events.simulation.transport import Carried
from shiftlab.events.tracks import species

__all__ = ["EXIT_COLUMNS", "muon_exits", "number_particles", "primary_table"]

EXIT_COLUMNS: Final = ("muon_exit_kinetic", "muon_exit_x", "muon_exit_y", "muon_exit_z")
"""Truth columns of ``muon_exits``: MeV and cm; NaN for an event whose leading muon stays inside, or without one."""


def number_particles(
    event: NDArray[np.int64], primary: NDArray[np.int64], owner: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return int64 (track,): the number of each particle in its event, -1 for tracks that are none.

    Primaries have the first numbers, in their order; then come the other particles that own a deposit.

    Args:
        event: int64 (track,), event of each track, ascending.
        primary: int64 (primary,), rows of the primaries.
        owner: int64 (deposit,), row of the track that each deposit belongs to.
    """
    first = np.zeros(len(event), dtype=bool)
    first[primary] = True
    owns = first.copy()
    owns[owner] = True
    rows = np.flatnonzero(owns)
    rows = rows[np.lexsort((~first[rows], event[rows]))]
    begin = np.searchsorted(event[rows], event[rows])
    number = np.full(len(event), -1, dtype=np.int64)
    number[rows] = np.arange(len(rows)) - begin
    return number


def primary_table(batch: Composition, number: NDArray[np.int64], vertex: NDArray[np.float64]) -> ParticleTable:
    """Return the table of primaries, event by event.

    Args:
        batch: The primaries.
        number: int64 (primary,), number of each in its event.
        vertex: float64 (event, 3), cm.
    """
    codes = np.abs(batch.pdg)
    mass = np.full(len(codes), np.nan)
    for code, value in MASS.items():
        mass[codes == code] = value
    size = np.sqrt(batch.kinetic * (batch.kinetic + 2.0 * mass))
    columns = {
        "number": number,
        "primary": np.ones(len(codes)),
        "particle": species(batch.pdg),
        "pdg": batch.pdg,
        "mass": mass,
        "kinetic": batch.kinetic,
        **{f"momentum_{axis}": size * batch.direction[:, i] for i, axis in enumerate("xyz")},
        **{f"vertex_{axis}": vertex[batch.event, i] for i, axis in enumerate("xyz")},
    }
    offsets = np.concatenate([[0], np.cumsum(np.bincount(batch.event, minlength=len(batch)))]).astype(np.int64)
    tensors = {name: torch.from_numpy(np.array(column, dtype=np.float64)) for name, column in columns.items()}
    return ParticleTable(torch.from_numpy(offsets), tensors)


def muon_exits(
    batch: Composition,
    carried: Carried,
    vertex: NDArray[np.float64],
    box: tuple[float, float, float],
) -> dict[str, NDArray[np.float64]]:
    """Return float64 (event,) columns: where and with which kinetic energy the leading muon first leaves the box.

    The leading muon is the primary one of highest kinetic energy. Within the step that crosses a face the
    energy is interpolated linearly, between its values at the starts of this step and the next.

    Args:
        batch: The primaries.
        carried: What Geant4 made of them.
        vertex: float64 (event, 3), cm.
        box: Sides, cm.
    """
    primary, steps, kinetic = carried.primary, carried.steps, carried.kinetic
    columns = {name: np.full(len(batch), np.nan) for name in EXIT_COLUMNS}
    muons = np.flatnonzero(np.abs(batch.pdg) == 13)
    muons = muons[np.lexsort((-batch.kinetic[muons], batch.event[muons]))]
    _, first = np.unique(batch.event[muons], return_index=True)
    leading = np.sort(primary[muons[first]])
    if len(leading) == 0:
        return columns
    slot = np.searchsorted(leading, steps.track).clip(max=len(leading) - 1)
    rows = np.flatnonzero((leading[slot] == steps.track) & np.isfinite(kinetic))
    by = vertex[steps.event[rows]]
    start, end = steps.start[rows] + by, steps.end[rows] + by
    leaves = np.flatnonzero(((end < 0.0) | (end > np.asarray(box))).any(axis=1))
    events, first = np.unique(steps.event[rows[leaves]], return_index=True)
    crossing = leaves[first]
    following = np.minimum(crossing + 1, len(rows) - 1)
    same = steps.track[rows[following]] == steps.track[rows[crossing]]
    before = kinetic[rows[crossing]]
    after = np.where(same & (following > crossing), kinetic[rows[following]], before - steps.energy[rows[crossing]])
    way = end[crossing] - start[crossing]
    with np.errstate(divide="ignore", invalid="ignore"):
        wall = np.where(way > 0.0, np.asarray(box), 0.0)
        share = np.where(way != 0.0, (wall - start[crossing]) / way, np.inf).min(axis=1)
    where = start[crossing] + share[:, None] * way
    columns["muon_exit_kinetic"][events] = before + share * (after - before)
    for i, axis in enumerate("xyz"):
        columns[f"muon_exit_{axis}"][events] = where[:, i]
    return columns
