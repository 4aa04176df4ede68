"""Drift: none for a null shift, exactly; what each measure sees and does not; intervals cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import qr

from shiftlab.bias.drift.classifier import two_sample
from shiftlab.bias.drift.discrepancy import mmd
from shiftlab.bias.drift.displacement import displacement
from shiftlab.bias.drift.layers import DRIFT_COLUMNS, layer_drift
from shiftlab.bias.drift.paired import Features, pair
from shiftlab.bias.drift.similarity import hsic, linear_cka
from shiftlab.errors import ConfigError, DataError, UnknownNameError

EVENTS, WIDTH = 400, 6


def _nominal(seed: int, events: int = EVENTS, width: int = WIDTH) -> np.ndarray:
    """Return features (event, feature), correlated alike for every seed."""
    mixing = np.eye(width) + 0.3 * np.random.default_rng(0).standard_normal((width, width))
    return np.random.default_rng(seed).standard_normal((events, width)) @ mixing


def _noisy(seed: int, move: float = 0.0, noise: float = 0.5, events: int = EVENTS) -> Features:
    """Nominal and shifted with noise of their own: exchangeable where ``move`` is 0."""
    rng = np.random.default_rng((seed, 1))
    common = _nominal(seed, events)
    first, second = (common + noise * rng.standard_normal(common.shape) for _ in range(2))
    second[:, 0] += move
    return pair(first, second)


def test_a_null_shift_gives_no_drift_exactly() -> None:
    nominal = _nominal(0)
    features = pair(nominal, nominal.copy())
    found = displacement(features)
    assert (found.drift, found.drift2, found.low, found.high, found.noise) == (0.0, 0.0, 0.0, 0.0, 0.0)
    assert (linear_cka(features).cka, linear_cka(features).error) == (1.0, 0.0)
    assert (mmd(features).mmd2, mmd(features).p_value) == (0.0, 1.0)
    told = two_sample(features)
    assert (told.auc, told.error, told.p_value) == (0.5, 0.0, 1.0)


def test_hsic_is_the_sum_of_its_definition() -> None:
    """The U-statistic over ordered quadruples of different events (Song et al. 2012, eq. 4), seven events."""
    from itertools import permutations

    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((7, 3)), rng.standard_normal((7, 2))
    k, l = x @ x.T, y @ y.T  # noqa: E741
    terms = [k[a, b] * (l[a, b] + l[c, d] - 2.0 * l[a, c]) for a, b, c, d in permutations(range(7), 4)]
    assert hsic(x, y) == pytest.approx(np.mean(terms), rel=1e-10)


def test_debiased_cka_of_unrelated_wide_features_is_zero() -> None:
    """The plain one is near 1 for features wider than the sample; the mean of 60 debiased ones is 0."""
    rng = np.random.default_rng(2)
    values = [linear_cka(pair(rng.standard_normal((40, 80)), rng.standard_normal((40, 80)))).cka for _ in range(60)]
    assert abs(np.mean(values)) < 4.0 * np.std(values) / np.sqrt(60)


def test_cka_does_not_see_rotation_scale_and_displacement_and_the_score_does() -> None:
    nominal = _nominal(3)
    turn = qr(np.random.default_rng(0).standard_normal((WIDTH, WIDTH)))[0]
    assert linear_cka(pair(nominal, 2.0 * nominal @ turn + 5.0)).cka == pytest.approx(1.0, abs=1e-10)
    assert displacement(pair(nominal, nominal + 5.0)).drift > 3.0
    noisy = linear_cka(_noisy(3, noise=1.5))
    assert 0.1 < noisy.cka < 0.9
    assert noisy.low < noisy.cka < noisy.high


def test_the_jackknife_error_of_cka_is_its_scatter() -> None:
    found = [linear_cka(_noisy(seed, noise=1.0)) for seed in range(100, 160)]
    scatter = np.std([one.cka for one in found], ddof=1)
    assert np.mean([one.error for one in found]) == pytest.approx(scatter, rel=0.35)


def test_mmd_is_the_sum_of_its_definition_and_sees_a_change_of_width() -> None:
    features = _noisy(4, events=12)
    found = mmd(features)
    scale = np.concatenate([features.nominal, features.shifted]).std(axis=0)
    x, y = features.nominal / scale, features.shifted / scale

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-((a - b) ** 2).sum() / (2.0 * found.bandwidth**2)))

    terms = [
        kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(x[j], y[i])
        for i in range(12)
        for j in range(12)
        if i != j
    ]
    assert found.mmd2 == pytest.approx(np.mean(terms), rel=1e-9)
    nominal = _nominal(5)
    wider = pair(nominal, 1.6 * nominal - 0.6 * nominal.mean(axis=0))
    assert displacement(wider).drift == 0.0
    assert mmd(wider).p_value < 0.01
    assert two_sample(wider).auc > 0.5


def test_the_p_value_of_mmd_is_uniform_without_a_shift_also_for_several_events_of_a_vertex() -> None:
    """150 pseudo-experiments; three events of a vertex share half of their noise."""
    p = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        vertex = np.repeat(np.arange(20), 3)
        base = rng.standard_normal((60, 2))
        first, second = (
            base + rng.standard_normal((20, 2))[vertex] + 0.3 * rng.standard_normal((60, 2)) for _ in range(2)
        )
        p.append(mmd(pair(first, second, vertex), permutations=60, seed=seed).p_value)
    for level in (0.1, 0.3, 0.6):
        share = float((np.array(p) <= level).mean())
        assert share == pytest.approx(level, abs=3.0 * np.sqrt(level * (1.0 - level) / 150) + 1.0 / 61.0)


def test_a_small_shift_is_found_because_events_are_paired() -> None:
    """0.15 of an event's spread with a little noise; unpaired it would be 2 errors in 400 events."""
    features = _noisy(6, move=0.15, noise=0.1)
    found = displacement(features)
    assert found.low > 0.0
    assert mmd(features).p_value < 0.01
    without = displacement(_noisy(6, move=0.0, noise=0.1))
    assert without.low == 0.0
    assert without.drift2 < 0.1 * found.drift2


def _drift_coverage(move: float, experiments: int, half: float) -> tuple[float, float]:
    """Return coverage, and the mean pull of the estimate in units of its scatter, of the squared drift."""
    inside, values = [], []
    covariance = np.eye(3) + 0.5
    truth = move**2 * np.linalg.inv(covariance + 0.25 * np.eye(3))[0, 0]
    root = np.linalg.cholesky(covariance)
    for seed in range(experiments):
        rng = np.random.default_rng((11, seed))
        common = rng.standard_normal((200, 3)) @ root.T
        first, second = (common + 0.5 * rng.standard_normal(common.shape) for _ in range(2))
        second[:, 0] += move
        found = displacement(pair(first, second), seed=seed, half=half)
        inside.append(found.low <= truth <= found.high)
        values.append(found.drift2 - truth)
    return float(np.mean(inside)), float(np.mean(values) / np.std(values))


@pytest.mark.parametrize("move", [0.3, 1.0])
def test_the_interval_of_the_drift_covers(move: float) -> None:
    share, pull = _drift_coverage(move, 200, 0.341344746068543)
    assert share == pytest.approx(0.683, abs=3.0 * np.sqrt(0.683 * 0.317 / 200))
    assert abs(pull) < 0.2 + 3.0 / np.sqrt(200)


@pytest.mark.slow
@pytest.mark.parametrize("move", [0.0, 0.05, 0.1, 0.3, 1.0])
@pytest.mark.parametrize(("half", "level"), [(0.341344746068543, 0.683), (0.475, 0.95)])
def test_the_interval_of_the_drift_covers_in_2000_experiments(move: float, half: float, level: float) -> None:
    share, pull = _drift_coverage(move, 2000, half)
    print(f"drift, move {move}, {level}: coverage {share:.3f}, pull {pull:+.3f}")
    assert share > level - 3.0 * np.sqrt(level * (1.0 - level) / 2000) - 0.01
    assert abs(pull) < 0.2


def _area_coverage(experiments: int) -> tuple[float, float, float]:
    """Return coverage at 68% and 95% of an area of 0.5 and its mean pull, for exchangeable features."""
    found = [two_sample(_noisy(seed, events=200), seed=seed) for seed in range(experiments)]
    pull = np.array([(one.auc - 0.5) / one.error for one in found])
    return float((np.abs(pull) < 1.0).mean()), float((np.abs(pull) < 1.96).mean()), float(pull.mean())


def test_the_area_of_exchangeable_features_is_a_half_within_its_error() -> None:
    """25 pseudo-experiments; twins never sit in both folds, else the trees would know the other's noise."""
    one, two, pull = _area_coverage(25)
    assert one > 0.683 - 3.0 * np.sqrt(0.683 * 0.317 / 40)
    assert two > 0.95 - 3.0 * np.sqrt(0.95 * 0.05 / 25)
    assert abs(pull) < 3.5 / np.sqrt(25)


@pytest.mark.slow
def test_the_area_covers_in_2000_experiments() -> None:
    one, two, pull = _area_coverage(2000)
    print(f"two-sample area of exchangeable features: coverage {one:.3f} and {two:.3f}, pull {pull:+.3f}")
    assert one > 0.683 - 3.0 * np.sqrt(0.683 * 0.317 / 2000)
    assert two > 0.95 - 3.0 * np.sqrt(0.95 * 0.05 / 2000)


def test_vertices_stay_together() -> None:
    """Every vertex is there twice with equal features: trees that had seen a twin would tell its universe at once."""
    rng = np.random.default_rng(8)
    first, second = rng.standard_normal((2, 150, 4))
    uid = np.concatenate([np.arange(150), np.arange(150)])
    found = two_sample(pair(np.concatenate([first, first]), np.concatenate([second, second]), uid))
    assert abs(found.auc - 0.5) < 4.0 * found.error
    leaking = two_sample(pair(np.concatenate([first, first]), np.concatenate([second, second])))
    assert leaking.auc > 0.6


def test_the_table_has_a_row_for_each_layer_and_orders_shifts() -> None:
    rng = np.random.default_rng(9)
    nominal = {"pooled": _nominal(9), "overall": _nominal(10, width=2)}
    table = {}
    for move in (0.0, 0.1, 0.8):
        shifted = {name: values + move * rng.standard_normal(values.shape[1]) for name, values in nominal.items()}
        table[move] = layer_drift(nominal, shifted).set_index("layer")
    assert list(layer_drift(nominal, nominal).columns) == list(DRIFT_COLUMNS)
    for layer in nominal:
        assert table[0.0].loc[layer, "drift"] == 0.0 < table[0.1].loc[layer, "drift"] < table[0.8].loc[layer, "drift"]
        assert table[0.8].loc[layer, "auc"] > 0.6


def test_what_cannot_be_compared_is_refused() -> None:
    good = _nominal(0, 40)
    with pytest.raises(DataError, match=r"layer 'pooled': features of shapes \(40, 6\) and \(39, 6\)"):
        pair(good, good[1:], layer="pooled")
    bad = good.copy()
    bad[3, 1] = np.nan
    with pytest.raises(DataError, match="shifted features of 1 events are not finite, the first is event number 3"):
        pair(good, bad)
    with pytest.raises(DataError, match="7 vertices are too few"):
        pair(good, good, np.arange(40) % 7)
    with pytest.raises(DataError, match=r"\(39,\) vertex uids"):
        pair(good, good, np.arange(39))
    constant = np.column_stack([good, np.ones(40)])
    moved = np.column_stack([good, np.full(40, 2.0)])
    with pytest.raises(DataError, match="feature number 6 moves but is the same"):
        displacement(pair(constant, moved))
    assert displacement(pair(constant, constant)).features == 6
    with pytest.raises(DataError, match="no feature varies"):
        displacement(pair(np.ones((40, 2)), np.ones((40, 2))))
    with pytest.raises(DataError, match="40 vertices are too few for 5 folds"):
        two_sample(pair(good, good))
    with pytest.raises(ConfigError, match="permutations = 3"):
        mmd(pair(good, good), permutations=3)
    with pytest.raises(UnknownNameError):
        layer_drift({"a": good}, {"b": good})
