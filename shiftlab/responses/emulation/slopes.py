"""Responses by automatic differentiation beside those by finite displacement: where they agree the first are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from shiftlab.errors import DataError
from shiftlab.responses.emulation.curves import Curve, curves
from shiftlab.responses.emulation.gradient import Gradients
from shiftlab.responses.emulation.heads import Floats, Head
from shiftlab.responses.emulation.points import Points
from shiftlab.responses.emulation.sample import Sample
from shiftlab.responses.emulation.scale import Scale, Singles
from shiftlab.responses.emulation.settings import EmulationSettings

__all__ = ["AGREE", "Agreement", "Slopes", "by_arm", "slopes_of"]

AGREE: Final = 0.1
"""Largest relative difference of the mean response for which the derivative stands for the finite one."""


@dataclass(frozen=True)
class Agreement:
    """One nuisance and output of one head.

    Attributes:
        arm: Name of the arm.
        seed: Its seed.
        task: Name of the task.
        nuisance: Name of the nuisance.
        output: Number of the output.
        autodiff: Mean derivative of the output over evaluated events, per sigma; None: there is none.
        finite: Mean of half the difference of the output at plus and minus the inner anchor, per sigma.
        error: Statistical error of autodiff - finite.
        relative: Size of that difference over that of ``finite``; None where it has no value.
        used: Which response is used; of a head's outputs all or none are by derivative.
        reason: Why not the derivative.
    """

    arm: str
    seed: int
    task: str
    nuisance: str
    output: int
    autodiff: float | None
    finite: float
    error: float | None
    relative: float | None
    used: Literal["autodiff", "finite"]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Slopes:
    """Derivatives of one head that are used in place of finite responses.

    Attributes:
        nuisance: int64 (k,), numbers of the nuisances.
        value: float32 (k, event, output), per sigma, on the scale of the head.
        replaced: int64, numbers of the universes that are then not used.
        agreements: The comparison, of every nuisance and output.
    """

    nuisance: npt.NDArray[np.int64]
    value: Singles
    replaced: npt.NDArray[np.int64]
    agreements: tuple[Agreement, ...]


def slopes_of(
    head: Head,
    gradients: Gradients,
    task: str,
    keys: npt.NDArray[np.int64],
    sample: Sample,
    points: Points,
    settings: EmulationSettings,
) -> Slopes:
    """Compare a head's derivatives with its finite responses, nuisance by nuisance.

    Args:
        head: Its outputs.
        gradients: Derivatives of the same arm and seed.
        task: Name of the task.
        keys: int64 (event,), event keys of the head.
        sample: The evaluated events.
        points: The universes of the store.
        settings: Form of the response.

    Raises:
        DataError: an evaluated event has no derivative.
    """
    known = _of_head(gradients, task, keys, sample)
    used, rows, replaced = [], [], []
    for number, curve in curves(points, settings).items():
        name = points.nuisances[number]
        finite = _finite(head.direct, points.nominal, curve)
        reason = _reason(gradients, name, curve)
        slope = None if reason else known[gradients.nuisances.index(name)]
        found = [_agreement(slope, finite, sample, column) for column in range(finite.shape[1])]
        if not reason and any(one["relative"] is None or one["relative"] > AGREE for one in found):
            reason = f"differs by more than {AGREE:.0%}"
        if not reason and slope is not None:
            used.append((number, _on_scale(slope, head.scale)))
            replaced += [universe for universes in curve.universes.values() for universe in universes]
        for column, one in enumerate(found):
            what: Literal["autodiff", "finite"] = "finite" if reason else "autodiff"
            head_of = (gradients.arm, gradients.seed, task, name, column)
            rows.append(Agreement(*head_of, **one, used=what, reason=reason))
    value = np.stack([one for _, one in used]) if used else np.zeros((0, *head.direct.shape[1:]))
    numbers = np.array([number for number, _ in used], dtype=np.int64)
    return Slopes(numbers, value.astype(np.float32), np.array(replaced, dtype=np.int64), tuple(rows))


def _reason(gradients: Gradients, name: str, curve: Curve) -> str:
    """Return why a nuisance has no derivative that could stand for its curve."""
    if name in gradients.why_not:
        return gradients.why_not[name]
    if name not in gradients.nuisances:
        return "the differentiated detector does not have it"
    return "it was run in several throws of a frozen map" if len(curve.universes) > 1 else ""


def _of_head(gradients: Gradients, task: str, keys: npt.NDArray[np.int64], sample: Sample) -> Floats:
    """Return float64 (nuisance, event, output): derivatives of the outputs of the head's events, 0 where unknown."""
    position = {int(key): row for row, key in enumerate(gradients.events)}
    rows = np.array([position.get(int(key), -1) for key in keys], dtype=np.int64)
    value = np.where((rows >= 0)[:, None, None], gradients.value[task][rows], np.nan).astype(np.float64)
    missing = int((~np.isfinite(value[sample.index]).all(axis=(1, 2))).sum())
    if missing:
        raise DataError(
            f"arm '{gradients.arm}', seed {gradients.seed}, task '{task}': {missing} of {len(sample.index)} evaluated "
            "events have no derivative; differentiate the events of the responses."
        )
    return np.nan_to_num(value, nan=0.0).transpose(2, 0, 1)


def _on_scale(slope: Floats, scale: Scale) -> Floats:
    """Return (event, output): derivatives of displacements on the scale from those of the outputs."""
    relative = np.divide(slope, scale.nominal, out=np.zeros_like(slope), where=scale.logarithmic)
    return np.where(scale.logarithmic, relative, slope)


def _finite(direct: Singles, nominal: int, curve: Curve) -> Floats:
    """Return float64 (event, output): the linear response by the inner anchors, mean over throws, per sigma."""
    base = direct[nominal].astype(np.float64)
    inner = min(abs(one) for one in curve.strengths)
    at = [i for i, strength in enumerate(curve.strengths) if abs(strength) == inner]
    sides = [
        np.mean([direct[universes[i]] - base for universes in curve.universes.values()], axis=0) / curve.strengths[i]
        for i in at
    ]
    found: Floats = np.mean(sides, axis=0)
    return found


def _agreement(slope: Floats | None, finite: Floats, sample: Sample, column: int) -> dict[str, Any]:
    """Return the numbers of ``Agreement`` for one output."""
    expected = _mean(finite[:, column], sample)
    if slope is None:
        return {"autodiff": None, "finite": float(expected[0]), "error": None, "relative": None}
    own = _mean(slope[:, column], sample)
    apart = abs(float(own[0] - expected[0]))
    size = abs(float(expected[0]))
    return {
        "autodiff": float(own[0]),
        "finite": float(expected[0]),
        "error": float(sample.error(own - expected)),
        "relative": apart / size if size > 0 else 0.0 if apart == 0 else None,
    }


def _mean(rows: Floats, sample: Sample) -> Floats:
    """Return (1 + block,): weighted means of rows (event,) over evaluated events."""
    mean: Floats = sample.weights @ rows[sample.index] / sample.weights.sum(axis=1)
    return mean


def by_arm(gradients: Sequence[Gradients]) -> dict[tuple[str, int], Gradients]:
    """Return derivatives by arm and seed.

    Raises:
        DataError: an arm and seed is given twice.
    """
    found = {(one.arm, one.seed): one for one in gradients}
    if len(found) < len(gradients):
        raise DataError("derivatives of one arm and seed are given twice.")
    return found
