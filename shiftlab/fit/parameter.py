"""Shift of the fitted signal strength that each task's shifted spectrum makes: biases in units of the result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from shiftlab.bias.currency import parameter_shift
from shiftlab.errors import DataError
from shiftlab.fit.result import FitResult
from shiftlab.templates import Templates

__all__ = ["parameter_shifts"]

Floats = npt.NDArray[np.float64]

_ROTATED: Final = ("partial", "group")

_COLUMNS: Final = ("arm", "seed", "recalibrate", "task", "universe", "parameter_shift", "parameter_error")


def parameter_shifts(templates: Iterable[Templates], results: Iterable[FitResult]) -> pd.DataFrame:
    """Return by how much ``mu`` moves, to first order, when one channel's spectrum is that of a shifted universe.

    The shift of a channel is d mu / d n of its bins times the change of its expected events, all nuisances of the fit
    free: what the fit's nuisances absorb is not in it. Channels add, as they hold different events.

    Args:
        templates: One or several arms, seeds and calibrations.
        results: The fits of the same, in the same order.

    Returns:
        One row per arm, seed, recalibration, task (channel) and universe at one sigma; ``parameter_error`` is the
        paired Monte Carlo error, bins taken as independent. The other side of a one-sided nuisance has no universe
        and no row.

    Raises:
        DataError: results that belong to other templates, or d mu / d n that is not finite.
    """
    rows = [row for one, result in zip(templates, results, strict=True) for row in _rows(one, result)]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _rows(templates: Templates, result: FitResult) -> Iterator[tuple[object, ...]]:
    mine, theirs = (
        (templates.arm, templates.seed, templates.recalibrate),
        (result.arm, result.seed, result.recalibrate),
    )
    if mine != theirs:
        raise DataError(f"templates of arm, seed, recalibration {mine} with the fit of {theirs}; hand in pairs.")
    slope = result.response["dmu_dn"].to_numpy(dtype=np.float64)
    shift, spread = _shifts(templates)
    for universe, moved in shift.items():
        for channel in templates.channels:
            bins = templates.slice(channel)
            size = float(parameter_shift(slope[bins], moved[bins]))
            error = float(np.sqrt(parameter_shift(slope[bins] ** 2, spread[universe][bins])))
            yield (*mine, channel, universe, size, error)


def _shifts(templates: Templates) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return universe to shift of the expected events (bin,), and to its variance, samples summed.

    A variation that was split (odd and even part, one part per channel or sample) is put together again; its parts are
    taken as independent in the variance. One whose nuisances were rotated has no universe of its own and is left out.
    """
    described = templates.record.get("variations", {})
    shift: dict[str, Floats] = {}
    spread: dict[str, Floats] = {}
    for k, nuisance in enumerate(templates.nuisances):
        about = described.get(nuisance, {})
        if not about or about.get("correlation") in _ROTATED:
            continue
        both = about.get("part") == "even" and "even_part_of" in about
        sides = {"up": (templates.up, templates.up_variance), "down": (templates.down, templates.down_variance)}
        for side, (spectrum, variance) in sides.items():
            universe = about[side]
            if universe is None:
                continue
            if both:  # the even part is the same in both universes; its template at +1 sigma holds it times the factor
                spectrum, variance = sides["up"]
            scale = about["scale"] * (about["factor"] if both else 1.0)
            moved = (spectrum[k] - templates.nominal).sum(axis=0) / scale
            shift[universe] = shift.get(universe, 0.0) + moved
            spread[universe] = spread.get(universe, 0.0) + variance[k].sum(axis=0) / scale**2
    return shift, spread
