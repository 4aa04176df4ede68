"""The sub-commands that check us: ``shiftlab validate physics`` and ``shiftlab validate statistics``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shiftlab.cli import validate_statistics
from shiftlab.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from shiftlab.detector.oracle import Difference, Oracle

    Table = Mapping[str, npt.NDArray[np.str_]]

__all__ = ["add"]

_DESCRIPTION = """\
Compare the formulas of the catalogue with every table (*.csv) of a folder whose header they know. Lines that begin
with # are comments. One line a table: the worst difference as a multiple of what is allowed. Exits with 1 when a table
is missed."""


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
    validate_statistics.add(what, common)


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
