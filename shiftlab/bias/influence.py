"""Influence of each vertex on a statistic of sums, and from it the errors of biases without a bootstrap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from shiftlab.bias.design import Design
from shiftlab.bias.reading import Events, event_blocks, read_nominal, read_outputs, universe_blocks
from shiftlab.bias.statistic import Floats, OfSums, WithSlopes
from shiftlab.bias.sums import Streamed

__all__ = ["by_vertex", "closed_variances", "gain", "influence", "slopes"]

_STEP: Final = 1e-3
"""Step of a numerical derivative, in errors of the sum: linear to a millionth of the statistic's own curvature."""

_CACHED: Final = 2**16
"""Outputs turned into influence values at a time: what is made on the way stays in the processor's cache."""

_VERTICES: Final = 2**14
"""Vertices of one piece."""


def slopes(statistic: OfSums, sums: Floats, scale: Floats) -> Floats:
    """Return the derivative of the statistic with respect to its sums, (..., 1 + term).

    Means and ratios of sums know it in closed form; of any other function of sums it is taken by
    central differences of a thousandth of the sum's error.

    Args:
        statistic: A function of sums.
        sums: (..., 1 + term).
        scale: (1 + term,), error of each sum: root of the sum of (weight x term)^2.
    """
    if isinstance(statistic, WithSlopes):
        return statistic.slopes(sums)
    step = _STEP * scale
    found = np.zeros(sums.shape)
    for term in np.flatnonzero(step > 0.0):
        beside = np.zeros(sums.shape[-1])
        beside[term] = step[term]
        found[..., term] = (statistic.of_sums(sums + beside) - statistic.of_sums(sums - beside)) / (2.0 * step[term])
    return found


def influence(statistic: OfSums, outputs: Floats, truth: Floats, weight: Floats) -> Floats:
    """Return how far each event pulls the statistic, (..., event); the values of a mean are w (x - mean) / sum w.

    The variance of the statistic is the sum over vertices of the square of their events' summed
    values (delta method, clustered), that of a difference the same of the difference of the values.

    Args:
        statistic: A function of sums.
        outputs: (..., event, output).
        truth: (event, column).
        weight: (event,), generator weights.

    Source: Hampel, Ronchetti, Rousseeuw, Stahel 1986, Robust Statistics, section 2.1.
    """
    terms = np.moveaxis(statistic.terms(outputs, truth), -1, -2)
    sums = np.concatenate([np.broadcast_to(weight.sum(), (*terms.shape[:-2], 1)), terms @ weight], axis=-1)
    return _values(terms, weight, slopes(statistic, sums, np.sqrt(_squares(terms, weight))))


def _values(terms: Floats, weight: Floats, slope: Floats, into: Floats | None = None) -> Floats:
    """Return the influence values (..., event) from terms (..., term, event) and slopes (..., 1 + term).

    With ``into`` those of a single term are written there: new memory costs more than the arithmetic.
    """
    if terms.shape[-2] == 1:
        pulled = np.multiply(terms[..., 0, :], slope[..., 1:], out=into)
    else:
        pulled = (slope[..., None, 1:] @ terms)[..., 0, :]
    pulled += slope[..., :1]
    pulled *= weight
    return np.asarray(pulled, dtype=np.float64)


def _squares(terms: Floats, weight: Floats) -> Floats:
    """Return the sum of (weight x term)^2, (1 + term,), the mean over what stands before (..., term, event)."""
    own = terms.reshape(-1, *terms.shape[-2:])
    return np.concatenate([[(weight**2).sum()], (own**2 @ weight**2).mean(axis=0)])


def by_vertex(values: Floats, vertex: npt.NDArray[np.int64]) -> Floats:
    """Return the sum over the events of each vertex, (..., vertex), in the order of their uids, of (..., event)."""
    order = np.argsort(vertex, kind="stable")
    first = np.flatnonzero(np.diff(vertex[order], prepend=vertex[order[:1]] - 1) != 0)
    return np.add.reduceat(values[..., order], first, axis=-1)


def gain(nominal: Floats, shifted: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """Return what pairing gains over two independent samples, from the variances of the two values and of the bias.

    Returns:
        rho_pair = 1 - V(bias) / (V(nominal) + V(shifted)), the correlation of the two where their
        variances are equal; and the gain 1 / (1 - rho_pair), how many times more independent events
        would be needed. Where nothing moves rho is 1 and the gain infinite; NaN without variance.
    """
    unpaired = np.asarray(nominal + shifted, dtype=np.float64)
    rest = np.divide(bias, unpaired, out=np.full(unpaired.shape, np.nan), where=unpaired > 0.0)
    times = np.divide(1.0, rest, out=np.where(rest == 0.0, np.inf, np.nan), where=rest > 0.0)
    return 1.0 - rest, times


def closed_variances(task: Streamed, design: Design, sums: Floats) -> Floats:
    """Return the variances of a task's values and biases from influence values, in one further pass over the events.

    Events of one vertex count as one. A universe that equals the nominal has a bias without variance, to the last bit.

    Args:
        task: Its statistic is a function of sums.
        design: The universes.
        sums: (arm, seed, universe, 1 + replica, 1 + term), as ``accumulate`` gives them; replica 0 is the sample.

    Returns:
        (arm, seed, universe, 2): variance of the value in each universe, and of its bias.

    Raises:
        DataError: an evaluated event has no finite response.
    """
    heads = sums.shape[:2]
    scale = sums[:, :, design.nominal, 1:].std(axis=2, ddof=1)
    slope = [[slopes(task.statistic, sums[a, s, :, 0], scale[a, s]) for s in range(heads[1])] for a in range(heads[0])]
    total = np.zeros((*sums.shape[:3], 2))
    for events, number in _blocks(task):
        for a, s in np.ndindex(*heads):
            asis = read_nominal(task.data, task.sample, a, s, design, events)[None]
            start = _pulls(task, asis, events, number, slope[a][s][design.nominal][None])
            count = start.shape[-1] if number is None else len(number)
            for universes in universe_blocks(task.data, count, sums.shape[-1]):
                outputs = read_outputs(task.data, task.sample, a, s, design, universes, events)
                step = max(1, _CACHED // (count * outputs.shape[2]))
                room, into = np.empty((step, *outputs.shape[1:])), np.empty((step, count))
                for first in range(0, len(outputs), step):
                    part = outputs[first : first + step]
                    few = slice(universes.start + first, universes.start + first + len(part))
                    own = room[: len(part)]
                    own[:] = part
                    values = _pulls(task, own, events, number, slope[a][s][few], into[: len(part)])
                    total[a, s, few, 0] += _squared(values)
                    values -= start
                    total[a, s, few, 1] += _squared(values)
    return total


def _blocks(task: Streamed) -> Iterator[tuple[Events, npt.NDArray[np.int64] | None]]:
    """Give events block by block, no vertex in two, with the number of each event's vertex; None where each has one."""
    uids, number = np.unique(task.sample.vertex, return_inverse=True)
    if len(uids) == len(number):
        yield from ((events, None) for events in event_blocks(task.data, task.sample))
        return
    order = np.argsort(number, kind="stable")
    for start in range(0, len(uids), _VERTICES):
        low, high = np.searchsorted(number[order], [start, start + _VERTICES])
        events = np.sort(order[low:high])
        yield events, number[events]


def _squared(values: Floats) -> Floats:
    """Return the sum of squares of each row."""
    return np.array([row @ row for row in values])


def _pulls(
    task: Streamed,
    outputs: Floats,
    events: Events,
    number: npt.NDArray[np.int64] | None,
    slope: Floats,
    into: Floats | None = None,
) -> Floats:
    """Return the influence values (universe, vertex) of some events from their outputs (universe, event, output)."""
    terms = np.moveaxis(task.statistic.terms(outputs, task.sample.truth[events]), -1, -2)
    values = _values(terms, task.sample.weight[events], slope, into)
    return values if number is None else by_vertex(values, number)
