"""The simulation as placement sees it: summaries of every simulated sample, their responses and their covariance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shiftlab.bias.design import Design, Term
from shiftlab.bias.placement.emulated import around
from shiftlab.bias.placement.summaries import Summaries
from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError, UnknownNameError

__all__ = ["Library", "build_library"]

_BLOCK: Final = 2**22
"""Most numbers in one block of events x terms x summaries (32 MiB)."""


@dataclass(frozen=True)
class Library:
    """Sums over the simulated events of every summary, expanded in the nuisances.

    The term axis holds the centre of the expansion, then for each nuisance its odd and its even response to one sigma
    from there (the centre is nominal if not asked for otherwise), then the hidden universes:
    samples of the same events whose nuisance values are to be found. The covariance is that of the Poisson(1)
    bootstrap with weights shared by all universes, in closed form: for sums over events it is the sum over vertices of
    products, which a bootstrap of infinitely many replicas would give.

    Attributes:
        summaries: What is summed.
        samples: Names of the simulated samples.
        nuisances: Names of the detector's nuisances.
        one_sided: Bool (nuisance,): the response is the odd one times |z|.
        modes: Names of the flux modes.
        hidden: Names of the hidden universes.
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
    hidden: tuple[str, ...]
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

    def position(self, hidden: str) -> int:
        """Return where a hidden universe stands on the term axis.

        Raises:
            UnknownNameError: there is no such hidden universe.
        """
        if hidden not in self.hidden:
            raise UnknownNameError("hidden universe", hidden, self.hidden)
        return self.terms + self.hidden.index(hidden)


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
    hidden: Sequence[str] = (),
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
        hidden: Names of universes of the design that are to be placed as if their values were unknown.
        centre: (nuisance,), expand around these values, to which every event's columns are taken by its own response
            (``emulated.around``); nominal when None.

    Raises:
        DataError: a column or mode has another shape or is not finite, a vertex is in two simulated samples, or there
            are no one-sigma universes.
        UnknownNameError: a hidden universe that the design does not hold.
    """
    terms = design.terms(recalibrate)
    if not terms:
        raise DataError("the design holds no one-sigma universe; the responses to the nuisances are not known.")
    for name in hidden:
        if name not in design.names:
            raise UnknownNameError("hidden universe", name, design.names)
    names, number = np.unique(np.asarray(sample).astype(str), return_inverse=True)
    own = np.ones(len(vertex)) if weight is None else np.asarray(weight, dtype=np.float64)
    tilt = np.stack([np.ones(len(vertex)), *(modes or {}).values()]) * own
    _check(columns, summaries.columns, design, vertex, number, names, tilt)
    places = [design.names.index(name) for name in hidden]
    middle = np.zeros(len(terms)) if centre is None else np.asarray(centre, dtype=np.float64)
    if middle.shape != (len(terms),) or not np.isfinite(middle).all():
        raise DataError(f"centre = {middle.tolist()}: one finite value for each of {len(terms)} nuisances is needed.")
    sums = _Sums(len(names), len(tilt), 1 + 2 * len(terms) + len(places), len(summaries.names), terms, middle)
    block = max(1, _BLOCK // (sums.total[0, 0].size + len(design.names) * len(summaries.names)))
    for c in range(len(names)):
        inside = np.flatnonzero(number == c)
        inside = inside[np.argsort(vertex[inside], kind="stable")]
        for events in _blocks(inside, vertex, block):
            used = {name: np.asarray(columns[name])[:, events] for name in summaries.columns}
            sums.add(c, used, summaries, design, places, vertex[events], tilt[:, events])
    return Library(
        summaries=summaries,
        samples=tuple(str(name) for name in names),
        nuisances=tuple(term.nuisance for term in terms),
        one_sided=np.array([term.one_sided for term in terms]),
        modes=tuple(modes or {}),
        hidden=tuple(hidden),
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
        hidden: Sequence[int],
        vertex: npt.NDArray[np.int64],
        tilt: Floats,
    ) -> None:
        """Add events of sample ``c``, sorted by vertex and no vertex cut in two; ``tilt`` is (1 + mode, event)."""
        near = around(columns, design, self.terms, self.centre)
        nominal = summaries.values(near.centre)
        expanded, squares = [nominal], [nominal**2]
        for term, up, down in zip(self.terms, near.plus, near.minus, strict=True):
            plus, minus = (np.stack([summaries.values(one) for one in side]) for side in (up, down))
            expanded += [(plus - minus).mean(axis=0) / 2.0, (plus + minus).mean(axis=0) / 2.0 - nominal]
            squares += [(plus**2 - minus**2).mean(axis=0) / 2.0, (plus**2 + minus**2).mean(axis=0) / 2.0 - nominal**2]
            self.odd[term.nuisance][:, c] += np.einsum("e,tej->tj", tilt[0], plus - minus) / 2.0
        hidden_values = [summaries.values({name: values[u] for name, values in columns.items()}) for u in hidden]
        stacked = np.stack(expanded + hidden_values, axis=1)
        self.total[c] += np.einsum("me,etj->mtj", tilt, stacked)
        self.spread[c, :, : len(squares)] += np.einsum("me,etj->mtj", tilt, np.stack(squares, axis=1))
        self.event_moment[c] += (nominal * tilt[0][:, None]).T @ nominal
        starts = np.flatnonzero(np.r_[True, vertex[1:] != vertex[:-1]])
        by_vertex = np.add.reduceat((stacked * tilt[0][:, None, None]).reshape(len(vertex), -1), starts, axis=0)
        self.moment[c] += (by_vertex.T @ by_vertex).reshape(self.moment[c].shape)


def _blocks(events: npt.NDArray[np.intp], vertex: npt.NDArray[np.int64], block: int) -> Iterator[npt.NDArray[np.intp]]:
    """Give events sorted by vertex in blocks of about ``block`` that do not cut a vertex in two."""
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
