"""Influence of each vertex on a statistic of sums, and from it the covariance of biases without a bootstrap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shiftlab.bias.design import Design
from shiftlab.bias.reading import Events, event_blocks, read_outputs, universe_blocks
from shiftlab.bias.statistic import Floats, OfSums, WithSlopes
from shiftlab.bias.sums import Streamed

__all__ = ["PairedCovariance", "by_vertex", "gain", "influence", "paired_covariance", "slopes"]

_STEP: Final = 1e-3
"""Step of a numerical derivative, in errors of the sum: linear to a millionth of the statistic's own curvature."""

_NUMBERS: Final = 2**23
"""Most influence values in memory (64 MiB)."""


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


def _values(terms: Floats, weight: Floats, slope: Floats) -> Floats:
    """Return the influence values (..., event) from terms (..., term, event) and slopes (..., 1 + term)."""
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


@dataclass(frozen=True)
class PairedCovariance:
    """Statistical covariance of one arm and seed's nominal values and biases, clustered by vertex.

    Attributes:
        universes: Numbers of the universes, in the order of the matrix.
        matrix: (task, 1 + universe, task, 1 + universe); place 0 is the task's nominal value, the others are its
            biases, in the tasks' units.
    """

    universes: tuple[int, ...]
    matrix: Floats

    @property
    def variance(self) -> Floats:
        """(task, 1 + universe): the diagonal."""
        size = self.matrix.shape[0] * self.matrix.shape[1]
        return np.diag(self.matrix.reshape(size, size)).reshape(self.matrix.shape[:2])

    @property
    def nominal_error(self) -> Floats:
        """(task,): error of the nominal value."""
        return np.asarray(np.sqrt(self.variance[:, 0]), dtype=np.float64)

    @property
    def bias_error(self) -> Floats:
        """(task, universe): error of the paired bias."""
        return np.asarray(np.sqrt(self.variance[:, 1:]), dtype=np.float64)

    @property
    def unpaired_error(self) -> Floats:
        """(task, universe): what the error would be for independent events."""
        return np.asarray(np.sqrt(self.variance[:, :1] + self._shifted), dtype=np.float64)

    @property
    def gain(self) -> tuple[Floats, Floats]:
        """(task, universe) each: rho_pair and 1 / (1 - rho_pair)."""
        return gain(self.variance[:, :1], self._shifted, self.variance[:, 1:])

    def of_shift(self, place: int) -> Floats:
        """Return the covariance over tasks (task, task) of the biases in one of ``universes``."""
        return np.asarray(self.matrix[:, 1 + place, :, 1 + place], dtype=np.float64)

    @property
    def _shifted(self) -> Floats:
        """Variance of the value in each universe: that of nominal plus bias."""
        cross = np.einsum("tut->tu", self.matrix[:, :, :, 0])[:, 1:]
        return np.asarray(self.variance[:, :1] + 2.0 * cross + self.variance[:, 1:], dtype=np.float64)


def paired_covariance(
    tasks: Sequence[Streamed], design: Design, universes: Sequence[int], arm: int, seed: int
) -> PairedCovariance:
    """Return the covariance of all tasks' biases in some universes, from influence values, in two passes.

    The first pass sums, the second multiplies the influence values of one block of vertices after
    another. Events of one vertex count as one, also where several tasks evaluate them. A universe
    that equals the nominal has no error to the last bit.

    Args:
        tasks: Tasks whose statistics are functions of sums, of any events.
        design: The universes.
        universes: Numbers of the universes wanted.
        arm: Number of the arm.
        seed: Number of the seed.

    Raises:
        DataError: an evaluated event has no finite response.
    """
    slope = [_slopes(task, design, universes, arm, seed) for task in tasks]
    uids = np.unique(np.concatenate([task.sample.vertex for task in tasks]))
    number = [np.searchsorted(uids, task.sample.vertex) for task in tasks]
    order = [np.argsort(one, kind="stable") for one in number]
    size = len(tasks) * (1 + len(universes))
    total = np.zeros((size, size))
    step = max(1, _NUMBERS // size)
    for start in range(0, len(uids), step):
        block = np.zeros((len(tasks), 1 + len(universes), min(step, len(uids) - start)))
        for t, task in enumerate(tasks):
            low, high = np.searchsorted(number[t][order[t]], [start, start + step])
            events = np.sort(order[t][low:high])
            if len(events):
                values = _pulls(task, design, universes, arm, seed, events, slope[t])
                there = np.unique(number[t][events]) - start
                block[t][:, there] = by_vertex(values, number[t][events])
        flat = block.reshape(size, -1)
        total += flat @ flat.T
    shape = (len(tasks), 1 + len(universes))
    return PairedCovariance(tuple(universes), total.reshape(*shape, *shape))


def _slopes(task: Streamed, design: Design, universes: Sequence[int], arm: int, seed: int) -> Floats:
    """Return the slopes (1 + universe, 1 + term) of one task, nominal first."""
    sums: Floats | None = None
    squares: Floats | None = None
    for events in event_blocks(task.data, task.sample):
        weight = task.sample.weight[events]
        for place, terms in _terms(task, design, universes, arm, seed, events):
            if sums is None or squares is None:
                sums = np.zeros((1 + len(universes), 1 + len(terms)))
                squares = np.zeros(1 + len(terms))
            sums[place, 0] += weight.sum()
            sums[place, 1:] += terms @ weight
            if place == 0:
                squares += _squares(terms, weight)
    assert sums is not None  # a sample has two vertices or more
    assert squares is not None
    return slopes(task.statistic, sums, np.sqrt(squares))


def _pulls(
    task: Streamed, design: Design, universes: Sequence[int], arm: int, seed: int, events: Events, slope: Floats
) -> Floats:
    """Return influence values on the nominal value and on each bias, (1 + universe, event)."""
    weight = task.sample.weight[events]
    found = np.empty((1 + len(universes), len(weight)))
    for place, terms in _terms(task, design, universes, arm, seed, events):
        found[place] = _values(terms[None], weight, slope[place : place + 1])[0]
    found[1:] -= found[0]
    return found


def _terms(
    task: Streamed, design: Design, universes: Sequence[int], arm: int, seed: int, events: Events
) -> Iterator[tuple[int, Floats]]:
    """Give place and terms (term, event) of each universe, the nominal at place 0; neighbours are read at once."""
    places: dict[int, list[int]] = {}
    for place, universe in enumerate([design.nominal, *universes]):
        places.setdefault(universe, []).append(place)
    truth = task.sample.truth[events]
    for block in universe_blocks(task.data, len(truth)):
        inside = sorted(universe for universe in places if block.start <= universe < block.stop)
        if not inside:
            continue
        near = slice(inside[0], inside[-1] + 1)
        outputs = read_outputs(task.data, task.sample, arm, seed, design, near, events)
        for universe in inside:
            own = outputs[universe - inside[0]].astype(np.float64)
            terms = np.swapaxes(task.statistic.terms(own, truth), -1, -2)
            for place in places[universe]:
                yield place, terms
