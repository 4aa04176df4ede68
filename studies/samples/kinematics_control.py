"""The control of the composed samples as a table: ``python -m studies.samples.kinematics_control``."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import shiftlab
from shiftlab.errors import ShiftlabError
from shiftlab.events.simulation.composition import Composition, compose_batch
from shiftlab.events.simulation.control import Score, kinematic_features, kinematics_control
from shiftlab.events.simulation.recipe import Recipe
from shiftlab.events.simulation.truth import TOPOLOGY_CLASSES

__all__ = ["argon", "carbon", "main", "shifts"]

_NUMU = ("numu_cc_0pi", "numu_cc_1pi", "numu_cc_npi", "numu_cc_1pi0")
_ELECTRONS = ("nue_cc_0pi", "photon_0pi")
_SEED = 1

Tables = dict[str, NDArray[np.float64]]


def _recipe(configs: Path, name: str) -> Recipe:
    yaml = importlib.import_module("yaml")  # comes with hydra-core, without types
    root = Path(__file__).resolve().parents[2]
    given = yaml.safe_load((configs / f"{name}.yaml").read_text(encoding="utf-8"))
    return Recipe.from_config(given["events"], lambda text: root / text)


def _by_kind(recipe: Recipe, kinds: tuple[str, ...], count: int) -> Tables:
    """Return the features of ``count`` events of each kind, their other numbers as in the recipe."""
    even = replace(recipe, kinds={kind: 1.0 / len(kinds) for kind in kinds})
    made = compose_batch(even, _SEED, 0, int(1.1 * count * len(kinds)))
    return _split(made, np.array(made.kind), {kind: kind for kind in kinds}, count)


def _split(made: Composition, label: NDArray[np.generic], names: Mapping[str, object], count: int) -> Tables:
    features = kinematic_features(made)
    return {name: features[np.flatnonzero(label == value)[:count]] for name, value in names.items()}


def argon(configs: Path, count: int) -> tuple[Score, ...]:
    """Return the scores among numu CC kinds, between numu and nue and NC, and of electrons against photons."""
    recipe = _recipe(configs, "lar_neutrino")
    tables = _by_kind(recipe, (*_NUMU, *_ELECTRONS, "nc_0pi", "nc_1pi0"), count)
    scores = kinematics_control({name: tables[name] for name in _NUMU})
    for pair in (_ELECTRONS, ("numu_cc_0pi", "nue_cc_0pi"), ("nue_cc_0pi", "nc_1pi0"), ("numu_cc_0pi", "nc_0pi")):
        scores += kinematics_control({name: tables[name] for name in pair})
    return scores


def carbon(configs: Path, count: int) -> tuple[Score, ...]:
    """Return the scores among the five classes of the transfer task, with the recipe's own kinds in each."""
    recipe = _recipe(configs, "ch_neutrino")
    made = compose_batch(recipe, _SEED, 0, 13 * count)
    names = {name: float(i) for i, name in enumerate(TOPOLOGY_CLASSES)}
    return kinematics_control(_split(made, made.truth["topology_class"], names, count))


def shifts(configs: Path, count: int) -> tuple[Score, ...]:
    """Return the scores of the generator's vertices against composed events without pions: a domain shift."""
    scores: tuple[Score, ...] = ()
    for composed, generator, kinds in (
        ("lar_neutrino", "lar_vertices", ("numu_cc", "nue_cc")),
        ("ch_neutrino", "ch_vertices", ("numu_cc",)),
    ):
        for kind in kinds:
            vertices = replace(_recipe(configs, generator), kinds={kind: -1})
            stop = 680 if kind == "nue_cc" else 500 if composed == "ch_neutrino" else 1000
            made = kinematic_features(compose_batch(vertices, _SEED, 0, stop))
            own = _by_kind(_recipe(configs, composed), (f"{kind}_0pi",), min(count, 10 * stop))
            scores += kinematics_control({f"{generator}: {kind}": made, f"{composed}: {kind}_0pi": own[f"{kind}_0pi"]})
    return scores


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return the exit code, 2 for a user's error."""
    package = Path(shiftlab.__file__).resolve().parent
    folder = next(base / "configs" for base in (package, package.parent) if (base / "configs").is_dir())
    parser = argparse.ArgumentParser(prog="python -m studies.samples.kinematics_control", description=__doc__)
    parser.add_argument("--configs", type=Path, default=folder / "simulation", help="folder of the recipes")
    parser.add_argument("--count", type=int, default=10_000, help="events of a class")
    given = parser.parse_args(arguments)
    try:
        for title, measure in (("argon", argon), ("polystyrene", carbon), ("generator against composed", shifts)):
            print(f"\n{title}\n\n| classes | events | seen | AUC |\n| --- | ---: | --- | ---: |")
            for one in measure(given.configs, given.count):
                events = f"{one.events[0]} + {one.events[1]}"
                print(f"| `{one.first}`, `{one.second}` | {events} | {one.group} | {one.auc:.3f} ± {one.error:.3f} |")
    except ShiftlabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
