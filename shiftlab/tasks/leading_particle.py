"""Direction of the leading particle of an event, from its table of true particles."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import torch

from shiftlab.errors import DataError
from shiftlab.events.deposits import Deposits

__all__ = ["DIRECTION", "with_direction"]

DIRECTION: Final = ("direction_x", "direction_y", "direction_z")
"""Truth columns: unit vector of the momentum at birth in the detector's frame; NaN where there is none."""

_NEEDED: Final = ("number", "primary", "pdg", "momentum_x", "momentum_y", "momentum_z")
_LEPTONS: Final = (11, 13)


def with_direction(deposits: Deposits) -> Deposits:
    """Return the events with truth columns ``DIRECTION``; unchanged where they have them.

    The leading particle is the primary charged lepton of largest momentum; without a charged lepton it is the only
    primary, if there is one only. Other events have none.

    Raises:
        DataError: the events have no table of particles with momenta.
    """
    if set(DIRECTION) <= set(deposits.events.truth):
        return deposits
    table = deposits.particles
    lacking = [name for name in _NEEDED if table is None or name not in table.columns]
    if table is None or lacking:
        raise DataError(
            f"task 'direction' needs the momenta of the primary particles, and these events have no "
            f"{', '.join(lacking)}. Files that `shiftlab simulate` writes have them, as do Geant4's."
        )
    columns = {name: table.columns[name].cpu().double().numpy() for name in _NEEDED}
    event = np.repeat(np.arange(len(deposits)), table.offsets.diff().cpu().numpy())
    primary = columns["primary"] == 1
    momentum = np.stack([columns[f"momentum_{axis}"] for axis in "xyz"], axis=1)
    size = np.linalg.norm(momentum, axis=1)
    lepton = primary & np.isin(np.abs(columns["pdg"]), _LEPTONS)
    alone = primary & (np.bincount(event[primary], minlength=len(deposits)) == 1)[event]
    rank = np.where(np.isfinite(size) & (size > 0), np.where(lepton, 1e12 + size, np.where(alone, size, -1.0)), -1.0)
    order = np.argsort(rank, kind="stable")
    found = np.full((len(deposits), 3), np.nan)
    chosen = order[rank[order] > 0]  # ascending, so that the last one written is the largest
    found[event[chosen]] = momentum[chosen] / size[chosen, None]
    device = deposits.events.key.device
    added = {name: torch.from_numpy(found[:, i].copy()).to(device) for i, name in enumerate(DIRECTION)}
    return replace(deposits, events=replace(deposits.events, truth={**deposits.events.truth, **added}))
