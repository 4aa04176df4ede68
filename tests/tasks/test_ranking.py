"""AUC is the Mann-Whitney probability, ties counted half, for any event weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.tasks.ranking import weighted_auc


def by_pairs(score, positive, weight):
    """Compare every positive with every negative event."""
    won = total = 0.0
    for i in np.flatnonzero(positive):
        for j in np.flatnonzero(~positive):
            pair = weight[i] * weight[j]
            total += pair
            won += pair * (1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0)
    return won / total if total else np.nan


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 3)), min_size=1, max_size=25))
def test_auc_equals_the_count_over_all_pairs_with_ties_and_weights(rows):
    score, positive, weight = (np.array(column) for column in zip(*rows, strict=True))
    found = weighted_auc(score.astype(float), positive.astype(bool), weight[None].astype(float))
    assert found.shape == (1,)
    assert found[0] == pytest.approx(by_pairs(score, positive.astype(bool), weight), nan_ok=True)


def test_an_integer_weight_is_the_event_taken_that_many_times():
    rng = np.random.default_rng(1)
    score, positive, weight = rng.normal(size=40), rng.random(40) < 0.4, rng.poisson(1.0, 40)
    repeated = weighted_auc(np.repeat(score, weight), np.repeat(positive, weight), np.ones((1, weight.sum())))
    assert weighted_auc(score, positive, weight[None].astype(float)) == pytest.approx(repeated)


def test_universes_and_replicas_keep_their_places():
    rng = np.random.default_rng(2)
    score, positive, weight = rng.normal(size=(3, 2, 30)), rng.random(30) < 0.5, rng.poisson(1.0, (5, 30)) * 1.0
    found = weighted_auc(score, positive, weight)
    assert found.shape == (3, 2, 5)
    for i in range(3):
        for r in range(5):
            assert found[i, 1, r] == pytest.approx(by_pairs(score[i, 1], positive, weight[r]))


def test_auc_depends_on_ranks_only_and_turns_over_with_the_sign():
    rng = np.random.default_rng(3)
    score, positive, weight = rng.normal(size=50), rng.random(50) < 0.5, np.ones((1, 50))
    auc = weighted_auc(score, positive, weight)
    assert weighted_auc(np.exp(score), positive, weight) == pytest.approx(auc)
    assert weighted_auc(-score, positive, weight) == pytest.approx(1 - auc)


def test_one_class_alone_has_no_auc():
    assert np.isnan(weighted_auc(np.arange(4.0), np.ones(4, dtype=bool), np.ones((1, 4)))).all()
