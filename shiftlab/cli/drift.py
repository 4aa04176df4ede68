"""The sub-command that looks inside the networks of a finished run: ``shiftlab drift``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add"]

_DESCRIPTION = """\
Measure how far each universe of a finished run moves the features of its networks, whether that tells of the biases,
and how much of the biases follows from the features that all tasks share. Written to RUN: features.nc, csv/drift.csv,
csv/drift_harm.csv, csv/mechanism.csv, csv/mechanism_points.csv, and the report once more. The words that departed from
the study when it was run are given again; a study that is not that of the run is refused."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the sub-command to the parser."""
    drift = commands.add_parser(
        "drift", parents=[common], help="how far shifts move the features of a finished run", description=_DESCRIPTION
    )
    drift.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    drift.add_argument(
        "words",
        nargs="*",
        metavar="KEY=VALUE",
        help="drift.events=256 drift.arms=[foundation,scratch] drift.trees=last, all or none; words of the run",
    )
    drift.set_defaults(action=_drift)


def _drift(given: argparse.Namespace) -> int:
    """Compose the study of the run, measure, and print where the report is."""
    from shiftlab.config import compose_study
    from shiftlab.run.drift import drift_of_run, recorded_study

    words = list(given.words)
    study = recorded_study(given.run)["study"]
    if not any(word.startswith("study=") for word in words):
        words.append(f"study={study['name']}")
    print(drift_of_run(compose_study(words).study, given.run))
    return 0
