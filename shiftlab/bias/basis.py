"""What a leaderboard rests on: the events, universes and bootstrap that runs must share to be ranked together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from shiftlab.bias.design import Design
from shiftlab.bias.sample import Sample
from shiftlab.bias.statistic import Statistic
from shiftlab.errors import DataError

__all__ = ["basis_table", "refuse_different"]

_WORDS = {
    "task": "statistic, number of events",
    "events": "digest of the evaluated events with vertex, weight and truth",
    "universe": "nuisances in sigma, throw, recalibration",
    "bootstrap": "replicas and seed",
}


def basis_table(
    samples: Mapping[str, Sample], statistics: Mapping[str, Statistic], design: Design, *, replicas: int, seed: int
) -> pd.DataFrame:
    """Return rows (what, name, value): each task and its events, each universe, and the bootstrap."""
    rows: list[tuple[str, str, str]] = []
    for task, sample in samples.items():
        rows.append(("task", task, f"{statistics[task].statistic}, {len(sample.key)} events"))
        digest = hashlib.sha256()
        order = np.argsort(sample.key)
        for column in (sample.key, sample.vertex, sample.weight, sample.truth):
            digest.update(np.ascontiguousarray(column[order]).tobytes())
        rows.append(("events", task, digest.hexdigest()[:16]))
    rows += _universes(design)
    rows.append(("bootstrap", "bootstrap", f"{replicas} replicas, seed {seed}"))
    return pd.DataFrame(rows, columns=["what", "name", "value"])


def _universes(design: Design) -> Iterator[tuple[str, str, str]]:
    for number, name in enumerate(design.names):
        if design.group[number] in ("nominal", "unisim"):
            values = [f"{n}={v:g}" for n, v in zip(design.nuisances, design.value[number], strict=True) if v]
            where = f"throw {design.throw[number]}, recalibrate {design.recalibrate[number]}"
            yield "universe", name, ", ".join([*values, where])


def refuse_different(first: str, one: pd.DataFrame, second: str, other: pd.DataFrame) -> None:
    """Refuse two runs whose arms cannot be ranked together, naming the first differences of each kind.

    Args:
        first: Name of the first run.
        one: Its ``basis_table``.
        second: Name of the other.
        other: Its ``basis_table``.

    Raises:
        DataError: tasks, events, one-nuisance universes, or the bootstrap differ.
    """
    left, right = (table.set_index(["what", "name"])["value"].astype(str) for table in (one, other))
    found = []
    for what, words in _WORDS.items():
        here, there = (_of(values, what) for values in (left, right))
        alone = [(first, [n for n in here if n not in there]), (second, [n for n in there if n not in here])]
        found += [f"{what} {_some(names)} only in {run}" for run, names in alone if names]
        for name in [n for n in here if n in there and here[n] != there[n]][:1]:
            found.append(f"{what} '{name}' ({words}) is '{here[name]}' in {first}, '{there[name]}' in {second}")
    if found:
        raise DataError(f"{first} and {second} cannot be ranked together: {'; '.join(found)}.")


def _of(values: pd.Series[str], what: str) -> dict[str, str]:
    chosen = values[values.index.get_level_values(0) == what].droplevel(0)
    return dict(zip(map(str, chosen.index), chosen, strict=True))


def _some(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
