"""The sub-command that places an unlabelled sample among the universes of a run: ``shiftlab place``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shiftlab.errors import ConfigError

__all__ = ["add"]

_DESCRIPTION = """\
Find the most likely universe of a sample without labels, among those that a finished run has simulated: nuisance
values with 68%% intervals, a goodness of fit, the bias that each task is then expected to have, and which nuisances
cannot be told apart. Looked at are the observables of the tasks alone. The composition of the sample and the shape of
its energy spectrum float beside the detector. FILE is a store of responses of the same arms to other events
(responses.h5; its nominal universe, or that of --universe), or images or tokens as a detector recorded them
(`shiftlab record`), on which the run's arms are run here. --universe NAME alone hides a universe of the run: half of
the events are placed among the other half. Written are placement.json, placement.csv, placement_biases.csv,
placement_power.csv and placement.svg, into RUN/placement/NAME."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the sub-command to the parser."""
    place = commands.add_parser(
        "place", parents=[common], help="where is the data among the universes of a run?", description=_DESCRIPTION
    )
    place.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    place.add_argument("--sample", type=Path, metavar="FILE", help="what is placed")
    place.add_argument("--universe", default="", metavar="NAME", help="a hidden universe, of the run or of FILE")
    place.add_argument("--arms", nargs="+", metavar="ARM", help="whose observables are looked at (all)")
    place.add_argument("--tasks", nargs="+", metavar="TASK", help="which observables are looked at (all)")
    place.add_argument(
        "--exposure",
        nargs="+",
        default=[],
        metavar="SAMPLE=EVENTS",
        help="expected proportions of the simulated samples (FILE: those of the run)",
    )
    place.add_argument("--composition", type=float, default=0.2, metavar="WIDTH", help="prior on each of them (0.2)")
    place.add_argument("--known-flux", action="store_true", help="the shape of the energy spectrum does not float")
    place.add_argument("--checkpoints", type=Path, metavar="DIR", help="the run's arms, where they are not found")
    place.add_argument("--plugins", nargs="+", default=[], metavar="FILE", help="loose Python files that the run used")
    place.add_argument("--level", type=float, default=0.01, help="p-value below which the catalogue is rejected (0.01)")
    place.add_argument("--toys", type=int, default=500, help="toys behind the p-value (500; 0: the chi2 law)")
    place.add_argument("--seed", type=int, default=1, help="of halves, toys and draws (1)")
    place.add_argument("--out", type=Path, metavar="DIR", help="where the answer goes")
    place.set_defaults(action=_place)


def _place(given: argparse.Namespace) -> int:
    """Place, and print the answer."""
    exposure = _exposure(given.exposure)
    from shiftlab.config import locate
    from shiftlab.plugins import load_plugins
    from shiftlab.run.placing import Placing, place_run

    load_plugins(given.plugins)
    placing = Placing(
        universe=given.universe,
        sample=given.sample,
        arms=tuple(given.arms) if given.arms else None,
        tasks=tuple(given.tasks) if given.tasks else None,
        exposure=exposure,
        composition=given.composition,
        flux=not given.known_flux,
        checkpoints=given.checkpoints,
        shipped=locate("studies/checkpoints"),
        level=given.level,
        toys=given.toys,
        seed=given.seed,
        out=given.out,
    )
    record, out = place_run(given.run, placing)
    for line in record.lines:
        print(line)
    print(out)
    return 0


def _exposure(words: Sequence[str]) -> dict[str, float]:
    found = {}
    for word in words:
        name, _, number = word.partition("=")
        try:
            found[name] = float(number)
        except ValueError as error:
            raise ConfigError(f"--exposure {word}: SAMPLE=EVENTS is wanted, say numu_cc=300.") from error
    return found
