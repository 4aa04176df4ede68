"""The sub-command ``shiftlab validate statistics``: do the intervals cover, measured on synthetic responses."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shiftlab.errors import ConfigError, DataError

if TYPE_CHECKING:
    from shiftlab.bias.proof.coverage import Cell, Proof

__all__ = ["add"]

_DESCRIPTION = """\
Measure bias and coverage of the estimators of the bias on synthetic responses whose truth is known. One line for each
kind of response and estimator: the largest bias in standard deviations of the estimate, the share of 68% and 95%
intervals that hold the truth, and a verdict. An estimator covers when the shares are within 3 binomial errors of what
is claimed (4.5 with fewer than 200 pseudo-experiments); conservative is one that says why it covers more, short one
that says why and how far it covers less. Exits with 1 when an estimator does neither, or when the mean over all that
claim exact coverage is off by more than 1% (3 of its errors where that is more)."""

_SHORT = 100


def add(what: Any, common: argparse.ArgumentParser) -> None:
    """Add the sub-command to the parser."""
    parser = what.add_parser(
        "statistics", parents=[common], help="bias and coverage of the estimators", description=_DESCRIPTION
    )
    parser.add_argument(
        "--experiments",
        type=int,
        metavar="N",
        help=f"pseudo-experiments of each case ({_SHORT}, a minute; 2000 for 1%% errors, half an hour)",
    )
    parser.add_argument("--seed", type=int, help="seed of all draws (0)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write every number")
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="draw coverage less what is claimed (png, svg, pdf)"
    )
    parser.add_argument("--read", type=Path, metavar="FILE", help="measure nothing, read what --csv wrote")
    parser.add_argument("--markdown", action="store_true", help="print one row per estimator, as the documentation has")
    parser.set_defaults(action=_statistics)


def _statistics(given: argparse.Namespace) -> int:
    """Print the table of coverage; 1 when an estimator is not to be believed."""
    for option, file in (("--csv", given.csv), ("--figure", given.figure)):
        if file is not None and not file.parent.is_dir():
            raise DataError(f"{option} {file}: no such folder {file.parent}.")
    proof = _proof(given)
    for line in _markdown(proof) if given.markdown else _table(proof):
        print(line)
    if given.csv is not None:
        from shiftlab.bias.proof.table import proof_table

        proof_table(proof).to_csv(given.csv, index=False, lineterminator="\n")
    if given.figure is not None:
        from shiftlab.report.coverage_figure import coverage_figure
        from shiftlab.report.show import write

        write(coverage_figure(proof), given.figure)
    return int(not proof.believed)


def _proof(given: argparse.Namespace) -> Proof:
    if given.read is not None:
        if given.experiments is not None or given.seed is not None:
            raise ConfigError("--read takes the numbers of an earlier run; leave out --experiments and --seed.")
        from shiftlab.bias.proof.table import read_proof

        return read_proof(given.read)
    from shiftlab.bias.proof import coverage

    return coverage.prove(_SHORT if given.experiments is None else given.experiments, given.seed or 0)


def _table(proof: Proof) -> list[str]:
    """Return the lines of the table, the mean, and what is stated about estimators."""
    width = [max(len(getattr(cell, name)) for cell in proof.cells) for name in ("case", "estimator")]
    names = f"{'case'.ljust(width[0])}  {'estimator'.ljust(width[1])}"
    head = f"{names}  {'bias / sd'.ljust(13)}  {'68%'.ljust(14)}  {'95%'.ljust(14)}  verdict"
    lines = [head, *(_row(cell, width) for cell in proof.cells)]
    mean = proof.mean
    parts = (f"{share:.3f} +- {error:.3f}" for share, error in zip(mean.coverage, mean.error, strict=True))
    verdict = "as claimed" if mean.believed else "NOT AS CLAIMED"
    lines.append("")
    lines.append(f"mean over the {mean.cells} cells that claim exact coverage: {' and '.join(parts)}, {verdict}")
    number = proof.cells[0].experiments
    lines.append(f"{number} pseudo-experiments of each case; binomial errors of the claimed coverage")
    lines.append(_summary(proof))
    reasons = {cell.estimator: cell.reason for cell in proof.cells if cell.reason}
    return lines + [f"{name}: {reason}" for name, reason in reasons.items()]


def _markdown(proof: Proof) -> list[str]:
    """Return one row per estimator: the lowest and highest coverage over the kinds of response, and the verdicts."""
    lines = [
        "| estimator | kinds of response | 68% intervals cover | 95% intervals cover | verdict |",
        "|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(cell.estimator for cell in proof.cells):
        cells = [cell for cell in proof.cells if cell.estimator == name]
        shown = [cell for cell in cells if cell.verdict not in ("exact", "no interval", "NEVER QUOTED")]
        spans = ["–" if not shown else _span([cell.coverage[place] for cell in shown]) for place in range(2)]
        verdicts = [cell.verdict for cell in cells]
        counts = [f"{one} {verdicts.count(one)}" for one in sorted(set(verdicts), key=verdicts.index)]
        escaped = name.replace("|", "\\|")
        lines.append(f"| {escaped} | {len(cells)} | {spans[0]} | {spans[1]} | {', '.join(counts)} |")
    return lines


def _span(shares: list[float]) -> str:
    low, high = f"{min(shares):.3f}", f"{max(shares):.3f}"
    return low if low == high else f"{low} to {high}"


def _summary(proof: Proof) -> str:
    verdicts = [cell.verdict for cell in proof.cells]
    counts = ", ".join(f"{verdicts.count(one)} {one}" for one in sorted(set(verdicts), key=verdicts.index))
    return f"{len(verdicts)} cells: {counts}"


def _row(cell: Cell, width: list[int]) -> str:
    bias = f"{cell.bias:+.2f} +- {cell.bias_error:.2f}"
    shares = (f"{share:.3f} +- {error:.3f}" for share, error in zip(cell.coverage, cell.error, strict=True))
    verdict = cell.verdict + (f", {cell.unquoted:.0%} not quoted" if cell.unquoted and cell.coverage[0] >= 0.0 else "")
    return f"{cell.case.ljust(width[0])}  {cell.estimator.ljust(width[1])}  {bias}  {'  '.join(shares)}  {verdict}"
