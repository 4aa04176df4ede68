"""What one-nuisance universes cannot tell, nuisances that act together, as a covariance measured in joint universes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from shiftlab.bias.covariance import Part, nearest_psd
from shiftlab.bias.design import Design
from shiftlab.bias.placement.emulated import around
from shiftlab.bias.placement.library import blocks_of, expansion
from shiftlab.bias.placement.summaries import Summaries
from shiftlab.bias.statistic import Floats

__all__ = ["interaction_covariance", "joint_values", "task_interaction"]

_BLOCK: Final = 2**22
"""Most numbers in one block of events x terms x summaries (32 MiB)."""


def joint_values(design: Design, nuisances: Sequence[str]) -> tuple[list[int], Floats]:
    """Return the joint universes and their nuisance values (universe, nuisance), sizes for one-sided nuisances."""
    joint = [u for u, group in enumerate(design.group) if group == "multisim" and design.recalibrate[u] == "none"]
    places = [design.nuisances.index(name) for name in nuisances]
    value = design.value[np.ix_(joint, places)]
    one_sided = np.array([name in design.one_sided for name in nuisances])
    return joint, np.where(one_sided, np.abs(value), value)


def interaction_covariance(
    columns: Mapping[str, Floats],
    design: Design,
    summaries: Summaries,
    *,
    vertex: npt.NDArray[np.int64],
    scale: Floats,
    maps: Mapping[str, Floats],
) -> Floats:
    """Return the second moment of joint universes minus what their known nuisance values predict, (summary, summary).

    Give it to ``build_model`` as ``extra``: with it, a universe of several displaced nuisances is not rejected, nor
    placed with an error that knows of event statistics alone. What the model has already is taken out: the noise of
    the events, by its bootstrap variance in closed form, and the unknown realisation of frozen maps. U joint universes
    span only U of p directions, so the share p / (p + U) is kept as variances without correlation.

    Args:
        columns: Name to label-free values (universe, event), the universes of ``design`` in its order.
        design: The universes.
        summaries: What is summed.
        vertex: int64 (event,), uid of the generator vertex.
        scale: (event,), expected data events that each simulated one stands for.
        maps: Nuisance to (throw, summary): odd responses of a frozen map's throws minus their mean, per sigma.
    """
    terms = design.terms("none")
    joint, value = joint_values(design, [term.nuisance for term in terms])
    size = len(summaries.names)
    if not joint:
        return np.zeros((size, size))
    weights = np.ones((len(joint), 1 + 2 * len(terms)))
    weights[:, 1::2], weights[:, 2::2] = value, value**2
    total, noise = np.zeros((len(joint), size)), np.zeros((size, size))
    block = max(1, _BLOCK // (weights.shape[1] * size))
    for events in blocks_of(np.arange(len(vertex)), vertex, block):
        used = {name: np.asarray(columns[name])[:, events] for name in summaries.columns}
        expanded = expansion(around(used, design, terms, np.zeros(len(terms))), summaries)[0]
        starts = np.flatnonzero(np.r_[True, np.diff(vertex[events]) != 0])
        for number, u in enumerate(joint):
            seen = summaries.values({name: values[u] for name, values in used.items()})
            left = scale[events, None] * (seen - np.einsum("t,etj->ej", weights[number], expanded))
            by_vertex = np.add.reduceat(left, starts, axis=0)
            total[number] += left.sum(axis=0)
            noise += by_vertex.T @ by_vertex
    known = noise / len(joint)
    for name, throws in maps.items():
        size_of = float((value[:, [term.nuisance for term in terms].index(name)] ** 2).mean())
        known += size_of * throws.T @ throws / (len(throws) - 1)
    return _second_moment(total, known)


def task_interaction(parts: Sequence[Part], displacement: Floats, values: Mapping[str, Floats]) -> Floats:
    """Return the second moment of joint universes' biases minus the sum of the tasks' responses, (task, task).

    Give it to ``place`` as ``interaction``: the expected bias is a sum over nuisances, and this is its error. Event
    noise and the spread of frozen maps, which have terms of their own, are taken out.

    Args:
        parts: Responses of the tasks.
        displacement: (1 + replica, universe, task), biases in the joint universes, in the unit of the parts.
        values: Name of a nuisance to its values in those universes (universe,); 0 where left out.
    """
    tasks = displacement.shape[2]
    if not displacement.shape[1]:
        return np.zeros((tasks, tasks))
    left = displacement.astype(np.float64)
    known = np.zeros((tasks, tasks))
    for part in parts:
        z = np.asarray(values.get(part.nuisance, np.zeros(displacement.shape[1])))[:, None]
        odd, even = part.odd.mean(axis=1)[:, None], part.even.mean(axis=1)[:, None]
        left = left - (np.abs(z) * odd if part.one_sided else z * odd + z**2 * even)
        if part.odd.shape[1] > 1:
            scatter = part.odd[0] - odd[0]
            known += float((z**2).mean()) * scatter.T @ scatter / (len(scatter) - 1)
    if len(left) > 2:
        away = left[1:] - left[1:].mean(axis=0)
        known += np.einsum("rut,ruv->tv", away, away) / (len(away) - 1) / left.shape[1]
    return _second_moment(left[0], known)


def _second_moment(residual: Floats, known: Floats) -> Floats:
    """Return the mean of products over universes (universe, column) without what is known, partly diagonal."""
    universes, columns = residual.shape
    raw = residual.T @ residual / universes
    moment = nearest_psd(raw - known, np.diag(raw))
    share = columns / (columns + universes)
    return np.asarray((1.0 - share) * moment + share * np.diag(np.diag(moment)))
