"""A declared toy of pattern recognition: from clusters to a muon, photons, blobs and prongs.

What it is told of the truth: which particle lit each strip (so that tracks and showers never mix), the
vertex, the place of the light along a strip, and the matched muon's momentum, which it smears. What it
measures: energies, lines, ranges, dE/dx and with them the prongs' hypotheses, which detector effects move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from shiftlab.detector.scintillator.blobs import connect
from shiftlab.detector.scintillator.clusters import Clusters, total
from shiftlab.detector.scintillator.lines import Lines, fit_lines
from shiftlab.detector.scintillator.objects import KINDS, MASSES, Objects, Remainder, join, rank
from shiftlab.detector.scintillator.owners import Owners
from shiftlab.detector.scintillator.response import Response, Toy
from shiftlab.detector.scintillator.strips import StripGeometry
from shiftlab.detector.stream import Stream

__all__ = ["Reconstruction", "reconstruct", "stopping_dedx"]

_LIGHT: Final = 29.9792458
"""Speed of light, cm/ns."""

_RANGE: Final = (0.00214, 1.77)
"""Range of a proton in polystyrene, cm: 0.00214 T^1.77, T in MeV; within 4% of NIST PSTAR from 50 to 200 MeV."""

_MUON_DEDX: Final = 1.5
"""A prong that leaves the detector with less than this many times the dE/dx of a MIP is taken for a muon."""

_PHOTON_START: Final = 4
"""Planes from which a photon's dE/dx is taken."""

_RECOIL: Final = tuple(KINDS.index(name) for name in ("photon", "blob", "prong_pion", "prong_proton"))

_EDGE: Final = 5.0
"""A prong that comes this close to a face of the detector leaves it, cm."""


@dataclass(frozen=True)
class Reconstruction:
    """Objects of all events and what the globals hold beyond them.

    Attributes:
        objects: Sorted by event: muon, photons, blobs, prongs, each of falling energy.
        remainder: Per event.
        role: int64 (cluster,): 0 blob, 1 muon, 2 prong, 3 photon; for drawings.
        group: int64 (cluster,): the visible particle's number, in order of appearance.
    """

    objects: Objects
    remainder: Remainder
    role: Tensor
    group: Tensor


@dataclass(frozen=True)
class _Scene:
    """Everything that the steps share; one row per visible particle that has clusters."""

    clusters: Clusters
    group: Tensor
    event: Tensor
    owner: Tensor
    energy: Tensor
    lines: Lines
    vertex: Tensor
    keys: Tensor
    geometry: StripGeometry
    response: Response
    toy: Toy
    stream: Stream

    @property
    def events(self) -> int:
        return len(self.keys)

    def time(self, event: Tensor, distance: Tensor, clusters: Tensor, tag: Tensor) -> Tensor:
        """Return float64, ns: time of the event, flight at the speed of light over ``distance`` cm, resolution."""
        first, last = self.toy.spill
        start = first + (last - first) * self.stream.uniform("spill", self.keys[event])
        spread = self.response.rows(event).time_resolution / clusters.double().clamp(min=1).sqrt()
        jitter = self.stream.normal("time", self.keys[event], tag).double()
        return 1000.0 * start + distance / _LIGHT + spread * jitter

    def placed(self, position: Tensor) -> Tensor:
        """Return positions (..., 3) in the tokens' frame, mm."""
        return 10.0 * (position + torch.tensor(self.toy.position, dtype=torch.float64, device=position.device))


def reconstruct(
    clusters: Clusters,
    owners: Owners,
    vertex: Tensor,
    keys: Tensor,
    *,
    geometry: StripGeometry,
    response: Response,
    toy: Toy,
    stream: Stream,
) -> Reconstruction:
    """Return the objects of each event.

    Args:
        clusters: Calibrated clusters.
        owners: Visible particles.
        vertex: float64 (event, 3), cm, the true vertices.
        keys: int64 (event,), the events' keys.
        geometry: Strips.
        response: Of the strips.
        toy: Settings.
        stream: Keyed draws.
    """
    used, group = torch.unique(clusters.owner, return_inverse=True)
    scene = _Scene(
        clusters=clusters,
        group=group,
        event=owners.event[used],
        owner=used,
        energy=total(clusters.energy, group, len(used)),
        lines=fit_lines(clusters, group, len(used), geometry),
        vertex=vertex,
        keys=keys,
        geometry=geometry,
        response=response,
        toy=toy,
        stream=stream,
    )
    role = _roles(scene, owners)
    muons = torch.nonzero(role == 1).squeeze(1)
    blobs, isolated = _blobs(scene, role)
    objects = join(
        [
            _muons(scene, owners, muons),
            _photons(scene, torch.nonzero(role == 3).squeeze(1)),
            blobs,
            _prongs(scene, owners, torch.nonzero((role == 1) | (role == 2)).squeeze(1), role),
        ]
    )
    remainder = _remainder(scene, owners, role, objects, isolated)
    return Reconstruction(objects, remainder, role[group], group)


def stopping_dedx(path: Tensor, mass: float) -> Tensor:
    """Return float64, MeV/cm: mean dE/dx of a particle of ``mass`` (MeV) that stops after ``path`` (cm).

    From the proton's range in polystyrene, R = 0.00214 T^1.77; for another mass R(T) = m/mp Rp(T mp/m).
    """
    scale, power = _RANGE
    ratio = mass / MASSES["prong_proton"]
    return ratio * (path / (ratio * scale)) ** (1 / power) / path


def _roles(scene: _Scene, owners: Owners) -> Tensor:
    """Return int64 (group,): 0 blob, 1 matched muon, 2 prong, 3 photon."""
    toy, lines = scene.toy, scene.lines
    momentum = owners.momentum[scene.owner]
    size = momentum.norm(dim=1)
    forward = momentum[:, 2] >= size * math.cos(math.radians(toy.muon_angle))
    out = lines.last > scene.geometry.last - toy.muon_planes * scene.geometry.thickness
    muon = (owners.pdg[scene.owner].abs() == 13) & owners.primary[scene.owner]
    muon &= forward & out & (size >= toy.muon_momentum)
    muon &= rank(scene.event, torch.where(muon, size, -1.0)) == 0
    prong = owners.track[scene.owner] & (lines.planes >= toy.prong_planes) & ~muon
    photon = owners.photon[scene.owner] & (lines.planes >= toy.photon_planes) & (scene.energy >= toy.photon_energy)
    photon &= rank(scene.event, torch.where(photon, scene.energy, -1.0)) < 2
    return muon.long() + 2 * prong.long() + 3 * photon.long()


def _smeared(scene: _Scene, owners: Owners, rows: Tensor) -> Tensor:
    """Return float64 (row, 4), MeV: the matched muons' true momentum, its size and two angles smeared."""
    event = scene.event[rows]
    draw = [scene.stream.normal(f"muon_{name}", scene.keys[event]).double() for name in ("size", "x", "y")]
    true = owners.momentum[scene.owner[rows]]
    size = true.norm(dim=1) * (1 + scene.toy.muon_resolution * draw[0]).clamp(min=0.05)
    slope = true[:, :2] / true[:, 2:] + scene.toy.muon_direction * torch.stack(draw[1:], dim=1)
    forward = torch.cat([slope, torch.ones_like(slope[:, :1])], dim=1)
    vector = size[:, None] * forward / forward.norm(dim=1, keepdim=True)
    return torch.cat([vector, (size**2 + MASSES["prong_muon"] ** 2).sqrt()[:, None]], dim=1)


def _muons(scene: _Scene, owners: Owners, rows: Tensor) -> Objects:
    event = scene.event[rows]
    blank = torch.full((len(rows), 3), torch.nan, dtype=torch.float64, device=rows.device)
    clusters = torch.bincount(scene.group, minlength=len(scene.event))[rows]
    time = scene.time(event, torch.zeros(len(rows), dtype=torch.float64, device=rows.device), clusters, -1 - 0 * rows)
    return Objects(event, torch.zeros_like(event), _smeared(scene, owners, rows), blank[:, 0], blank, time)


def _photons(scene: _Scene, rows: Tensor) -> Objects:
    """Photons fly from the vertex to the centre of their energy; dE/dx is that of their first four planes."""
    rows = rows[rank(scene.event[rows], scene.energy[rows]).argsort(stable=True)]
    groups, event, found = len(scene.event), scene.event[rows], scene.clusters
    centre = total(found.energy[:, None] * found.position, scene.group, groups)[rows] / scene.energy[rows, None]
    flight = centre - scene.vertex[event]
    distance = flight.norm(dim=1)
    direction = flight / distance.clamp(min=1e-6)[:, None]
    step = ((found.position[:, 2] - scene.vertex[found.event, 2]) / scene.geometry.thickness).abs()
    nearest = torch.full((groups,), torch.inf, dtype=torch.float64, device=step.device)
    nearest = nearest.scatter_reduce(0, scene.group, step, "amin")
    early = total(found.energy * (step < nearest[scene.group] + _PHOTON_START), scene.group, groups)[rows]
    path = _PHOTON_START * scene.geometry.thickness / direction[:, 2].abs().clamp(min=0.2)
    energy = scene.energy[rows]
    count = torch.bincount(scene.group, minlength=groups)[rows]
    return Objects(
        event=event,
        kind=torch.ones_like(event),
        momentum=torch.cat([direction * energy[:, None], energy[:, None]], dim=1),
        dedx=early / path,
        position=torch.full((len(rows), 3), torch.nan, dtype=torch.float64, device=rows.device),
        time=scene.time(event, distance, count, _tag(scene, rows)),
    )


def _prongs(scene: _Scene, owners: Owners, rows: Tensor, role: Tensor) -> Objects:
    """Prongs; the matched muon is one of them, with its own momentum, as in published token samples."""
    lines, geometry = scene.lines, scene.geometry
    matched, event = role[rows] == 1, scene.event[rows]
    direction = lines.direction[rows]
    upstream, downstream = lines.first[rows], lines.last[rows]
    height = scene.vertex[event, 2]
    backward = (upstream - height).abs() > (downstream - height).abs()
    start, end = _ends(scene, rows, backward)
    direction = torch.where(backward[:, None], -direction, direction)
    path = (downstream - upstream + geometry.thickness) / direction[:, 2].abs()
    dedx = scene.energy[rows] / path
    heavy, light = (stopping_dedx(path, MASSES[name]) for name in ("prong_proton", "prong_pion"))
    hypothesis = torch.where(dedx > (heavy * light).sqrt(), KINDS.index("prong_proton"), KINDS.index("prong_pion"))
    muon = matched | (_leaves(end, geometry) & (dedx < _MUON_DEDX * scene.response.mip_dedx))
    kind = torch.where(muon, KINDS.index("prong_muon"), hypothesis)
    mass = torch.tensor([MASSES.get(name, 0.0) for name in KINDS], dtype=torch.float64, device=rows.device)[kind]
    kinetic = scene.energy[rows]
    size = (kinetic**2 + 2 * kinetic * mass).sqrt()
    momentum = torch.cat([direction * size[:, None], (kinetic + mass)[:, None]], dim=1)
    momentum = torch.where(matched[:, None], _smeared(scene, owners, rows), momentum)
    count = torch.bincount(scene.group, minlength=len(scene.event))[rows]
    distance = (start - scene.vertex[event]).norm(dim=1)
    time = scene.time(event, distance, count, _tag(scene, rows))
    order = rank(event, momentum[:, 3]).argsort(stable=True)
    parts = (event, kind, momentum, dedx, scene.placed(start), time)
    return Objects(*(part[order] for part in parts))


def _ends(scene: _Scene, rows: Tensor, backward: Tensor) -> tuple[Tensor, Tensor]:
    """Return float64 (row, 3) twice, cm: the end of each line nearer to the vertex, and the other one."""
    lines = scene.lines
    low = lines.at(lines.first)[rows]
    high = lines.at(lines.last)[rows]
    return torch.where(backward[:, None], high, low), torch.where(backward[:, None], low, high)


def _leaves(end: Tensor, geometry: StripGeometry) -> Tensor:
    """Return bool (row,): ends closer than ``_EDGE`` to a face of the detector, or beyond it."""
    near = (end[:, 2] < geometry.first + _EDGE) | (end[:, 2] > geometry.last - _EDGE)
    return near | (geometry.from_centre(end) > geometry.apothem - _EDGE)


def _blobs(scene: _Scene, role: Tensor) -> tuple[Objects, Tensor]:
    """Return the blobs, and float64 (event,), MeV, the energy of those near the matched muon's line."""
    found, toy = scene.clusters, scene.toy
    rows = torch.nonzero(role[scene.group] == 0).squeeze(1)
    blob, count = connect(found, rows, toy.blob_gap)
    energy = total(found.energy[rows], blob, count)
    centre = total(found.energy[rows, None] * found.position[rows], blob, count) / energy[:, None]
    first = torch.full((count,), len(found), dtype=torch.int64, device=rows.device)
    first = first.scatter_reduce(0, blob, rows, "amin")
    event = found.event[first] if count else rows
    size = torch.bincount(blob, minlength=count)
    keep = torch.nonzero(energy >= toy.blob_energy).squeeze(1)
    keep = keep[rank(event[keep], energy[keep]).argsort(stable=True)]
    event, energy, centre, size, first = (part[keep] for part in (event, energy, centre, size, first))
    placed = scene.placed(centre)
    # Published tokens give a blob the direction from the detector's origin, without mass.
    direction = placed / placed.norm(dim=1, keepdim=True).clamp(min=1e-6)
    distance = (centre - scene.vertex[event]).norm(dim=1)
    tag = found.plane[first] * scene.geometry.strips + found.first[first]
    blobs = Objects(
        event=event,
        kind=torch.full_like(event, KINDS.index("blob")),
        momentum=torch.cat([direction * energy[:, None], energy[:, None]], dim=1),
        dedx=torch.full_like(energy, torch.nan),
        position=placed,
        time=scene.time(event, distance, size, tag),
    )
    return blobs, total(energy * _near_muon(scene, role, event, centre), event, scene.events)


def _remainder(scene: _Scene, owners: Owners, role: Tensor, objects: Objects, isolated: Tensor) -> Remainder:
    """Return what the globals hold beyond the tokens."""
    found, toy, events = scene.clusters, scene.toy, scene.events
    muon = role[scene.group] == 1
    lines = scene.lines
    across, _ = scene.geometry.coordinates(_on_line(lines, found, scene.group), found.plane)
    away = (across - found.across).abs() > toy.fuzz_distance
    recoil = total(found.energy * ~muon, found.event, events)
    counted = torch.isin(objects.kind, torch.tensor(_RECOIL, device=muon.device))
    recoil -= total(objects.momentum[:, 3] * counted, objects.event, events)
    michel = owners.michel[scene.owner] & (scene.energy >= toy.michel_energy)
    return Remainder(
        fuzz=total(found.energy * (muon & away), found.event, events),
        isolated=isolated,
        recoil=recoil,
        passive=recoil,
        outer=torch.zeros_like(recoil),
        michels=torch.bincount(scene.event[michel], minlength=events).double(),
        pions=torch.zeros_like(recoil),
    )


def _near_muon(scene: _Scene, role: Tensor, event: Tensor, centre: Tensor) -> Tensor:
    """Return bool (blob,): blobs near the line of their event's matched muon; blobs in the order of ``centre``."""
    of_event = torch.full((scene.events,), -1, dtype=torch.int64, device=event.device)
    rows = torch.nonzero(role == 1).squeeze(1)
    of_event[scene.event[rows]] = rows
    muon = of_event[event].clamp(min=0)
    if len(scene.event) == 0:
        return torch.zeros(len(event), dtype=torch.bool, device=event.device)
    apart = centre - scene.lines.at(centre[:, 2].new_zeros(len(scene.event)))[muon]
    direction = scene.lines.direction[muon]
    distance = (apart - (apart * direction).sum(1, keepdim=True) * direction).norm(dim=1)
    near: Tensor = (of_event[event] >= 0) & (distance < scene.toy.iso_distance)
    return near


def _on_line(lines: Lines, found: Clusters, group: Tensor) -> Tensor:
    """Return float64 (cluster, 3), cm: where the line of each cluster's group crosses its plane."""
    depth = found.position[:, 2]
    far = (depth - lines.point[group, 2])[:, None]
    return torch.cat([lines.point[group, :2] + lines.slope[group] * far, depth[:, None]], dim=1)


def _tag(scene: _Scene, rows: Tensor) -> Tensor:
    """Return int64 (row,): the channel of each group's first cluster, by which its draws are keyed."""
    found = scene.clusters
    first = torch.full((len(scene.event),), len(found), dtype=torch.int64, device=rows.device)
    first = first.scatter_reduce(0, scene.group, torch.arange(len(found), device=rows.device), "amin")[rows]
    return found.plane[first] * scene.geometry.strips + found.first[first]
