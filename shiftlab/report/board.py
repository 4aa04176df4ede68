"""The leaderboard of finished runs, read from their folders: the arms of several runs ranked as those of one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from shiftlab.bias.basis import refuse_different
from shiftlab.bias.standing import LEADERBOARD_COLUMNS, ORDER, standings
from shiftlab.errors import DataError, RunError
from shiftlab.report.record import each, groups, table_path
from shiftlab.report.wording import interval

__all__ = ["board_lines", "leaderboard_of"]

_FROM_RUN: Final = [name for name in LEADERBOARD_COLUMNS if name.startswith(("rho", "pairs", "relative"))]
"""Columns that compare an arm with nothing outside of its own run."""

_TEXT: Final = ("flag", "relative_to", "relative_tasks")
"""Columns of text, also where every cell is empty."""

_CHAIN: Final = ("detector", "selection", "most_tokens")
"""Parts of a study's config that say what happens to an event before an arm sees it."""


def leaderboard_of(folders: Sequence[Path]) -> pd.DataFrame:
    """Return the leaderboard of the arms of all runs, the most robust first, with columns ``run`` and ``unit_of``.

    Of several runs the bootstrap replicas of all arms are put side by side, which share their event weights: scores and
    ranks are those that one run with all arms would have, in the unit of the first run. Correlation and the contrast
    at equal performance are those of each run. An arm that several runs have is called ``arm@run``.

    Args:
        folders: Folders of finished runs.

    Raises:
        RunError: a folder is not that of a finished run, or of one that wrote no tables for a leaderboard.
        DataError: runs differ in tasks, events, universes, nuisances, detector or bootstrap, or one is there twice.
    """
    runs = {name: _Run(name, folder) for name, folder in _named(folders).items()}
    first, *others = runs.values()
    for other in others:
        _refuse(first, other)
    every = [arm for run in runs.values() for arm in run.arms]
    parts, boards = [], []
    for run in runs.values():
        names = {arm: f"{arm}@{run.name}" if every.count(arm) > 1 else arm for arm in run.arms}
        parts.append(run.replicas.assign(arm=run.replicas["arm"].map(names)))
        own = run.board[run.board["recalibrate"] == "none"]
        boards.append(own[["arm", *_FROM_RUN]].assign(arm=own["arm"].map(names), run=run.name))
    table = standings(pd.concat(parts, ignore_index=True)).drop(columns=_FROM_RUN)
    table = table.merge(pd.concat(boards, ignore_index=True), on="arm", how="left", validate="one_to_one")
    return table.assign(unit_of=first.name)


def board_lines(table: pd.DataFrame) -> list[str]:
    """Return the leaderboard as lines of text: what it is ordered by, one line per arm, and what is not claimed."""
    several = table["run"].nunique() > 1
    head = [
        "rank",
        "arm",
        *(["run"] if several else []),
        "moves by [68%]",
        "worst",
        "lost performance",
        "mean rho (pairs)",
    ]
    rows = [head, *([str(cell) for cell in _cells(row, several)] for row in each(table))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = [
        f"Ordered by {ORDER}" + (f"; the unit is that of run {table['unit_of'].iloc[0]}." if several else "."),
        f"Tasks: {table['tasks'].iloc[0]}. Correlation stands apart and is not in the order.",
        "",
    ]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    flags = [f"{', '.join(part['arm'])}: {flag}" for (flag,), part in groups(table, ["flag"]) if flag]
    return [*lines, *(["", *flags] if flags else [])]


def _cells(row: Any, several: bool) -> Iterator[object]:
    yield f"{row.rank} [{row.rank_lo}-{row.rank_hi}]"
    yield row.arm
    if several:
        yield row.run
    yield interval(row.score, row.score_lo, row.score_hi, 3)
    yield interval(row.worst, row.worst_lo, row.worst_hi, 1)
    yield interval(row.loss, row.loss_lo, row.loss_hi, 3, sign=True)
    yield f"{interval(row.rho, row.rho_lo, row.rho_hi)} ({int(row.pairs)})"


class _Run:
    """Tables of one finished run."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.replicas = _table(folder, "robustness_replicas")
        self.board = _table(folder, "leaderboard")
        self.basis = _table(folder, "basis")
        self.nuisances = _table(folder, "nuisances")
        self.config = _config(folder / "identity.json")

    @property
    def arms(self) -> list[str]:
        """Names of the arms."""
        return [str(arm) for arm in dict.fromkeys(self.replicas["arm"])]


def _table(folder: Path, name: str) -> pd.DataFrame:
    path = folder / table_path(name)
    if not (folder / "report.json").is_file():
        raise RunError(f"{folder} holds no report.json: it is not the folder of a finished run.")
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except (FileNotFoundError, pd.errors.EmptyDataError):
        raise RunError(f"{path} is missing: the run wrote no tables for a leaderboard. Run the study again.") from None
    text = [name for name in _TEXT if name in table]
    return table.assign(**{name: table[name].astype(object).fillna("").astype(str) for name in text})


def _config(path: Path) -> Mapping[str, Any]:
    """Return the parts of the study's config that say what happens to an event; nothing where no config was kept."""
    if not path.is_file():
        return {}
    try:
        study = json.loads(path.read_text(encoding="utf-8"))["identity"]["study"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise RunError(f"{path} is not readable ({error!r}). Run the study again.") from error
    return {name: study.get(name) for name in _CHAIN}


def _named(folders: Sequence[Path]) -> dict[str, Path]:
    """Return a short name for each folder: its own, or its path where two have the same."""
    resolved = [folder.resolve() for folder in folders]
    twice = [str(folder) for folder in dict.fromkeys(resolved) if resolved.count(folder) > 1]
    if twice:
        raise DataError(f"run {twice[0]} is given twice.")
    short = [folder.name[:12] for folder in resolved]
    return {str(f) if short.count(s) > 1 else s: f for s, f in zip(short, resolved, strict=True)}


def _refuse(first: _Run, other: _Run) -> None:
    """Refuse runs whose events, universes or detector differ, naming what differs."""
    refuse_different(first.name, first.basis, other.name, other.basis)
    differ = _nuisances(first, other)
    if first.config and other.config:
        ours, theirs = dict(_flat(first.config)), dict(_flat(other.config))
        differ += [
            f"{key} is {ours.get(key, 'not set')} in {first.name}, {theirs.get(key, 'not set')} in {other.name}"
            for key in dict.fromkeys([*ours, *theirs])
            if ours.get(key) != theirs.get(key)
        ]
    if differ:
        more = f"; and {len(differ) - 3} more" if len(differ) > 3 else ""
        raise DataError(f"{first.name} and {other.name} cannot be ranked together: {'; '.join(differ[:3])}{more}.")


def _nuisances(first: _Run, other: _Run) -> list[str]:
    """Say of which nuisances the one-sigma values differ: universes of one name would be different detectors."""
    columns = ["nominal", "minus_1sigma", "plus_1sigma"]
    ours, theirs = (run.nuisances.set_index("name")[columns] for run in (first, other))
    shared = [name for name in ours.index if name in theirs.index]
    return [
        f"nuisance '{name}' has nominal, -1 and +1 sigma {ours.loc[name].tolist()} in {first.name}, "
        f"{theirs.loc[name].tolist()} in {other.name}"
        for name in shared
        if not np.allclose(
            ours.loc[name].to_numpy(np.float64), theirs.loc[name].to_numpy(np.float64), rtol=1e-8, equal_nan=True
        )
    ]


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
