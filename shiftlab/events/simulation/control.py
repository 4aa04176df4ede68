"""Control of composed samples: whether lepton and nucleons alone tell the classes of a task apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import ConfigError
from shiftlab.events.keys import random_generator
from shiftlab.events.simulation.composition import Composition
from shiftlab.events.simulation.spectra import MASS

__all__ = ["FEATURES", "GROUPS", "Score", "kinematic_features", "kinematics_control", "separation"]

Array = NDArray[np.float64]

FEATURES = (
    "lepton_energy",
    "lepton_cosine",
    "n_proton",
    "n_neutron",
    "proton_sum",
    "neutron_sum",
    "proton1_kinetic",
    "proton1_cosine",
    "proton2_kinetic",
    "proton2_cosine",
    "proton1_to_proton2",
    "proton1_to_lepton",
)
"""Lepton (an electron, a muon, or the photon in its place): total energy, cosine to the beam. Nucleons: number and
summed kinetic energy; kinetic energy and cosine to the beam of the two fastest protons, cosine between them, and of
the fastest to the lepton. MeV; NaN where there is none. No pion, and no quantity that knows of one."""

GROUPS: Mapping[str, Sequence[int]] = {"lepton and nucleons": range(12), "lepton": range(2), "nucleons": range(2, 11)}
"""Columns of FEATURES that a classifier may see. Where one class has no lepton, only ``nucleons`` is asked."""

_LEPTONS = (11, 13, 22)
_FOLDS = 5
_REPLICAS = 200
_TREES = 100
_LEARNER = {
    "objective": "binary",
    "num_leaves": 15,
    "learning_rate": 0.05,
    "min_data_in_leaf": 50,
    "seed": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}


@dataclass(frozen=True)
class Score:
    """How well two classes are told apart.

    Attributes:
        first: name of one class.
        second: name of the other.
        group: what the classifier saw, a key of GROUPS.
        events: number of events of each.
        auc: area under the ROC curve of boosted trees (LightGBM), the mean over the parts of a cross-validation;
            0.5 where nothing is learned.
        error: its standard error, from a bootstrap over the events that are scored; the training events are not
            drawn again, so that samples of another seed scatter somewhat more.
    """

    first: str
    second: str
    group: str
    events: tuple[int, int]
    auc: float
    error: float


def kinematic_features(composition: Composition) -> Array:
    """Return float64 (event, feature): what FEATURES names, of the primaries before any transport."""
    count, event, pdg = len(composition), composition.event, composition.pdg
    table = np.full((count, len(FEATURES)), np.nan)
    leptons = np.flatnonzero(np.isin(np.abs(pdg), _LEPTONS))
    mass = np.array([MASS[code] for code in np.abs(pdg[leptons])])
    table[event[leptons], 0] = composition.kinetic[leptons] + mass
    table[event[leptons], 1] = composition.direction[leptons, 2]
    lepton = np.full((count, 3), np.nan)
    lepton[event[leptons]] = composition.direction[leptons]
    for column, code in ((2, 2212), (3, 2112)):
        rows = pdg == code
        table[:, column] = np.bincount(event[rows], minlength=count)
        table[:, column + 2] = np.bincount(event[rows], composition.kinetic[rows], count)
    protons = np.flatnonzero(pdg == 2212)
    protons = protons[np.lexsort((-composition.kinetic[protons], event[protons]))]
    rank = np.arange(len(protons)) - np.searchsorted(event[protons], event[protons])
    direction = np.full((2, count, 3), np.nan)
    for place in (0, 1):
        rows = protons[rank == place]
        table[event[rows], 6 + 2 * place] = composition.kinetic[rows]
        table[event[rows], 7 + 2 * place] = composition.direction[rows, 2]
        direction[place, event[rows]] = composition.direction[rows]
    table[:, 10] = (direction[0] * direction[1]).sum(axis=1)
    table[:, 11] = (direction[0] * lepton).sum(axis=1)
    return table


def separation(first: Array, second: Array) -> tuple[float, float]:
    """Return the cross-validated AUC of a classifier between two tables of features, and its error.

    Args:
        first: float64 (event, feature).
        second: float64 (event, feature).

    Raises:
        ConfigError: fewer events than a cross-validation needs.
    """
    if min(len(first), len(second)) < 20 * _FOLDS:
        raise ConfigError(
            f"{len(first)} and {len(second)} events are given; the control wants {20 * _FOLDS} of a class."
        )
    import lightgbm

    features = np.concatenate([first, second])
    label = np.repeat([0.0, 1.0], [len(first), len(second)])
    generator = random_generator("kinematics_control", len(first), len(second))
    fold = np.concatenate([generator.permutation(np.arange(len(part)) % _FOLDS) for part in (first, second)])
    replicas = []
    for number in range(_FOLDS):
        train = fold != number
        data = lightgbm.Dataset(features[train], label[train])
        score = np.asarray(lightgbm.train(_LEARNER, data, _TREES).predict(features[~train]), dtype=np.float64)
        replicas.append(_areas(score, label[~train] == 1.0, generator))
    areas = np.mean(replicas, axis=0)
    return float(areas[0]), float(areas[1:].std(ddof=1))


def _areas(score: Array, positive: NDArray[np.bool_], generator: np.random.Generator) -> Array:
    """Return float64 (1 + replica,): the area under the ROC curve, then those of a bootstrap over events."""
    order = np.argsort(score, kind="stable")
    _, tie = np.unique(score[order], return_inverse=True)
    areas = [_area(tie, positive[order], np.ones(len(score)))]
    for _ in range(_REPLICAS):
        count = np.bincount(generator.integers(0, len(score), len(score)), minlength=len(score))
        areas.append(_area(tie, positive[order], count.astype(np.float64)))
    return np.array(areas)


def _area(tie: NDArray[np.intp], positive: NDArray[np.bool_], weight: Array) -> float:
    """Return the chance that a positive ranks above a negative, half of it where they tie."""
    up, down = np.bincount(tie, weight * positive), np.bincount(tie, weight * ~positive)
    below = np.cumsum(down) - down
    return float((up * (below + 0.5 * down)).sum() / (up.sum() * down.sum()))


def kinematics_control(tables: Mapping[str, Array]) -> tuple[Score, ...]:
    """Return the scores of every pair of classes.

    Args:
        tables: Features of each class's events (``kinematic_features``), by name of the class.

    Raises:
        ConfigError: a class has too few events.
    """
    scores = []
    for first, second in combinations(tables, 2):
        leptons = [bool(np.isfinite(tables[name][:, 0]).all()) for name in (first, second)]
        for group, columns in GROUPS.items():
            if all(leptons) or group == "nucleons":
                one, two = tables[first][:, list(columns)], tables[second][:, list(columns)]
                scores.append(Score(first, second, group, (len(one), len(two)), *separation(one, two)))
    return tuple(scores)
