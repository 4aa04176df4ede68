"""The sub-command that emulates universes of a finished run: ``shiftlab emulate``."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["add"]

GRADIENTS: Final = "csv/gradients.csv compares them with the finite ones"

_DESCRIPTION = """\
Emulate joint universes from the responses of a finished run to single nuisances, without a pass of any network.
Printed first is the closure: how far emulated universes are from the joint universes that the run simulated. A task
that does not close within emulation.limit is refused. Written to RUN/emulated (out=FOLDER): responses.h5, in which
every such universe is marked as emulated, the tables of its biases, and csv/emulation.csv, the closure. With
gradients=true responses of networks are also found by automatic differentiation, and used where their mean is within
10% of that of the finite responses; csv/gradients.csv says where."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the sub-command to the parser."""
    emulate = commands.add_parser(
        "emulate", parents=[common], help="emulate universes of a finished run", description=_DESCRIPTION
    )
    emulate.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    emulate.add_argument(
        "words",
        nargs="*",
        metavar="KEY=VALUE",
        help="universes=multisim universes.joint=1000 universes.only=[gain_scale,lifetime_tau]; emulation=auto, "
        "interpolated or quadratic, emulation.limit=0.15 and the other keys of emulation; tasks=[energy] seed=2 "
        "replicas=200 out=FOLDER plugins=[FILE]; gradients=true evaluation=FILE checkpoints=FOLDER",
    )
    emulate.set_defaults(action=_emulate)


def _emulate(given: argparse.Namespace) -> int:
    """Measure the closure, print it, and write what closes."""
    from shiftlab.config import compose_emulation

    plan = compose_emulation(given.words)
    from shiftlab.run import emulate_run

    done = emulate_run(given.run, plan, tell=_tell, progress=sys.stderr.isatty())
    if plan.gradients:
        print(f"{done.derivatives} of {done.compared} responses by automatic differentiation: {GRADIENTS}")
    print(f"{done.path}: {done.universes} emulated universes")
    return 0


def _tell(table: pd.DataFrame) -> None:
    """Print one line per arm, seed and task."""
    columns = ["arm", "seed", "task", "joint", "noise", "alone", "in universe", "closes"]
    rows = [
        [
            row["arm"],
            str(row["seed"]),
            row["task"],
            *(_percent(row[name]) for name in ("joint", "noise", "alone")),
            row["universe"] or "-",
            _verdict(row),
        ]
        for row in table.to_dict(orient="records")
    ]
    widths = [max(len(line[i]) for line in [columns, *rows]) for i in range(len(columns))]
    print("closure: emulated minus direct statistic over its shift, and what event noise alone gives")
    for line in [columns, *rows]:
        print("  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip())


def _verdict(row: Mapping[Any, Any]) -> str:
    """Return whether a task closes, and whether its events could tell."""
    if row["closes"]:
        return f"within {row['limit']:.0%}"
    return "not shown: too few events" if row["limit"] < row["joint"] < 2.0 * row["noise"] else "no"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}" if math.isfinite(value) else "inf"
