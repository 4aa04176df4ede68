"""Weighted sums over events, for all universes and bootstrap replicas at once, in one pass over the events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from shiftlab.bias.design import Design
from shiftlab.bias.reading import event_blocks, read_nominal, read_outputs, universe_blocks
from shiftlab.bias.sample import Sample
from shiftlab.bias.statistic import Floats, OfSums

__all__ = ["Streamed", "Sums", "accumulate", "same_events"]

_CACHED: Final = 2**16
"""Outputs turned into terms at a time: what is made on the way stays in the processor's cache."""


@dataclass(frozen=True)
class Streamed:
    """One task whose statistic is a function of sums.

    Attributes:
        data: The task's responses; its outputs may be lazy, they are read in pieces.
        statistic: Says what is summed.
        sample: The evaluated events.
    """

    data: xr.Dataset
    statistic: OfSums
    sample: Sample


@dataclass(frozen=True)
class Sums:
    """Sums of weights, then of weight times term, of one task; replica 0 is the sample itself.

    Attributes:
        universe: (arm, seed, universe, 1 + replica, 1 + term).
        alone: (simulated sample, arm, seed, 1 + replica, 1 + term), at nominal, that sample alone resampled.
    """

    universe: Floats
    alone: Floats


def same_events(tasks: Sequence[Streamed]) -> Iterator[list[int]]:
    """Give the numbers of the tasks that evaluate the same events in the same order, group by group."""
    left = list(range(len(tasks)))
    while left:
        first = tasks[left[0]].sample
        group = [i for i in left if first.agrees(tasks[i].sample)]
        left = [i for i in left if i not in group]
        yield group


def accumulate(tasks: Sequence[Streamed], design: Design, replicas: int, seed: int) -> tuple[Sums, ...]:
    """Return the sums of tasks that evaluate the same events; each weight is drawn once for all of them.

    Per chunk of events, sums += weights (replica, event) @ [terms (universe, event, term) - terms at
    nominal], to which the sums at nominal are added in the end. The differences make a universe that
    equals the nominal have equal sums to the last bit, and lose no digits of small biases.

    Args:
        tasks: The tasks, all of the same events in the same order.
        design: The universes.
        replicas: Number of replicas with the sample itself.
        seed: Seed of the bootstrap.

    Raises:
        DataError: an evaluated event has no finite response.
    """
    shift: list[Floats] = []
    nominal: list[Floats] = []
    sample = tasks[0].sample
    for events in event_blocks(tasks[0].data, sample):
        weights = sample.weights(range(replicas), seed, events)
        for number, task in enumerate(tasks):
            heads = task.data.sizes["arm"], task.data.sizes["seed"]
            for arm, run in np.ndindex(*heads):
                outputs = read_nominal(task.data, task.sample, arm, run, design, events)
                start = _terms(task, outputs[None], events)[0]
                if len(shift) == number:
                    size = (len(start), replicas)
                    shift.append(np.zeros((*heads, len(design.names), *size)))
                    nominal.append(np.zeros((len(sample.samples), *heads, 1 + size[0], size[1])))
                nominal[number][:, arm, run] += _by_sample(start, weights, sample.sample[events], len(sample.samples))
                _add(shift[number][arm, run], task, arm, run, design, events, start, weights)
    return tuple(_sums(one, start) for one, start in zip(shift, nominal, strict=True))


def _terms(task: Streamed, outputs: Floats, events: slice) -> Floats:
    """Return the terms of some events, (universe, term, event), from (universe, event, output)."""
    return np.moveaxis(task.statistic.terms(outputs, task.sample.truth[events]), -1, -2)


def _by_sample(terms: Floats, weights: Floats, sample: npt.NDArray[np.int64], samples: int) -> Floats:
    """Return the sums of weights and of weight times term (term, event) by simulated sample.

    Returns:
        (simulated sample, 1 + term, replica).
    """
    every = np.concatenate([np.ones((1, terms.shape[1])), terms])
    if samples == 1:
        return np.asarray((every @ weights.T)[None], dtype=np.float64)
    return np.stack([every[:, inside] @ weights[:, inside].T for inside in (sample == k for k in range(samples))])


def _add(
    total: Floats,
    task: Streamed,
    arm: int,
    seed: int,
    design: Design,
    events: slice,
    start: Floats,
    weights: Floats,
) -> None:
    """Add the sums of terms less those at nominal, ``start`` (term, event), to ``total`` (universe, term, replica)."""
    count = start.shape[1]
    for universes in universe_blocks(task.data, count, len(start)):
        outputs = read_outputs(task.data, task.sample, arm, seed, design, universes, events)
        terms = np.empty((len(outputs), *start.shape))
        step = max(1, _CACHED // (count * outputs.shape[2]))
        room = np.empty((step, *outputs.shape[1:]))  # used again: new memory costs more than the arithmetic
        for first in range(0, len(outputs), step):
            few = slice(first, first + step)
            own = room[: len(outputs[few])]
            own[:] = outputs[few]
            np.subtract(_terms(task, own, events), start, out=terms[few])
        product = terms.reshape(-1, count) @ weights.T
        total[universes] += product.reshape(len(outputs), len(start), -1)


def _sums(shift: Floats, nominal: Floats) -> Sums:
    """Put the parts together; the first replica of ``nominal`` is each simulated sample as it is."""
    whole = nominal.sum(axis=0)
    asis = nominal[..., :1]
    alone = nominal if len(nominal) == 1 else nominal + (asis.sum(axis=0) - asis)
    universe = np.empty((*shift.shape[:3], shift.shape[3] + 1, shift.shape[4]))
    universe[..., 0, :] = whole[:, :, None, 0]
    np.add(shift, whole[:, :, None, 1:], out=universe[..., 1:, :])
    return Sums(universe=np.swapaxes(universe, -1, -2), alone=np.swapaxes(alone, -1, -2))
