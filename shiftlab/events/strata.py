"""Vertices of some files, each with its stratum, and their division into parts by keyed order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import ConfigError, UnknownNameError
from shiftlab.events.deposits import EventTable
from shiftlab.events.keys import identity

__all__ = ["Strata", "assign"]

_MOST_VALUES = 256
"""A column with more values is no label but a quantity; each stratum would hold a vertex or two."""


@dataclass
class Strata:
    """Collects the vertices of event tables; only a uid and a stratum's number stay in memory for each event.

    Attributes:
        columns: What the strata are made of: ``sample``, or names of truth columns.
    """

    columns: tuple[str, ...]
    _codes: dict[str, int] = field(default_factory=dict)
    _values: dict[str, set[str]] = field(default_factory=dict)
    _seen: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, table: EventTable, where: str) -> None:
        """Take the vertices of a table.

        Raises:
            UnknownNameError: there is no such column.
            ConfigError: a column has too many values to be a label.
        """
        labels = self._labels(table, where)
        codes = [self._codes.setdefault(label, len(self._codes)) for label in labels]
        pairs = np.column_stack([table.vertex.cpu().numpy(), np.array(codes, dtype=np.int64)])
        self._seen.append(np.unique(pairs, axis=0))

    def result(self) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
        """Return the vertices, their strata and the strata's names, all of them sorted.

        A vertex whose events are of several strata, say two samples, is of a stratum of its own
        kind, whose name joins theirs by `` + ``.

        Returns:
            int64 (vertex,) uids, ascending; int64 (vertex,) stratum of each; (stratum,) names.
        """
        pairs = np.unique(np.concatenate([*self._seen, np.zeros((0, 2), dtype=np.int64)]), axis=0)
        vertex, first, count = np.unique(pairs[:, 0], return_index=True, return_counts=True)
        label = list(self._codes)
        code = pairs[first, 1].copy()
        joint: dict[str, int] = dict(self._codes)
        for i in np.flatnonzero(count > 1):
            own = sorted(label[number] for number in pairs[first[i] : first[i] + count[i], 1])
            code[i] = joint.setdefault(" + ".join(own), len(joint))
        # Numbers follow the order of the files; names do not.
        used = set(np.unique(code).tolist())
        names = tuple(sorted(name for name, number in joint.items() if number in used))
        number = np.full(len(joint), -1, dtype=np.int64)
        for place, name in enumerate(names):
            number[joint[name]] = place
        return vertex, number[code], names

    def _labels(self, table: EventTable, where: str) -> list[str]:
        if not self.columns:
            return ["all"] * len(table)
        known = ("sample", *sorted(table.truth))
        parts: list[list[str]] = []
        for name in self.columns:
            if name not in known:
                raise UnknownNameError(f"column of {where} to stratify by", name, known)
            values = list(table.sample) if name == "sample" else _written(name, table)
            different = self._values.setdefault(name, set())
            different.update(values)
            if len(different) > _MOST_VALUES:
                raise ConfigError(
                    f"stratify: '{name}' has more than {_MOST_VALUES} values in {where}; "
                    "strata are made of labels, such as sample or neutrino_pdg, not of quantities."
                )
            parts.append(values)
        return [", ".join(values) for values in zip(*parts, strict=True)]


def _written(name: str, table: EventTable) -> list[str]:
    return [f"{name}={value + 0.0:.17g}" for value in table.truth[name].tolist()]


def assign(
    vertex: NDArray[np.int64],
    stratum: NDArray[np.int64],
    names: Sequence[str],
    fractions: Mapping[str, float],
    seed: int,
) -> NDArray[np.int64]:
    """Return int64 (vertex,): the part of each vertex, a place in ``fractions``.

    In each stratum the vertices are put in an order that the seed and their uids fix, and cut at
    the cumulated fractions, moved by one keyed offset in [0, 1) (systematic sampling). A part so
    has its fraction of each stratum to within one vertex, and on average exactly, however small
    the strata are. A stratum's parts do not depend on any other stratum.

    Args:
        vertex: int64 (vertex,), unique.
        stratum: int64 (vertex,), a place in ``names``.
        names: Name of each stratum.
        fractions: Share of each part; they sum to 1.
        seed: Whole number.
    """
    key = np.uint64(identity("split", seed) % 2**64)
    order = np.lexsort((_mixed(vertex.astype(np.uint64) ^ key), stratum))
    ends = np.cumsum(list(fractions.values()))
    ends[-1] = 1.0
    part = np.empty(len(vertex), dtype=np.int64)
    starts = np.searchsorted(stratum[order], np.arange(len(names) + 1))
    for i, name in enumerate(names):
        rows = order[starts[i] : starts[i + 1]]
        offset = (identity("split", seed, name) % 2**53) / 2.0**53
        cuts = np.floor(ends * len(rows) + offset).astype(np.int64)
        cuts[-1] = len(rows)
        part[rows] = np.searchsorted(cuts, np.arange(len(rows)), side="right")
    return part


def _mixed(number: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return uint64 numbers in disorder, no two alike: the finaliser of SplitMix64.

    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014; it is one to one.
    """
    mixed = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), dtype=np.uint64)
