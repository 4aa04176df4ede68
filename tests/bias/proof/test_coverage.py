"""The estimators are believed, and wrong ones are caught: too short, too long, biased, never quoted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shiftlab.bias.proof.cases import CASES, Case, Draw, draw
from shiftlab.bias.proof.coverage import Cell, prove
from shiftlab.bias.proof.estimator import LEVELS, Estimator, Found, Note
from shiftlab.bias.proof.estimators import ESTIMATORS
from shiftlab.errors import ConfigError

CASE = {case.name: case for case in CASES}
ESTIMATOR = {estimator.name: estimator for estimator in ESTIMATORS}
BIAS = ESTIMATOR["bias of a mean, error by bootstrap"]

SLOW = ("bias of a", "excess", "harm", "robust", "mechanism", "component", "no false")
QUICK = [one for one in ESTIMATORS if not any(word in one.name for word in SLOW)]
"""Estimators of a millisecond; the others are measured by the command, the slow test and tests of their own."""


def test_estimators_are_believed_where_universes_are_few() -> None:
    """50 pseudo-experiments: within 4.5 errors of a normal, so 0.30 at 68% and 0.17 at 95%; bias and names too."""
    proof = prove(50, seed=1, replicas=60, cases=[CASE["few universes"]], estimators=QUICK)
    assert [cell.estimator for cell in proof.cells] == [one.name for one in QUICK]
    assert [cell for cell in proof.cells if not cell.believed] == []
    assert proof.believed
    for cell in proof.cells:
        assert cell.verdict not in ("conservative", "no interval") or cell.reason
        assert cell.error == pytest.approx([np.sqrt(level * (1.0 - level) / 50) for level in LEVELS])


def test_every_estimator_gives_its_cells_in_every_case() -> None:
    """Shapes, truths and names only; of the cases those that differ in features, noise and tasks."""
    assert len({one.name for one in ESTIMATORS}) == len(ESTIMATORS)
    for case in (CASE["same side"], CASE["noisy universes"], CASE["copied tasks"]):
        drawn = draw(case, 2, 60, (6,))
        for estimator in ESTIMATORS:
            if estimator.cases and case.name not in estimator.cases:
                assert set(estimator.cases) < set(CASE)
                continue
            found, truth = estimator.find(drawn), estimator.truth(case)
            assert found.estimate.shape == (2, len(truth))
            assert found.low.shape == found.high.shape == (len(LEVELS), 2, len(truth))
            assert np.isfinite(truth).all()
            with np.errstate(invalid="ignore"):
                assert not (found.low > found.high).any()


def test_the_same_seed_gives_the_same_table() -> None:
    chosen = {"cases": [CASE["linear"]], "estimators": [BIAS]}
    one, again, other = (prove(60, seed, **chosen) for seed in (5, 5, 6))  # type: ignore[arg-type]
    assert one == again
    assert one != other


def _wrong(factor: float = 1.0, offset: float = 0.0, *notes: Note) -> Estimator:
    """Return the paired bias with intervals ``factor`` times as long and moved by ``offset`` half-lengths."""

    def find(draw: Draw) -> Found:
        found = BIAS.find(draw)
        half = (found.high - found.low) / 2.0
        centre = found.estimate + offset * half[0]
        return Found(centre, centre - factor * half, centre + factor * half)

    return replace(BIAS, find=find, notes=notes)


def _verdict(case: Case, estimator: Estimator, pseudo: int = 300) -> Cell:
    fair = replace(BIAS, name="beside")
    return prove(pseudo, 2, cases=[case], estimators=[estimator, fair]).cells[0]


def test_intervals_that_are_too_short_are_caught_unless_their_coverage_is_stated() -> None:
    found = _verdict(CASE["linear"], _wrong(0.7))
    assert found.verdict == "UNDERCOVERS"
    assert found.coverage[0] == pytest.approx(0.516, abs=0.03)
    assert not found.believed
    stated = _verdict(CASE["linear"], _wrong(0.7, 0.0, Note("short", "made shorter on purpose", least=(0.5, 0.8))))
    assert stated.verdict == "short, stated"
    assert stated.believed
    less = _verdict(CASE["linear"], _wrong(0.7, 0.0, Note("short", "made shorter on purpose", least=(0.65, 0.9))))
    assert less.verdict == "UNDERCOVERS"
    elsewhere = Note("short", "made shorter on purpose", ("same side",), (0.5, 0.8))
    assert _verdict(CASE["linear"], _wrong(0.7, 0.0, elsewhere)).verdict == "UNDERCOVERS"


def test_intervals_that_are_too_long_need_a_reason() -> None:
    assert _verdict(CASE["linear"], _wrong(1.5)).verdict == "OVERCOVERS"
    stated = _verdict(CASE["linear"], _wrong(1.5, 0.0, Note("conservative", "made longer on purpose")))
    assert stated.verdict == "conservative"
    assert stated.reason == "made longer on purpose"


def test_a_bias_of_half_an_error_is_caught_unless_stated() -> None:
    found = _verdict(CASE["linear"], _wrong(1.3, 0.5))
    assert found.verdict == "BIASED"
    assert found.bias == pytest.approx(0.5, abs=0.15)
    assert _verdict(CASE["linear"], _wrong(1.17, 0.5, Note("biased", "moved on purpose"))).verdict == "covers"


def test_what_is_never_quoted_is_no_success() -> None:
    def find(draw: Draw) -> Found:
        nothing = np.full((len(draw.nominal), 24), np.nan)
        return Found(nothing, np.stack([nothing] * 2), np.stack([nothing] * 2))

    found = _verdict(CASE["linear"], replace(BIAS, find=find))
    assert found.verdict == "NEVER QUOTED"
    assert found.unquoted == 1.0
    assert not found.believed


def test_the_plain_bootstrap_over_few_universes_is_caught() -> None:
    """Universes drawn with replacement, percentile interval of the variance: too short at 16 universes."""

    def find(draw: Draw) -> Found:
        biases = draw.joint("independent")[:, 0]
        number = biases.shape[1]
        drawn = np.random.default_rng(0).integers(number, size=(400, number))
        variances = biases[:, drawn].var(axis=2, ddof=1)
        low, high = (np.quantile(variances, [0.5 + side * level / 2.0 for level in LEVELS], axis=1) for side in (-1, 1))
        return Found(biases.var(axis=1, ddof=1), low, high)

    def truth(case: Case) -> np.ndarray:
        return np.diag(case.joint_covariance("mean"))

    found = _verdict(CASE["few universes"], Estimator("bootstrap", find, truth), 400)
    assert found.verdict == "UNDERCOVERS"
    assert found.coverage[0] < 0.62


def test_event_noise_counted_twice_is_caught_where_each_universe_has_its_own() -> None:
    """The error over universes holds what events and universes share; added to that over events it counts twice."""

    def find(draw: Draw) -> Found:
        moments = draw.independent_moments
        found = ESTIMATOR["variance, independent universes"].find(draw)
        estimate = np.log(np.einsum("nkk->nk", moments.estimate[0]))
        number = moments.left_out.shape[1]
        without = np.log(np.clip(np.einsum("bnkk->bnk", moments.left_out[0]), 1e-9, None))
        events = moments.replicas[0] - moments.replicas[0].mean(axis=0)
        event = (np.einsum("rnkk->rnk", events) / np.exp(estimate)).std(axis=0, ddof=1)
        error = np.hypot(np.sqrt((number - 1.0) * without.var(axis=0)), event)
        reach = [factor * error for factor in (1.02, 2.04)]
        low, high = (np.stack([np.exp(estimate + sign * one) for one in reach]) for sign in (-1, 1))
        return Found(found.estimate, low, high)

    truth = ESTIMATOR["variance, independent universes"].truth
    found = _verdict(CASE["noisy universes"], Estimator("counted twice", find, truth), 200)
    assert found.verdict == "OVERCOVERS"
    assert found.coverage[0] > 0.77
    right = _verdict(CASE["noisy universes"], ESTIMATOR["variance, independent universes"], 200)
    assert right.coverage[0] < found.coverage[0]


def test_copies_are_exact_where_nothing_may_scatter() -> None:
    exact = ("correlation, unisims", "correlation, independent", "inflation", "effective")
    chosen = [estimator for name, estimator in ESTIMATOR.items() if name.startswith(exact)]
    proof = prove(60, 0, cases=[CASE["copied tasks"]], estimators=[*chosen, BIAS])
    assert {cell.verdict for cell in proof.cells[:-1]} == {"exact"}


def test_too_few_pseudo_experiments_are_refused() -> None:
    with pytest.raises(ConfigError, match="49 pseudo-experiments are too few: 50 or more"):
        prove(49)
    with pytest.raises(ConfigError, match="19 bootstrap replicas"):
        prove(100, replicas=19)
    with pytest.raises(ConfigError, match="there is no mean coverage"):
        prove(50, replicas=20, cases=[CASE["linear"]], estimators=[ESTIMATOR["variance, antithetic pairs"]])


def test_a_case_is_drawn_alike_alone_and_beside_others() -> None:
    both = prove(50, 3, replicas=20, cases=[CASE["linear"], CASE["few universes"]], estimators=[BIAS])
    alone = prove(50, 3, replicas=20, cases=[CASE["few universes"]], estimators=[BIAS])
    assert both.cells[1] == alone.cells[0]


@pytest.mark.slow
def test_every_estimator_is_believed_in_2000_pseudo_experiments() -> None:
    proof = prove(2000, seed=3)
    for cell in proof.cells:
        print(f"{cell.case:18s} {cell.estimator:38s} {cell.bias:+.2f}", *(f"{share:.3f}" for share in cell.coverage))
    print(proof.mean)
    assert [cell for cell in proof.cells if not cell.believed] == []
    assert proof.mean.believed
