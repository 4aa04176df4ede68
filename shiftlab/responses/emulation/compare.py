"""Comparison of emulated with directly simulated universes, head by head."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shiftlab.errors import DataError
from shiftlab.responses.emulation.closure import Check, Closure, Kind, over
from shiftlab.responses.emulation.curves import curves, pair_universes, weights
from shiftlab.responses.emulation.heads import Floats, Head, Judge
from shiftlab.responses.emulation.points import Points
from shiftlab.responses.emulation.sample import Sample
from shiftlab.responses.emulation.settings import EmulationSettings

__all__ = ["anchors", "check_points", "head_closure"]


def check_points(points: Points, settings: EmulationSettings) -> tuple[int, ...]:
    """Return the directly simulated universes that test the emulation.

    Raises:
        DataError: no nuisance has one-nuisance universes, none tests them, or none tests whether they add up.
    """
    every = curves(points, settings)
    if not every:
        raise DataError(
            f"the responses hold no unisim at {' or '.join(f'{one:g}' for one in settings.strengths)} sigma to make "
            "responses from; add unisim(detector)."
        )
    used = {u for word in set(points.recalibrate) for u in anchors(points, settings, word)}
    if settings.pairs:
        used |= {u for word in set(points.recalibrate) for two in pair_universes(points, word).values() for u in two}
    found = [
        universe
        for universe in range(len(points))
        if universe not in used
        and points.group[universe] not in ("nominal", "control")
        and points.value[universe].any()
        and set(np.flatnonzero(points.value[universe]).tolist()) <= set(every)
    ]
    if not any(len(points.displaced(universe)) > 1 for universe in found) and (len(every) > 1 or not found):
        raise DataError(
            "the responses hold no directly simulated universe that would show whether the responses to "
            f"{len(every)} nuisances add up, so closure cannot be measured; add joint universes, say "
            "multisim(detector, 8, seed=1)."
        )
    return tuple(found)


def anchors(points: Points, settings: EmulationSettings, recalibrate: str) -> tuple[int, ...]:
    """Return the universes that responses are made from, ascending."""
    every = curves(points, settings, recalibrate).values()
    return tuple(sorted({u for curve in every for universes in curve.universes.values() for u in universes}))


def head_closure(
    head: Head, judge: Judge, sample: Sample, names: tuple[str, int, str], points: Points, settings: EmulationSettings
) -> Closure:
    """Compare one head's emulated with its direct outputs in every universe that tests them.

    Args:
        head: Arm, seed and task.
        judge: The task.
        sample: Its evaluated events.
        names: Arm, seed and task.
        points: The universes of the store.
        settings: Form of the response.
    """
    tested = list(check_points(points, settings))
    base = _score(head.direct[points.nominal], judge, sample)
    direct = np.stack([_score(head.direct[u], judge, sample) for u in tested])
    factors = weights(points, points.take(tested), settings)
    checks = []
    for universe, row, simulated in zip(tested, factors, direct, strict=True):
        emulated = head.outputs(row[None], points.take([universe]))
        difference = _score(emulated[0], judge, sample) - simulated
        checks.append(
            Check(
                *names,
                universe=points.names[universe],
                kind=_kind(points, universe),
                nuisances=points.displaced(universe),
                shift=float(simulated[0] - base[0]),
                difference=float(difference[0]),
                difference_error=float(sample.error(difference)),
                events=_event_error(head, emulated[0], universe, sample),
            )
        )
    expected = _expected(head, judge, sample, points, settings, float(base[0]))
    bent = _bent(head, judge, sample, points, settings, float(base[0]))
    return Closure(*names, expected, float(sample.error(base)), tuple(checks), settings.floor, bent)


def _kind(points: Points, universe: int) -> Kind:
    count = len(points.displaced(universe))
    if points.group[universe] == "multisim" or count > 2:
        return "joint"
    return "pair" if count == 2 else "strength"


def _score(outputs: npt.NDArray[np.float32], judge: Judge, sample: Sample) -> Floats:
    """Return the statistic, (1 + block,), of outputs (event, output) of all events."""
    return judge.score(outputs[sample.index].astype(np.float64), sample.truth, sample.weights)


def _event_error(head: Head, emulated: npt.NDArray[np.float32], universe: int, sample: Sample) -> float:
    moved = head.displacement[universe, sample.index].astype(np.float64)
    apart = head.scale.displacement(emulated)[sample.index] - moved
    return over(float(np.sqrt(np.mean(apart**2))), float(np.sqrt(np.mean(moved**2))))


def _expected(
    head: Head, judge: Judge, sample: Sample, points: Points, settings: EmulationSettings, base: float
) -> float:
    """Return the size of a joint shift: the root of the sum over nuisances of the mean square at the inner anchors."""
    inner = min(settings.strengths)
    total = 0.0
    alone = Sample(sample.index, sample.truth, sample.weights[:1])
    for curve in curves(points, settings).values():
        at = [i for i, strength in enumerate(curve.strengths) if abs(strength) == inner]
        own = [universes[i] for universes in curve.universes.values() for i in at]
        shifts = [float(_score(head.direct[u], judge, alone)[0]) - base for u in own]
        total += float(np.mean(np.square(shifts))) / inner**2 if shifts else 0.0
    return float(np.sqrt(total))


def _bent(head: Head, judge: Judge, sample: Sample, points: Points, settings: EmulationSettings, base: float) -> str:
    """Return the nuisance of the largest even part of the statistic at the inner anchors; none where all are 0."""
    inner = min(settings.strengths)
    alone = Sample(sample.index, sample.truth, sample.weights[:1])
    found = {"": 0.0}
    for nuisance, curve in curves(points, settings).items():
        sides = [i for i, strength in enumerate(curve.strengths) if abs(strength) == inner]
        if len(sides) == 2:
            every = [
                [float(_score(head.direct[own[i]], judge, alone)[0]) for i in sides] for own in curve.universes.values()
            ]
            found[points.nuisances[nuisance]] = abs(float(np.mean(every)) - base)
    return max(found, key=lambda name: found[name])
