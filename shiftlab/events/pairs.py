"""Pairs of files: the same generator vertices carried through matter by two models, laid beside each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from shiftlab.errors import DataError
from shiftlab.events.deposits import Deposits
from shiftlab.events.particles import ParticleTable
from shiftlab.events.reader import Origin, open_events, read

__all__ = ["pair", "read_pair", "refuse_other_medium"]

_GENERATED: Final = ("neutrino_pdg", "neutrino_energy")
"""Truth that the generator fixes; what was deposited may differ between two models."""

_PLACE: Final = ("vertex_x", "vertex_y", "vertex_z")

_APART: Final = 0.3
"""How far apart, in cm, an event and its twin may be placed: one cell. Samples that are placed by their first visible
deposit move where the models differ in just that."""

_PRIMARY: Final = ("pdg", "kinetic", "momentum_x", "momentum_y", "momentum_z")

_AGREEMENT: Final = 1e-6
"""How well generated numbers must agree, relative; files round them alike."""

_SHOWN: Final = 3

_COMMON: Final = "common=True (data.common_vertices=true) leaves such events out."


def read_pair(
    nominal: Path, twin: Path, *, common: bool = False, origin: Origin = (0.0, 0.0, 0.0)
) -> tuple[Deposits, Deposits]:
    """Return the events of two files of the same vertices, as ``pair`` lays them side by side.

    Args:
        nominal: file of the nominal model.
        twin: file of the other model.
        common: whether vertices that only one file has are left out.
        origin: subtracted from positions of both files, cm.

    Raises:
        DataError: the files are of different media, or from ``pair``.
    """
    refuse_other_medium(nominal, twin)
    events, others = read(nominal, origin=origin), read(twin, origin=origin)
    try:
        return pair(events, others, common=common)
    except DataError as error:
        raise DataError(f"{nominal} and {twin}: {error}") from error


def pair(nominal: Deposits, twin: Deposits, *, common: bool = False) -> tuple[Deposits, Deposits]:
    """Return the nominal events and, in their order, those of the twin with the same generator vertex.

    The twin takes the nominal's event keys (so that every keyed draw is shared), weights, sample names and
    selection. Its deposits, their labels, its particles and the truth of what was deposited are its own.

    Args:
        nominal: events of the nominal model.
        twin: events of the other model, in any order.
        common: whether vertices that only one side has, or that are placed more than 0.3 cm apart, are left out;
            otherwise they are an error.

    Raises:
        DataError: a vertex is twice on one side, is missing on one side, or has another place, other generated
            energies or other primaries in the twin; one side has other columns than the other; or no vertex is in
            common.
    """
    for name, side in (("nominal", nominal), ("other", twin)):
        _refuse_repeated(name, side)
    here = torch.isin(nominal.events.vertex, twin.events.vertex)
    there = torch.isin(twin.events.vertex, nominal.events.vertex)
    if not bool(here.any()):
        raise DataError(f"no vertex_uid of the {len(nominal)} nominal events is among the {len(twin)} other ones.")
    if not common:
        _refuse_missing(nominal, twin, here, there)
    nominal = nominal if bool(here.all()) else nominal.take(torch.nonzero(here).squeeze(1))
    order = torch.argsort(twin.events.vertex)
    place = torch.searchsorted(twin.events.vertex[order], nominal.events.vertex)
    twin = twin.take(order[place])
    _refuse_other_columns(nominal, twin)
    _refuse_other_vertices(nominal, twin)
    apart = _apart(nominal, twin)
    if bool(apart.any()):
        if not common:
            _refuse_difference(f"place (by more than {_APART} cm)", apart, nominal, _COMMON)
        rows = torch.nonzero(~apart).squeeze(1)
        nominal, twin = nominal.take(rows), twin.take(rows)
    kept = nominal.events
    events = replace(kept, truth=twin.events.truth)
    return nominal, replace(twin, events=events)


def refuse_other_medium(nominal: Path, twin: Path) -> None:
    """Refuse two files that name different media in their attribute ``material``; one that names none is believed.

    Raises:
        DataError: naming both.
    """
    one, other = (_medium(path) for path in (nominal, twin))
    if one and other and one != other:
        raise DataError(f"{nominal} is of {one}, {twin} of {other}: their difference is not that of a model.")


def _medium(path: Path) -> str:
    """Return the medium that a file names, without its size; empty where it names none."""
    with open_events(path) as source:
        return source.describe().attributes.get("material", "").split(",")[0].strip()


def _refuse_repeated(name: str, events: Deposits) -> None:
    vertex, count = torch.unique(events.events.vertex, return_counts=True)
    twice = vertex[count > 1]
    if len(twice):
        rows = torch.nonzero(events.events.vertex == twice[0]).squeeze(1).tolist()
        raise DataError(
            f"{len(twice)} of the {len(vertex)} vertices of the {name} events come more than once, so that no event "
            f"is the twin of one; the first is vertex_uid {int(twice[0])} of events {rows[:_SHOWN]}."
        )


def _refuse_missing(nominal: Deposits, twin: Deposits, here: Tensor, there: Tensor) -> None:
    parts = []
    for name, other, side, found in (("nominal", "other", nominal, here), ("other", "nominal", twin, there)):
        lost = side.events.vertex[~found].tolist()
        if lost:
            first = ", ".join(str(vertex) for vertex in lost[:_SHOWN]) + (", ..." if len(lost) > _SHOWN else "")
            parts.append(
                f"{len(lost)} of {len(side)} vertices of the {name} events are not among the {other} ones "
                f"(vertex_uid {first})"
            )
    if parts:
        raise DataError(f"{'; '.join(parts)}; {int(here.sum())} are common. {_COMMON}")


def _refuse_other_columns(nominal: Deposits, twin: Deposits) -> None:
    def columns(events: Deposits) -> set[str]:
        return {name for name in ("length", "electrons") if name not in events.missing}

    if columns(nominal) != columns(twin) or (nominal.electrons is None) != (twin.electrons is None):
        raise DataError(
            f"the nominal deposits lack {_listed(nominal)}, the others {_listed(twin)}; the difference in detail would "
            "look like one of models."
        )


def _listed(events: Deposits) -> str:
    return ", ".join(events.missing) or "nothing"


def _refuse_other_vertices(nominal: Deposits, twin: Deposits) -> None:
    """Refuse twins of another generated truth or other primaries."""
    for name in _GENERATED:
        one, other = nominal.events.truth.get(name), twin.events.truth.get(name)
        if one is not None and other is not None:
            _refuse_difference(name, _differ(one, other), nominal)
    if nominal.particles is None or twin.particles is None:
        return
    primaries, count = _primaries(nominal.particles)
    others, counts = _primaries(twin.particles)
    _refuse_difference("number of primaries", count != counts, nominal)
    event = torch.repeat_interleave(torch.arange(len(count)), count)
    for column in sorted(primaries.keys() & others.keys()):
        wrong = torch.zeros(len(count), dtype=torch.bool)
        wrong[event[_differ(primaries[column], others[column])]] = True
        _refuse_difference(f"{column} of a primary", wrong, nominal)


def _primaries(particles: ParticleTable) -> tuple[dict[str, Tensor], Tensor]:
    """Return the columns of the primaries in file order, and int64 (event,), their number in each event."""
    first = particles.columns["primary"] == 1
    event = torch.repeat_interleave(torch.arange(len(particles)), particles.offsets.diff())
    columns = {name: particles.columns[name][first] for name in _PRIMARY if name in particles.columns}
    return columns, torch.bincount(event[first], minlength=len(particles))


def _differ(one: Tensor, other: Tensor) -> Tensor:
    """Return bool: where two columns differ; NaN is equal to NaN."""
    return ~torch.isclose(one, other, rtol=_AGREEMENT, atol=_AGREEMENT, equal_nan=True)


def _apart(nominal: Deposits, twin: Deposits) -> Tensor:
    """Return bool (event,): where the twin's vertex lies elsewhere in the detector."""
    apart = torch.zeros(len(nominal), dtype=torch.bool)
    for name in _PLACE:
        one, other = nominal.events.truth.get(name), twin.events.truth.get(name)
        if one is not None and other is not None:
            apart |= (one - other).abs() > _APART
    return apart


def _refuse_difference(what: str, wrong: Tensor, nominal: Deposits, hint: str = "") -> None:
    rows = torch.nonzero(wrong).squeeze(1)
    if not len(rows):
        return
    row = int(rows[0])
    raise DataError(
        f"{what} differs between the two in {len(rows)} of {len(nominal)} events, the first being event {row} "
        f"(vertex_uid {int(nominal.events.vertex[row])}). "
        f"{hint or 'A pair has the same generated vertices.'}"
    )
