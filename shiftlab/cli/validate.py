"""The sub-commands that check us: ``shiftlab validate physics`` and ``shiftlab validate statistics``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shiftlab.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from shiftlab.bias.proof.coverage import Cell, Proof
    from shiftlab.detector.oracle import Difference, Oracle

    Table = Mapping[str, npt.NDArray[np.str_]]

__all__ = ["add"]

_DESCRIPTION = """\
Compare the formulas of the catalogue with every table (*.csv) of a folder whose header they know. Lines that begin
with # are comments. One line a table: the worst difference as a multiple of what is allowed. Exits with 1 when a table
is missed."""

_STATISTICS = """\
Measure bias and coverage of the estimators of the bias on synthetic responses whose truth is known. One line for each
kind of response and estimator: the largest bias in standard deviations of the estimate, the share of 68% and 95%
intervals that hold the truth, and a verdict. An estimator covers when the shares are within 3 binomial errors of what
is claimed; conservative is one that says why it covers more. Exits with 1 when an estimator does neither, or when the
mean over all that claim exact coverage is off by more than 1% (3 of its errors where that is more)."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the sub-command to the parser."""
    validate = commands.add_parser(
        "validate", help="check formulas against independent codes, and estimators by coverage"
    )
    what = validate.add_subparsers(required=True, metavar="WHAT")
    physics = what.add_parser(
        "physics", parents=[common], help="tables of physics and statistics", description=_DESCRIPTION
    )
    physics.add_argument("--oracles", type=Path, required=True, metavar="DIR", help="folder of tables")
    physics.add_argument("--json", action="store_true", help="every column as JSON")
    physics.set_defaults(action=_physics)
    statistics = what.add_parser(
        "statistics", parents=[common], help="bias and coverage of the estimators", description=_STATISTICS
    )
    statistics.add_argument(
        "--pseudo",
        type=int,
        default=200,
        metavar="N",
        help="pseudo-experiments of each case (200; 2000 for 1%% errors)",
    )
    statistics.add_argument("--seed", type=int, default=0, help="seed of all draws (0)")
    statistics.add_argument("--json", type=Path, metavar="FILE", help="write every number as JSON")
    statistics.set_defaults(action=_statistics)


def _physics(given: argparse.Namespace) -> int:
    """Compare every table; 1 when one is missed."""
    folder: Path = given.oracles
    if not folder.is_dir():
        raise DataError(f"--oracles {folder}: no such folder; a folder of tables (*.csv) is wanted.")
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise DataError(f"--oracles {folder}: no table (*.csv) lies there.")
    results = {file.name: _compare(file) for file in files}
    if given.json:
        print(json.dumps({name: _plain(found) for name, found in results.items()}, indent=1))
    else:
        width = max(len(name) for name in results)
        for name, found in results.items():
            print(f"{name.ljust(width)}  {_line(found)}")
    return int(any(isinstance(found, list) and not all(one.met for one in found) for found in results.values()))


def _compare(file: Path) -> list[Difference] | str:
    """Return how each column compares, or why the table says nothing about our formulas."""
    table = _read(file)
    oracles = [kind for kind in _oracles() if {*kind.inputs, *kind.expected} <= table.keys()]
    if not oracles:
        return _listed(table)
    # Two formulas may know the columns of a wide table; the one that asks for most is meant.
    best = max(len({*kind.inputs, *kind.expected}) for kind in oracles)
    chosen = [kind for kind in oracles if len({*kind.inputs, *kind.expected}) == best]
    try:
        return [difference for kind in chosen for difference in kind().compare(table)]
    except (ValueError, KeyError) as error:
        raise DataError(f"{file}: a row cannot be read: {error}.") from error


def _listed(table: Table) -> str:
    """Say what a table without numbers of ours is: a list of shifts by ``id``, or one that no formula knows."""
    if "id" not in table:
        return "no formula knows these columns: " + ", ".join(table)
    from shiftlab.detector import effects

    covered = {one for kind in effects() for one in kind.catalogue}
    names = list(dict.fromkeys(str(one) for one in table["id"]))
    lacking = [name for name in names if name not in covered]
    without = f"; without: {' '.join(lacking)}" if lacking else ""
    return f"a list of {len(names)} shifts, {len(names) - len(lacking)} of which have an effect{without}"


def _oracles() -> Sequence[type[Oracle]]:
    from shiftlab.detector.oracle import ORACLES
    from shiftlab.templates.oracles import STATISTICAL_ORACLES

    return (*ORACLES, *STATISTICAL_ORACLES)


def _read(file: Path) -> Table:
    """Return the columns of a table as text."""
    import csv

    import numpy as np

    try:
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}.") from error
    rows = list(csv.reader(lines))
    if not rows:
        raise DataError(f"{file}: no header line.")
    header, *body = rows
    for number, row in enumerate(body):
        if len(row) != len(header):
            raise DataError(f"{file}: row {number} has {len(row)} cells; the header has {len(header)}.")
    return {name: np.array([row[i] for row in body], dtype=np.str_) for i, name in enumerate(header)}


def _line(found: list[Difference] | str) -> str:
    if isinstance(found, str):
        return f"not compared: {found}"
    worst = max(found, key=lambda one: one.worst)
    rows = max(one.rows for one in found)
    columns = ", ".join(one.column for one in found)
    if all(one.met for one in found):
        return f"met: {rows} rows of {columns}; worst {worst.worst:.2g} of what is allowed"
    if not worst.rows:
        return f"MISSED: {worst.column} has no row to compare"
    return (
        f"MISSED: {worst.column}, row {worst.row}: {worst.ours:.10g}, expected {worst.expected:.10g}, "
        f"{worst.worst:.3g} times what is allowed"
    )


def _plain(found: list[Difference] | str) -> Any:
    from dataclasses import asdict

    return found if isinstance(found, str) else [{**asdict(one), "met": one.met} for one in found]


def _statistics(given: argparse.Namespace) -> int:
    """Print the table of coverage; 1 when an estimator is not to be believed."""
    from shiftlab.bias.proof.coverage import prove

    file: Path | None = given.json
    if file is not None and not file.parent.is_dir():
        raise DataError(f"--json {file}: no such folder {file.parent}.")
    proof = prove(given.pseudo, given.seed)
    if file is not None:
        file.write_text(json.dumps(_record(proof, given.seed), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    for line in _table(proof):
        print(line)
    return int(not proof.believed)


def _record(proof: Proof, seed: int) -> Any:
    """Return the proof as JSON takes it: what is not quoted or not finite is null."""
    from dataclasses import asdict
    from math import isfinite

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(one) for name, one in value.items()}
        if isinstance(value, tuple | list):
            return [plain(one) for one in value]
        return None if isinstance(value, float) and not isfinite(value) else value

    from shiftlab.bias.proof.coverage import LEVELS

    cells = [{**asdict(cell), "believed": cell.believed} for cell in proof.cells]
    mean = {**asdict(proof.mean), "believed": proof.mean.believed}
    return plain({"seed": seed, "levels": LEVELS, "cells": cells, "mean": mean, "believed": proof.believed})


def _table(proof: Proof) -> list[str]:
    """Return the lines of the table, the mean, and why estimators are conservative or biased."""
    width = [max(len(getattr(cell, name)) for cell in proof.cells) for name in ("case", "estimator")]
    names = f"{'case'.ljust(width[0])}  {'estimator'.ljust(width[1])}"
    head = f"{names}  {'bias / sd'.ljust(13)}  {'68%'.ljust(14)}  {'95%'.ljust(14)}  verdict"
    lines = [head, *(_row(cell, width) for cell in proof.cells)]
    mean = proof.mean
    parts = (f"{share:.3f} +- {error:.3f}" for share, error in zip(mean.coverage, mean.error, strict=True))
    verdict = "as claimed" if mean.believed else "NOT AS CLAIMED"
    lines.append(f"mean over the {mean.cells} cells that claim exact coverage: {' and '.join(parts)}, {verdict}")
    lines.append(f"{proof.cells[0].pseudo} pseudo-experiments of each case; binomial errors of the claimed coverage")
    reasons = {cell.estimator: cell.reason for cell in proof.cells if cell.reason}
    return lines + [f"{name}: {reason}" for name, reason in reasons.items()]


def _row(cell: Cell, width: list[int]) -> str:
    bias = f"{cell.bias:+.2f} +- {cell.bias_error:.2f}"
    shares = (f"{share:.3f} +- {error:.3f}" for share, error in zip(cell.coverage, cell.error, strict=True))
    verdict = cell.verdict + (f", {cell.unquoted:.0%} not quoted" if cell.unquoted else "")
    return f"{cell.case.ljust(width[0])}  {cell.estimator.ljust(width[1])}  {bias}  {'  '.join(shares)}  {verdict}"
