"""Electronic noise of the read-out: a normal fluctuation in every lattice cell, occupied or not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar, Final

import numpy as np
import torch
from scipy import special
from torch import Tensor

from shiftlab.detector import Cells, ConfigError, Effect, Parameter, Stream, Value

__all__ = ["Noise", "noise_maxima"]

LOWEST_Z: Final = 3.5
"""The list of noise-only cells ends at this many standard deviations."""

THRESHOLD_OVER_NOISE: Final = 4.0
"""A nominal threshold below this multiple of the noise is refused."""

_Z_STEP: Final = 2.0**-10
_Z_LAST: Final = 10.0
_TIME: Final = 2.0**24


@lru_cache(maxsize=4)
def _waiting_table(device: str) -> Tensor:
    """int64 (65536,): exponential quantiles at (i + 1/2) / 65536 in units of 2^-24."""
    quantile = -np.log1p(-(np.arange(65536, dtype=np.float64) + 0.5) / 65536.0)
    return torch.from_numpy(np.rint(quantile * _TIME).astype(np.int64)).to(device)


@lru_cache(maxsize=4)
def _height_table(cells: int, device: str) -> Tensor:
    """int64 (level,): expected number of cells above z = LOWEST_Z + i 2^-10, from the highest z, in 2^-24."""
    z = np.arange(_Z_LAST, LOWEST_Z - _Z_STEP / 2, -_Z_STEP)
    return torch.from_numpy(np.rint(cells * special.ndtr(-z) * _TIME).astype(np.int64)).to(device)


def noise_maxima(keys: Tensor, cells: int, lowest: float, stream: Stream) -> tuple[Tensor, Tensor, Tensor]:
    """Return the cells of an empty lattice whose noise is above ``lowest`` standard deviations.

    The n largest of many normals are a Poisson process in the tail probability: waiting times between
    them are exponential and the k-th arrival time t_k is the expected number of cells above z_k. So the
    list of an event is the same for every ``lowest`` up to where it ends, and of any noise strength.

    Args:
        keys: int64 (event,), event keys.
        cells: number of lattice cells.
        lowest: end of the list, at least ``LOWEST_Z``.
        stream: keyed draws.

    Returns:
        event: int64 (hit,), index into ``keys``, ascending.
        cell: int64 (hit,), lattice index.
        z: float64 (hit,), descending in each event.
    """
    expected = cells * float(special.ndtr(-lowest))
    length = math.ceil(expected + 10.0 * math.sqrt(expected) + 24.0)
    device = str(keys.device)
    order = torch.arange(length, device=keys.device).expand(len(keys), length)
    bits = stream.bits("waiting", keys[:, None].expand_as(order), order)
    times = torch.cumsum(_waiting_table(device)[bits & 65535], dim=1)
    level = torch.searchsorted(_height_table(cells, device), times.contiguous())
    z = _Z_LAST - level.to(torch.float64) * _Z_STEP
    event, column = torch.nonzero(z >= lowest, as_tuple=True)
    where = stream.bits("place", keys[event], column)
    cell = ((where >> 1) & ((1 << 62) - 1)) % cells
    return event, cell, z[event, column]


class Noise(Effect[Cells]):
    """Input-referred noise: electrons are added before gain; empty cells may rise above threshold too."""

    name: ClassVar[str] = "noise"
    stage: ClassVar[str] = "add_noise"
    catalogue: ClassVar[tuple[str, ...]] = ("E7",)
    needs: ClassVar[tuple[str, ...]] = ("event", "key", "cell", "electrons", "floor")
    changes: ClassVar[tuple[str, ...]] = ("event", "key", "cell", "electrons")
    parameters = (
        Parameter(
            "enc",
            500.0,
            50.0,
            "e",
            (0.0, 5000.0),
            identity=0.0,
            algebra="linear",
            source="larnd-sim consts/detector.py (LArPix); the size is a judgement",
            confidence="C",
            doc="Equivalent noise charge: standard deviation of the charge of one cell.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Add each cell's noise; leave out cells below the floor and list the noise-only ones above it."""
        enc = values["enc"]
        if not isinstance(enc, Tensor) and enc == 0:
            return events
        self._refuse_endless(events.floor, enc)
        z = stream.normal("cell", events.key, events.cell)
        noisy = events.with_electrons(events.electrons + events.per_row(enc) * z.to(torch.float64))
        strength = torch.as_tensor(enc, dtype=torch.float64, device=events.cell.device).expand(len(events.table))
        lowest = torch.clamp(events.floor / strength, min=LOWEST_Z)
        event, cell, height = self._alone(events, lowest, stream)
        kept = noisy.keep(noisy.electrons >= events.floor[events.event])
        return kept.insert(event, cell, strength[event] * height)

    def check(self, values: Mapping[str, float], floor: float) -> None:
        """Refuse a threshold so low that noise alone would fill the image."""
        enc = values["enc"]
        if enc > 0 and -math.inf < floor < THRESHOLD_OVER_NOISE * enc:
            raise ConfigError(
                f"threshold: charge above {floor:.0f} e (before gain) is recorded, which is below "
                f"{THRESHOLD_OVER_NOISE:g} times the noise of {enc:.0f} e; raise threshold.level or lower noise.enc."
            )

    def refuse(self, values: Mapping[str, float], floor: float) -> None:
        """Refuse noise that alone would pass the threshold in too many cells."""
        self._refuse_endless(torch.tensor([floor], dtype=torch.float64), values["enc"])

    @staticmethod
    def _refuse_endless(floor: Tensor, enc: Value) -> None:
        if bool(((floor > -math.inf) & (floor < LOWEST_Z * enc)).any()):
            raise ConfigError(
                f"noise: enc = {enc} e is so strong that charge above {float(floor.min()):.0f} e can be noise alone in "
                f"too many cells; the charge that can pass the threshold must be at least {LOWEST_Z} times the noise."
            )

    def _alone(self, events: Cells, lowest: Tensor, stream: Stream) -> tuple[Tensor, Tensor, Tensor]:
        """Return event, cell and height of noise-only hits in cells that have no row, ascending by cell."""
        quiet = torch.isinf(lowest)
        least = float(lowest[~quiet].min()) if bool((~quiet).any()) else _Z_LAST
        event, cell, height = noise_maxima(events.table.key, events.geometry.cells, least, stream)
        above = height >= lowest[event]
        event, cell, height = event[above], cell[above], height[above]
        address, order = torch.sort(event * events.geometry.cells + cell, stable=True)
        first = torch.ones_like(address, dtype=torch.bool)
        first[1:] = address[1:] != address[:-1]
        known = events.address
        place = torch.searchsorted(known, address)
        if len(known):
            first &= known[place.clamp(max=len(known) - 1)] != address
        order = order[first]
        return event[order], cell[order], height[order]
