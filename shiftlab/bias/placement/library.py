"""The simulation as placement sees it: summaries of every simulated sample, their responses and their covariance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shiftlab.bias.design import Design, Term
from shiftlab.bias.placement.emulated import Around, around
from shiftlab.bias.placement.summaries import Summaries
from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["Library", "blocks_of", "build_library", "expansion"]

_BLOCK: Final = 2**22
"""Most numbers in one block of events x terms x summaries (32 MiB)."""


@dataclass(frozen=True)
class Library:
    """Sums over the simulated events of every summary, expanded in the nuisances.

    The term axis holds the centre of the expansion, then for each nuisance its odd and its even response to one sigma
    from there (the centre is nominal if not asked for otherwise). The covariance is that of the Poisson(1) bootstrap
    with weights shared by all universes, in closed form: for sums over events it is the sum over vertices of products,
    which a bootstrap of infinitely many replicas would give.

    Attributes:
        summaries: What is summed.
        samples: Names of the simulated samples.
        nuisances: Names of the detector's nuisances.
        one_sided: Bool (nuisance,): the response is the odd one times |z|.
        modes: Names of the flux modes.
        total: (sample, 1 + mode, term, summary), sums with generator weights, times the mode's weights for modes.
        moment: (sample, term, summary, term, summary), sums over vertices of products: the covariance of ``total``.
        spread: (sample, 1 + mode, term, summary), sums of squares, expanded in the same way.
        event_moment: (sample, summary, summary), sums over events of products at the centre, the covariance of data.
        centre: (nuisance,), where the expansion is made, in sigma.
        weight: (sample,), sum of generator weights.
        maps: Nuisance to (throw, sample, summary): odd responses per sigma of a frozen map's throws minus their mean.
    """

    summaries: Summaries
    samples: tuple[str, ...]
    nuisances: tuple[str, ...]
    one_sided: npt.NDArray[np.bool_]
    modes: tuple[str, ...]
    total: Floats
    moment: Floats
    spread: Floats
    event_moment: Floats
    weight: Floats
    maps: Mapping[str, Floats]
    centre: Floats

    @property
    def terms(self) -> int:
        """Number of terms of the expansion: nominal, and odd and even for each nuisance."""
        return 1 + 2 * len(self.nuisances)


def build_library(
    columns: Mapping[str, Floats],
    design: Design,
    summaries: Summaries,
    *,
    vertex: npt.NDArray[np.int64],
    sample: Sequence[str] | npt.NDArray[np.str_],
    weight: Floats | None = None,
    modes: Mapping[str, Floats] | None = None,
    recalibrate: str = "none",
    centre: Floats | None = None,
) -> Library:
    """Sum the summaries of every simulated sample, and expand them in the nuisances.

    Args:
        columns: Name to label-free values (universe, event), the universes of ``design`` in its order.
        design: The universes: nominal and one-sigma universes are used.
        summaries: From ``choose_summaries``.
        vertex: int64 (event,), uid of the generator vertex.
        sample: (event,), name of the simulated sample. Normalisations float per sample.
        weight: (event,), generator weight; 1 when None.
        modes: Flux mode to g (event,): at amplitude t events weigh 1 + t g. In units of the mode's prior sigma; a
            function of true neutrino energy, 0 for events that the flux does not concern.
        recalibrate: Which unisims are taken.
        centre: (nuisance,), expand around these values, to which every event's columns are taken by its own response
            (``emulated.around``); nominal when None.

    Raises:
        DataError: a column or mode has another shape or is not finite, a vertex is in two simulated samples, or there
            are no one-sigma universes.
    """
    terms = design.terms(recalibrate)
    if not terms:
        raise DataError("the design holds no one-sigma universe; the responses to the nuisances are not known.")
    names, number = np.unique(np.asarray(sample).astype(str), return_inverse=True)
    own = np.ones(len(vertex)) if weight is None else np.asarray(weight, dtype=np.float64)
    tilt = np.stack([np.ones(len(vertex)), *(modes or {}).values()]) * own
    _check(columns, summaries.columns, design, vertex, number, names, tilt)
    middle = np.zeros(len(terms)) if centre is None else np.asarray(centre, dtype=np.float64)
    if middle.shape != (len(terms),) or not np.isfinite(middle).all():
        raise DataError(f"centre = {middle.tolist()}: one finite value for each of {len(terms)} nuisances is needed.")
    sums = _Sums(len(names), len(tilt), 1 + 2 * len(terms), len(summaries.names), terms, middle)
    block = max(1, _BLOCK // (sums.total[0, 0].size + len(design.names) * len(summaries.names)))
    for c in range(len(names)):
        for events in blocks_of(np.flatnonzero(number == c), vertex, block):
            used = {name: np.asarray(columns[name])[:, events] for name in summaries.columns}
            sums.add(c, used, summaries, design, vertex[events], tilt[:, events])
    return Library(
        summaries=summaries,
        samples=tuple(str(name) for name in names),
        nuisances=tuple(term.nuisance for term in terms),
        one_sided=np.array([term.one_sided for term in terms]),
        modes=tuple(modes or {}),
        total=sums.total,
        moment=sums.moment,
        spread=sums.spread,
        event_moment=sums.event_moment,
        weight=np.asarray(np.bincount(number, weights=own), dtype=np.float64),
        maps={name: odd - odd.mean(axis=0) for name, odd in sums.odd.items() if len(odd) > 1},
        centre=middle,
    )


class _Sums:
    """Running sums over blocks of events."""

    def __init__(
        self,
        samples: int,
        modes: int,
        terms: int,
        summaries: int,
        unisims: Sequence[Term],
        centre: Floats,
    ) -> None:
        self.terms, self.centre = unisims, centre
        self.total = np.zeros((samples, modes, terms, summaries))
        self.moment = np.zeros((samples, terms, summaries, terms, summaries))
        self.spread = np.zeros((samples, modes, terms, summaries))
        self.event_moment = np.zeros((samples, summaries, summaries))
        self.odd = {term.nuisance: np.zeros((len(term.plus), samples, summaries)) for term in unisims}

    def add(
        self,
        c: int,
        columns: Mapping[str, Floats],
        summaries: Summaries,
        design: Design,
        vertex: npt.NDArray[np.int64],
        tilt: Floats,
    ) -> None:
        """Add events of sample ``c``, sorted by vertex and no vertex cut in two; ``tilt`` is (1 + mode, event)."""
        near = around(columns, design, self.terms, self.centre)
        stacked, squares, throws = expansion(near, summaries)
        for term, odd in zip(self.terms, throws, strict=True):
            self.odd[term.nuisance][:, c] += np.einsum("e,tej->tj", tilt[0], odd)
        self.total[c] += np.einsum("me,etj->mtj", tilt, stacked)
        self.spread[c] += np.einsum("me,etj->mtj", tilt, squares)
        self.event_moment[c] += (stacked[:, 0] * tilt[0][:, None]).T @ stacked[:, 0]
        starts = np.flatnonzero(np.r_[True, vertex[1:] != vertex[:-1]])
        by_vertex = np.add.reduceat((stacked * tilt[0][:, None, None]).reshape(len(vertex), -1), starts, axis=0)
        self.moment[c] += (by_vertex.T @ by_vertex).reshape(self.moment[c].shape)


def expansion(near: Around, summaries: Summaries) -> tuple[Floats, Floats, list[Floats]]:
    """Return the summaries of every event as odd and even responses to the nuisances.

    Args:
        near: Columns at the centre and one sigma to either side.
        summaries: What is summed.

    Returns:
        (event, term, summary), at the centre and then odd and even for each nuisance, means over throws; the same of
        the squares; and per nuisance the odd responses (throw, event, summary).
    """
    nominal = summaries.values(near.centre)
    values, squares, throws = [nominal], [nominal**2], []
    for up, down in zip(near.plus, near.minus, strict=True):
        plus, minus = (np.stack([summaries.values(one) for one in side]) for side in (up, down))
        values += [(plus - minus).mean(axis=0) / 2.0, (plus + minus).mean(axis=0) / 2.0 - nominal]
        squares += [(plus**2 - minus**2).mean(axis=0) / 2.0, (plus**2 + minus**2).mean(axis=0) / 2.0 - nominal**2]
        throws.append((plus - minus) / 2.0)
    return np.stack(values, axis=1), np.stack(squares, axis=1), throws


def blocks_of(
    events: npt.NDArray[np.intp], vertex: npt.NDArray[np.int64], block: int
) -> Iterator[npt.NDArray[np.intp]]:
    """Give events, sorted by vertex, in blocks of about ``block`` that do not cut a vertex in two."""
    events = events[np.argsort(vertex[events], kind="stable")]
    start = 0
    while start < len(events):
        stop = min(start + block, len(events))
        while stop < len(events) and vertex[events[stop]] == vertex[events[stop - 1]]:
            stop += 1
        yield events[start:stop]
        start = stop


def _check(
    columns: Mapping[str, Floats],
    wanted: Sequence[str],
    design: Design,
    vertex: npt.NDArray[np.int64],
    number: npt.NDArray[np.intp],
    names: npt.NDArray[np.str_],
    tilt: Floats,
) -> None:
    shape = (len(design.names), len(vertex))
    for name in wanted:
        if name not in columns:
            raise DataError(f"label-free column '{name}' is missing; given are {sorted(columns)}.")
        values = columns[name]
        if np.shape(values) != shape:
            raise DataError(f"column '{name}' has shape {np.shape(values)}; (universe, event) = {shape} is needed.")
    if len(number) != len(vertex) or not np.isfinite(tilt).all():
        raise DataError("samples, weights and flux modes need one finite value for each of the events.")
    pairs = np.unique(np.stack([vertex, number]), axis=1)
    shared, times = np.unique(pairs[0], return_counts=True)
    if (times > 1).any():
        both = names[pairs[1, pairs[0] == shared[times > 1][0]]]
        raise DataError(
            f"{int((times > 1).sum())} vertices are in more than one simulated sample (vertex {shared[times > 1][0]} "
            f"in {', '.join(both)}); their normalisations cannot float apart: give such events one sample name."
        )
