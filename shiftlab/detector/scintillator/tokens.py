"""From reconstructed objects to tokens and globals in the layout of minerva-ml (arXiv:2604.12364).

At most 33 tokens an event: 1 muon, 2 photons, 20 blobs and 10 prongs; where there are more blobs or prongs, the
last token of the kind is the sum of all that are not among the 19 or 9 of most energy.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from shiftlab.detector.scintillator.clusters import total
from shiftlab.detector.scintillator.event_globals import globals_of
from shiftlab.detector.scintillator.objects import Objects, Remainder, join, rank
from shiftlab.events.deposits import EventTable
from shiftlab.events.minerva_ml.columns import COLUMNS, GLOBAL_UNITS, GLOBALS, KINDS, UNITS
from shiftlab.events.tokens import Tokens

__all__ = ["MOST", "tokens_of"]

MOST: Final = {"muon": 1, "photon": 2, "blob": 20, "prong": 10}
"""Most tokens of each kind in an event."""


def tokens_of(objects: Objects, remainder: Remainder, events: EventTable) -> Tokens:
    """Return the tokens of each event in the order muon, photons, blobs, prongs; energies MeV, lengths mm, times ns.

    Columns (minerva-ml): pseudorapidity cut to +-10, azimuth, log(pT + 1e-6), log(E + 1e-6), log(|dE/dx| + 0.1)
    with dE/dx at most 100, x, y, z and t over 10000. What a kind does not have is 0 and not valid.
    """
    kept = join(
        [
            _where(objects, objects.kind == 0),
            _where(objects, objects.kind == 1),
            _aggregate(_where(objects, objects.kind == 2), MOST["blob"], 6),
            _aggregate(_where(objects, objects.kind >= 3), MOST["prong"], 7),
        ]
    )
    values = torch.cat(
        [_kinematics(kept.momentum), kept.dedx[:, None], kept.position / 1e4, kept.time[:, None] / 1e4], 1
    )
    valid = torch.isfinite(values)
    features = torch.where(valid, values, 0.0).float()
    offsets = torch.zeros(len(events) + 1, dtype=torch.int64, device=kept.event.device)
    torch.cumsum(torch.bincount(kept.event, minlength=len(events)), 0, out=offsets[1:])
    numbers, known = globals_of(features, kept.kind, kept.event, remainder)
    return Tokens(
        offsets=offsets,
        features=features,
        columns=COLUMNS,
        units=UNITS,
        valid=valid,
        particle=kept.kind,
        kinds=KINDS,
        globals=numbers,
        global_columns=GLOBALS,
        global_units=GLOBAL_UNITS,
        global_valid=known,
        events=events,
    )


def _where(objects: Objects, mask: Tensor) -> Objects:
    """Return some of the objects, with dE/dx as the tokens have it."""
    dedx = (objects.dedx[mask].abs().clamp(max=100.0) + 0.1).log()
    position = objects.position[mask]
    return Objects(objects.event[mask], objects.kind[mask], objects.momentum[mask], dedx, position, objects.time[mask])


def _aggregate(objects: Objects, most: int, kind: int) -> Objects:
    """Return the objects; where an event has more than ``most``, all but the ``most - 1`` of most energy as one.

    Four-momenta are summed, the other columns averaged.
    """
    count = torch.bincount(objects.event, minlength=int(objects.event.max()) + 1 if len(objects) else 0)
    spare = (rank(objects.event, objects.momentum[:, 3]) >= most - 1) & (count[objects.event] > most)
    events, group = torch.unique(objects.event[spare], return_inverse=True)
    number = torch.bincount(group, minlength=len(events)).double()
    mean = [total(part[spare], group, len(events)) for part in (objects.dedx, objects.position, objects.time)]
    alone = ~spare
    whole = Objects(*(getattr(objects, name)[alone] for name in Objects.__dataclass_fields__))
    summed = Objects(
        event=events,
        kind=torch.full_like(events, kind),
        momentum=total(objects.momentum[spare], group, len(events)),
        dedx=mean[0] / number,
        position=mean[1] / number[:, None],
        time=mean[2] / number,
    )
    return join([whole, summed])


def _kinematics(momentum: Tensor) -> Tensor:
    """Return float64 (object, 4): pseudorapidity, azimuth, log(pT + 1e-6), log(E + 1e-6), from px, py, pz, E in MeV."""
    px, py, pz, energy = momentum.unbind(1)
    size, across = momentum[:, :3].norm(dim=1), (px**2 + py**2).sqrt()
    defined = (size > 1e-6) & ((size + pz).abs() > 1e-6) & ((size - pz).abs() > 1e-6)
    eta = torch.where(defined, 0.5 * ((size + pz) / (size - pz)).log(), 0.0).clamp(-10.0, 10.0)
    return torch.stack([eta, torch.atan2(py, px), (across + 1e-6).log(), (energy + 1e-6).log()], dim=1)
