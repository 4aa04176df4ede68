"""The fifteen truth columns of minerva-ml, worked out from the truth that simulated events have."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from shiftlab.detector.scintillator.objects import Objects
from shiftlab.events.deposits import Deposits, EventTable

__all__ = ["with_format_truth"]

_NEEDED: Final = ("neutrino_energy", "current", "n_pi_plus", "n_pi_minus")


def with_format_truth(deposits: Deposits, objects: Objects) -> EventTable:
    """Return the events with the truth columns of ``minerva_columns.TRUTH`` added, where they can be worked out.

    ``interaction_type`` is 0, GENIE's "unknown", where the events have none: composed events have no type.
    ``neutrino_over_muon_energy`` takes the reconstructed muon and is NaN without one. The four-momentum of
    the pion is that of the only charged pion of a charged-current event, else NaN. ``cc_pion_label_unusable`` is
    what minerva-ml's code gives: 2 for exactly one pi- in a charged-current event, else 0. Events without
    ``current`` or pion counts come back as they are.
    """
    table = deposits.events
    if any(name not in table.truth for name in _NEEDED):
        return table
    truth = table.truth
    plus, minus, charged = truth["n_pi_plus"], truth["n_pi_minus"], truth["current"] == 1
    nan = torch.full_like(plus, torch.nan)
    muon = objects.kind == 0
    energy = nan.index_put((objects.event[muon],), objects.momentum[muon, 3].to(nan.dtype))
    single = charged & (plus + minus == 1)
    pion = torch.where(single[:, None], _pion(deposits), torch.nan)
    added = {
        "interaction_type": truth.get("interaction_type", torch.zeros_like(plus)),
        "neutrino_over_muon_energy": truth["neutrino_energy"] / energy,
        "cc_pion_label_unusable": torch.where(charged & (minus == 1), 2.0, torch.zeros_like(plus)),
        "is_multi_pion": ((plus > 1) | (minus > 1)).double(),
        **{f"pion_{name}": pion[:, i] for i, name in enumerate(("px", "py", "pz", "E"))},
    }
    return replace(table, truth={**truth, **added})


def _pion(deposits: Deposits) -> Tensor:
    """Return float64 (event, 4), MeV: px, py, pz, E of each event's last primary charged pion, NaN without one."""
    blank = torch.full((len(deposits), 4), torch.nan, dtype=torch.float64, device=deposits.offsets.device)
    table = deposits.particles
    if table is None:
        return blank
    event = torch.repeat_interleave(torch.arange(len(table), device=blank.device), table.offsets.diff())
    primary = table.columns.get("primary", torch.ones_like(table.columns["pdg"])) == 1
    rows = torch.nonzero(primary & (table.columns["pdg"].abs() == 211)).squeeze(1)
    momentum = torch.stack([table.columns[f"momentum_{axis}"][rows] for axis in "xyz"], dim=1)
    energy = (momentum**2).sum(dim=1, keepdim=True).add(139.57039**2).sqrt()
    blank[event[rows]] = torch.cat([momentum, energy], dim=1)
    return blank
