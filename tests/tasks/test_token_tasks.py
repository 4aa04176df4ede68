"""The tasks that are asked of tokens: truth, statistics against independent formulas, and that they can be learned."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from shiftlab.errors import DataError
from shiftlab.events import EventTable, read
from shiftlab.tasks import EventSummary, named_tasks
from shiftlab.tasks.pion_topology import CLASSES, SIGNALS
from shiftlab.tasks.quantiles import most_probable, quantile_range
from shiftlab.tasks.ranking import true_rate, weighted_auc

ENERGY, TOPOLOGY = named_tasks(["available_energy", "pion_topology"])


def events(**truth: list[float]) -> EventTable:
    count = len(next(iter(truth.values())))
    key = torch.arange(count)
    return EventTable(
        key=key,
        vertex=key,
        weight=torch.ones(count, dtype=torch.float64),
        sample=("numu_cc_1pi",) * count,
        truth={name: torch.tensor(values, dtype=torch.float64) for name, values in truth.items()},
        selected=torch.ones(count, dtype=torch.bool),
    )


def test_the_five_classes_are_those_of_the_papers_code():
    nan = float("nan")
    table = events(
        current=[1, 1, 1, 1, 1, 1, 1, 2, 2, nan],
        n_pi_plus=[1, 0, 2, 1, 0, 0, 0, 1, 0, 0],
        n_pi_minus=[0, 1, 0, 1, 0, 0, 0, 0, 0, 0],
        n_pi_zero=[0, 3, 0, 1, 1, 2, 0, 0, 1, 0],
    )
    np.testing.assert_array_equal(TOPOLOGY.truth(table)[:, 0], [0, 0, 1, 1, 2, 3, 3, 4, 4, nan])
    assert TOPOLOGY.evaluated(table).tolist() == [True] * 9 + [False]
    assert len(CLASSES) == TOPOLOGY.raw == TOPOLOGY.outputs == len(TOPOLOGY.empty)


def test_composed_events_have_the_class_that_their_simulation_says():
    table = read(Path(__file__).parents[1] / "data" / "ch_neutrino.h5").events
    np.testing.assert_array_equal(TOPOLOGY.truth(table)[:, 0], table.truth["topology_class"])
    assert (ENERGY.truth(table)[ENERGY.evaluated(table)] >= 50).all()


def test_events_without_the_truth_are_refused_by_name(table: Callable[..., EventTable]):
    with pytest.raises(DataError, match="task 'available_energy' needs the truth 'available_energy'"):
        ENERGY.scored(table(["numu_cc"]))
    with pytest.raises(DataError, match="task 'pion_topology' needs the truth 'current'"):
        TOPOLOGY.truth(table(["numu_cc"]))
    with pytest.raises(DataError, match="they have none"):
        ENERGY.truth(dataclasses.replace(table(["numu_cc"]), truth={}))


def test_available_energy_is_trained_as_the_logarithm_of_one_plus_gev():
    truth = np.array([[0.0], [500.0], [3000.0]])
    target = ENERGY.target(truth, EventSummary.of_energy(torch.ones(3)))
    np.testing.assert_allclose(target, np.log1p([0.0, 0.5, 3.0]))
    raw = torch.from_numpy(target[:, None])
    np.testing.assert_allclose(ENERGY.decode(raw, EventSummary.of_energy(torch.ones(3))), truth, atol=1e-9)
    assert float(ENERGY.loss(raw, torch.from_numpy(target))) == 0.0
    assert float(ENERGY.decode(torch.tensor([[-3.0]]), EventSummary.of_energy(torch.ones(1)))) == 0.0


def test_small_true_energies_are_scored_and_not_judged():
    table = events(available_energy=[10.0, 50.0, 800.0, float("nan")])
    assert ENERGY.scored(table).tolist() == [True, True, True, False]
    assert ENERGY.evaluated(table).tolist() == [False, True, True, False]


def test_the_interquartile_range_of_a_normal_law_is_1_349_of_its_width():
    rng = np.random.default_rng(2)
    ratio = rng.normal(1.0, 0.2, 40_000)
    found = quantile_range(ratio, np.ones((1, len(ratio))))
    assert found[0] == pytest.approx(1.349 * 0.2, rel=0.02)
    assert most_probable(ratio, np.ones((1, len(ratio))))[0] == pytest.approx(1.0, abs=0.05)


@given(
    st.lists(st.tuples(st.floats(0, 3), st.integers(0, 4)), min_size=4, max_size=30).filter(
        lambda x: sum(w for _, w in x) > 8
    )
)
def test_weights_count_events(pairs):
    values, counts = np.array([v for v, _ in pairs]), np.array([w for _, w in pairs])
    repeated = np.repeat(values, counts)
    one = np.ones((1, len(repeated)))
    assert most_probable(values, counts[None].astype(float)) == pytest.approx(most_probable(repeated, one), abs=0.011)
    # Twice every weight is the same law.
    assert quantile_range(values, counts[None] * 2.0) == pytest.approx(quantile_range(values, counts[None] * 1.0))


def test_signals_are_summed_probabilities():
    rng = np.random.default_rng(3)
    logits, truth, weights = rng.normal(size=(300, 5)), rng.integers(0, 5, (300, 1)).astype(float), np.ones((1, 300))
    logits[np.arange(300), truth[:, 0].astype(int)] += 1.0
    probability = softmax(logits, axis=1)
    assert TOPOLOGY.score(logits, truth, weights)[0] == weighted_auc(probability[:, 0], truth[:, 0] == 0, weights)[0]
    further = TOPOLOGY.further(logits, truth, weights)
    either = weighted_auc(probability[:, :2].sum(1), truth[:, 0] < 2, weights)[0]
    assert further["AUROC of CC1pi+- or CCNpi+-"][0] == pytest.approx(either)
    assert {f"TPR of {name} at FPR 2.8%" for name in SIGNALS} <= set(further)
    assert set(further) | {TOPOLOGY.statistic} == set(TOPOLOGY.references(logits, truth, weights[0]))
    np.testing.assert_allclose(TOPOLOGY.observable(logits), probability[:, 0])


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=3, max_size=40), st.sampled_from([0.028, 0.3, 1.0])
)
def test_the_rate_of_true_positives_is_that_of_the_best_of_all_cuts(pairs, allowed):
    score, positive = np.array([s for s, _ in pairs], dtype=float), np.array([p for _, p in pairs])
    if positive.all() or not positive.any():
        assert np.isnan(true_rate(score, positive, np.ones((1, len(score))), allowed)).all()
        return
    cuts = [
        (score[positive] >= c).mean() for c in (*score, np.inf) if (score[~positive] >= c).mean() <= allowed + 1e-12
    ]
    assert true_rate(score, positive, np.ones((1, len(score))), allowed)[0] == pytest.approx(max(cuts))


def test_weights_of_a_rate_count_events():
    score, positive = np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, False, True, False])
    weights = np.array([[2.0, 1.0, 2.0, 3.0], [1.0, 0.0, 3.0, 1.0]])
    np.testing.assert_allclose(true_rate(score, positive, weights, 0.2), [0.5, 1.0])
