"""Control of the sample: where the first visible deposit is says nothing about electron or photon."""

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from shiftlab.events import read
from shiftlab.tasks import named_tasks
from shiftlab.tasks.ranking import weighted_auc


def position_auc(position, positive):
    """Return the AUC, and its error without information, of a cross-fitted quadratic classifier of position."""
    scaled = (position - position.mean(0)) / position.std(0)
    pairs = [scaled[:, i] * scaled[:, j] for i in range(3) for j in range(i, 3)]
    columns = np.column_stack([np.ones(len(scaled)), scaled, *pairs])
    half = np.arange(len(scaled)) % 2 == 0
    score = np.empty(len(scaled))
    for mask in (half, ~half):
        weight, *_ = np.linalg.lstsq(columns[~mask], positive[~mask].astype(float), rcond=None)
        score[mask] = columns[mask] @ weight - np.median(columns[mask] @ weight)
    plus, minus = positive.sum(), (~positive).sum()
    error = np.sqrt((plus + minus + 1) / (12 * plus * minus))
    return float(weighted_auc(score, positive, np.ones((1, len(score))))[0]), float(error)


@pytest.fixture(scope="module")
def events():
    with resources.as_file(resources.files("studies") / "samples" / "lar_evaluation.h5") as path:
        return read(Path(path)).events


@pytest.mark.parametrize("pair", [("single_electron", "single_gamma"), ("nue_cc", "photon_protons")])
def test_a_position_only_classifier_is_at_chance(events, pair):
    (task,) = named_tasks(["electron_gamma"])
    chosen = task.evaluated(events) & np.isin(np.array(events.sample), pair)
    position = np.stack([events.truth[f"first_{axis}"].numpy() for axis in "xyz"], axis=1)[chosen]
    auc, error = position_auc(position, task.truth(events)[chosen, 0] > 0.5)
    assert auc == pytest.approx(0.5, abs=3.5 * error)


def test_the_control_would_see_a_displaced_sample():
    rng = np.random.default_rng(0)
    positive = rng.random(600) < 0.5
    auc, error = position_auc(rng.uniform(0, 1, (600, 3)) + 0.2 * positive[:, None], positive)
    assert auc > 0.5 + 5 * error
