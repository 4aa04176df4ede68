"""The estimators are believed, and wrong ones are caught: too short, too long, biased, never quoted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shiftlab.bias.proof.cases import CASES, Case, Draw
from shiftlab.bias.proof.coverage import LEVELS, Cell, prove
from shiftlab.bias.proof.estimators import ESTIMATORS, Estimator, Found
from shiftlab.errors import ConfigError

CASE = {case.name: case for case in CASES}
ESTIMATOR = {estimator.name: estimator for estimator in ESTIMATORS}
BIAS = ESTIMATOR["bias, error by bootstrap"]


def test_every_estimator_is_believed_in_every_case() -> None:
    """100 pseudo-experiments: within 3 binomial errors, so 0.14 at 68% and 0.065 at 95%."""
    proof = prove(100, seed=1)
    assert len(proof.cells) == len(CASES) * len(ESTIMATORS)
    assert [cell for cell in proof.cells if not cell.believed] == []
    assert proof.mean.believed
    assert proof.believed
    for cell in proof.cells:
        assert cell.verdict != "conservative" or cell.reason
        assert cell.error == pytest.approx([np.sqrt(level * (1.0 - level) / 100) for level in LEVELS])


def test_the_same_seed_gives_the_same_table() -> None:
    chosen = {"cases": [CASE["linear"]], "estimators": [BIAS]}
    one, again, other = (prove(60, seed, **chosen) for seed in (5, 5, 6))  # type: ignore[arg-type]
    assert one == again
    assert one != other


def _wrong(factor: float = 1.0, offset: float = 0.0, **changes: str) -> Estimator:
    """Return the paired bias with intervals ``factor`` times as long and moved by ``offset`` half-lengths."""

    def find(draw: Draw, level: float) -> Found:
        found = BIAS.find(draw, level)
        half = (found.high - found.low) / 2.0
        one = BIAS.find(draw, LEVELS[0])
        centre = found.estimate + offset * (one.high - one.low) / 2.0
        return Found(centre, centre - factor * half, centre + factor * half)

    return replace(BIAS, find=find, **changes)


def _verdict(case: Case, estimator: Estimator, pseudo: int = 300) -> Cell:
    fair = replace(BIAS, name="beside")
    return prove(pseudo, 2, cases=[case], estimators=[estimator, fair]).cells[0]


def test_intervals_that_are_too_short_are_caught() -> None:
    found = _verdict(CASE["linear"], _wrong(0.7))
    assert found.verdict == "UNDERCOVERS"
    assert found.coverage[0] == pytest.approx(0.516, abs=0.03)
    assert not found.believed


def test_intervals_that_are_too_long_need_a_reason() -> None:
    assert _verdict(CASE["linear"], _wrong(1.5)).verdict == "OVERCOVERS"
    stated = _verdict(CASE["linear"], _wrong(1.5, conservative="made longer on purpose"))
    assert stated.verdict == "conservative"
    assert stated.reason == "made longer on purpose"


def test_a_bias_of_half_an_error_is_caught_unless_stated() -> None:
    found = _verdict(CASE["linear"], _wrong(1.3, 0.5))
    assert found.verdict == "BIASED"
    assert found.bias == pytest.approx(0.5, abs=0.15)
    assert _verdict(CASE["linear"], _wrong(1.17, 0.5, biased="moved on purpose")).verdict == "covers"


def test_what_is_never_quoted_is_no_success() -> None:
    def find(draw: Draw, level: float) -> Found:
        nothing = np.full((len(draw.nominal), 24), np.nan)
        return Found(nothing, nothing, nothing)

    found = _verdict(CASE["linear"], replace(BIAS, find=find))
    assert found.verdict == "NEVER QUOTED"
    assert found.unquoted == 1.0
    assert not found.believed


def test_the_plain_bootstrap_over_few_universes_is_caught() -> None:
    """Universes drawn with replacement, percentile interval of the variance: too short at 16 universes."""

    def find(draw: Draw, level: float) -> Found:
        biases = draw.joint("independent")[:, 0]
        number = biases.shape[1]
        drawn = np.random.default_rng(0).integers(number, size=(400, number))
        variances = biases[:, drawn].var(axis=2, ddof=1)
        low, high = np.quantile(variances, [0.5 - level / 2.0, 0.5 + level / 2.0], axis=1)
        return Found(biases.var(axis=1, ddof=1), low, high)

    def truth(case: Case) -> np.ndarray:
        return np.diag(case.joint_covariance("mean"))

    found = _verdict(CASE["few universes"], Estimator("bootstrap", find, truth), 400)
    assert found.verdict == "UNDERCOVERS"
    assert found.coverage[0] < 0.62


def test_copies_are_exact_where_nothing_may_scatter() -> None:
    chosen = [estimator for name, estimator in ESTIMATOR.items() if name.startswith(("correlation", "effective"))]
    proof = prove(60, 0, cases=[CASE["copied tasks"]], estimators=[*chosen, BIAS])
    assert {cell.verdict for cell in proof.cells[:-1]} == {"exact"}


def test_too_few_pseudo_experiments_are_refused() -> None:
    with pytest.raises(ConfigError, match="49 pseudo-experiments are too few: 50 or more"):
        prove(49)
    with pytest.raises(ConfigError, match="19 bootstrap replicas"):
        prove(100, replicas=19)
    with pytest.raises(ConfigError, match="no mean coverage"):
        prove(50, cases=[CASE["linear"]], estimators=[ESTIMATOR["variance, antithetic pairs"]])


@pytest.mark.slow
def test_every_estimator_is_believed_in_2000_pseudo_experiments() -> None:
    proof = prove(2000, seed=3, replicas=100)
    for cell in proof.cells:
        print(f"{cell.case:18s} {cell.estimator:38s} {cell.bias:+.2f}", *(f"{share:.3f}" for share in cell.coverage))
    print(proof.mean)
    assert [cell for cell in proof.cells if not cell.believed] == []
    assert proof.mean.believed
