"""The coverage of all cells as a table on disk, and read from there."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pandas as pd

from shiftlab.bias.proof.coverage import Cell, Mean, Proof
from shiftlab.errors import DataError

__all__ = ["COLUMNS", "proof_table", "read_proof"]

COLUMNS: Final = (
    *("case", "estimator", "experiments", "bias", "bias_error", "coverage_68", "error_68", "coverage_95", "error_95"),
    *("worst_68", "worst_95", "not_quoted", "verdict", "stated"),
)
"""One row per cell, see ``coverage.Cell``; the last row is the mean, with the number of its cells as estimator."""

_ALL: Final = "all cases"
_DIGITS: Final = 4


def proof_table(proof: Proof) -> pd.DataFrame:
    """Return one row per cell and the mean of the cells that claim exact coverage, with ``COLUMNS``."""
    rows: list[tuple[object, ...]] = []
    for cell in proof.cells:
        shares = (cell.coverage[0], cell.error[0], cell.coverage[1], cell.error[1], *cell.worst, cell.unquoted)
        head = (cell.case, cell.estimator, cell.experiments, cell.bias, cell.bias_error)
        rows.append((*head, *shares, cell.verdict, cell.reason))
    mean, none = proof.mean, float("nan")
    shares = (mean.coverage[0], mean.error[0], mean.coverage[1], mean.error[1], none, none, none)
    name = f"mean of {mean.cells} cells"
    verdict = "as claimed" if mean.believed else "NOT AS CLAIMED"
    rows.append((_ALL, name, proof.cells[0].experiments, none, none, *shares, verdict, ""))
    return pd.DataFrame(rows, columns=list(COLUMNS)).round(_DIGITS)


def read_proof(file: Path) -> Proof:
    """Return what ``proof_table`` was written from.

    Raises:
        DataError: the file is not such a table.
    """
    try:
        table = pd.read_csv(file, keep_default_na=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as a table of coverage: {error}.") from error
    if tuple(table.columns) != COLUMNS or len(table) < 2 or table["case"].iloc[-1] != _ALL:
        raise DataError(
            f"{file} is not a table of `shiftlab validate statistics --csv`: wanted are the columns "
            f"{', '.join(COLUMNS)} and a last row of '{_ALL}'."
        )
    table["stated"] = table["stated"].fillna("")
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in table.itertuples(index=False)]
    cells = tuple(
        Cell(
            case=row["case"],
            estimator=row["estimator"],
            experiments=int(row["experiments"]),
            bias=row["bias"],
            bias_error=row["bias_error"],
            coverage=(row["coverage_68"], row["coverage_95"]),
            error=(row["error_68"], row["error_95"]),
            worst=(row["worst_68"], row["worst_95"]),
            unquoted=row["not_quoted"],
            verdict=row["verdict"],
            reason=row["stated"],
        )
        for row in rows[:-1]
    )
    last = rows[-1]
    number = int(str(last["estimator"]).split()[2])
    mean = Mean((last["coverage_68"], last["coverage_95"]), (last["error_68"], last["error_95"]), number)
    return Proof(cells, mean)
