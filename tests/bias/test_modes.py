"""Principal modes: known modes are found, their loadings covered, and the nuisances behind them named."""

from __future__ import annotations

import numpy as np
import pytest

from shiftlab.bias.covariance import Part
from shiftlab.bias.modes import (
    Shares,
    aligned,
    mode_names,
    principal_modes,
    shares_of_parts,
    shares_of_regression,
)
from shiftlab.errors import ConfigError, DataError

ODD = np.array([[2.0, 1.0, 0.0, 1.0], [0.0, 0.5, 1.0, -0.5], [0.1, 0.0, 0.2, 0.3]])
NAMES = ("lifetime", "gain", "noise")


def _parts(odd: np.ndarray = ODD, even: np.ndarray | None = None) -> list[Part]:
    even = np.zeros_like(odd) if even is None else even
    return [Part(name, odd[k][None, None], even[k][None, None], False) for k, name in enumerate(NAMES)]


def _replicas(number: int, error: float, seed: int) -> np.ndarray:
    odd = ODD + error * np.random.default_rng(seed).standard_normal((number, *ODD.shape))
    return np.asarray(np.swapaxes(odd, 1, 2) @ odd)


def test_modes_are_the_eigenvectors_and_rebuild_the_covariance() -> None:
    covariance = ODD.T @ ODD
    modes = principal_modes(covariance, _replicas(20, 0.01, 0), number=10)
    assert modes.loading.shape == (4, 3)
    np.testing.assert_allclose(modes.loading @ modes.loading.T, covariance, atol=1e-10)
    np.testing.assert_allclose(modes.variance, np.linalg.eigvalsh(covariance)[::-1][:3])
    assert modes.fraction.sum() == pytest.approx(1.0)
    assert (modes.loading.sum(axis=0) > 0.0).all()
    np.testing.assert_allclose(np.linalg.norm(modes.direction, axis=0), 1.0)


def test_alignment_undoes_signs_order_and_rotation_of_equal_modes() -> None:
    rng = np.random.default_rng(1)
    target = np.linalg.qr(rng.standard_normal((5, 3)))[0]
    turn = np.linalg.qr(rng.standard_normal((8, 3, 3)))[0]
    np.testing.assert_allclose(aligned(target @ turn, target), np.broadcast_to(target, (8, 5, 3)), atol=1e-12)


def test_equal_modes_have_narrow_loadings_only_because_they_are_aligned() -> None:
    """Two modes of equal variance turn freely; without alignment the spread is of the size of the loading."""
    rng = np.random.default_rng(2)
    odd = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]) + 0.02 * rng.standard_normal((300, 2, 3))
    modes = principal_modes(np.diag([1.0, 1.0, 0.0]), np.swapaxes(odd, 1, 2) @ odd, number=2)
    assert (modes.high - modes.low).max() < 0.08


def _covered(experiments: int) -> float:
    truth = principal_modes(ODD.T @ ODD, _replicas(2, 0.0, 0), number=2).loading
    inside = []
    for trial in range(experiments):
        rng = np.random.default_rng(trial)
        sample = ODD + 0.03 * rng.standard_normal(ODD.shape)
        odd = sample + 0.03 * rng.standard_normal((100, *ODD.shape))
        modes = principal_modes(sample.T @ sample, np.swapaxes(odd, 1, 2) @ odd, number=2)
        # The frame of modes is the sample's own: the truth is turned into it, as the replicas are.
        inside.append((modes.low <= aligned(truth, modes.loading)) & (aligned(truth, modes.loading) <= modes.high))
    return float(np.mean(inside))


def test_intervals_of_loadings_cover_the_true_loadings() -> None:
    """150 experiments with event noise of 3% of a task's move, 8 loadings each, counted as two."""
    assert _covered(150) == pytest.approx(0.683, abs=3.0 * (0.683 * 0.317 / 300) ** 0.5)


@pytest.mark.slow
def test_intervals_of_loadings_cover_in_2000_experiments() -> None:
    share = _covered(2000)
    print(f"loadings of 2 modes, 68%: {share:.3f}")
    assert share == pytest.approx(0.683, abs=0.025)


def test_a_mode_of_one_nuisance_has_its_name() -> None:
    odd = np.array([[3.0, 3.0, 3.0], [1.0, -1.0, 0.0], [0.0, 0.0, 0.0]])
    parts = _parts(odd)
    covariance = np.sum([part.covariance[0] for part in parts], axis=0)
    modes = principal_modes(covariance, np.stack([covariance] * 3), number=2)
    shares = shares_of_parts(modes, parts)
    np.testing.assert_allclose(shares.share, [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], atol=1e-12)
    assert mode_names(shares) == ("lifetime 100%", "gain 100%")


def test_shares_of_joint_universes_agree_with_those_of_the_parts() -> None:
    """400 universes, linear and even response: the shares within 0.1, and nothing left over but noise."""
    rng = np.random.default_rng(5)
    even = np.array([[0.0, 0.0, 0.0, 0.0], [0.3, 0.3, 0.0, 0.0], [0.4, 0.4, 0.4, 0.4]])
    z = rng.standard_normal((400, 3))
    parts = _parts(even=even)
    covariance = np.sum([part.covariance[0] for part in parts], axis=0)
    modes = principal_modes(covariance, np.stack([covariance] * 3), number=2)
    exact = shares_of_parts(modes, parts)
    fitted = shares_of_regression(modes, z @ ODD + z**2 @ even, z, NAMES, even=True)
    np.testing.assert_allclose(fitted.share, exact.share, atol=0.1)
    np.testing.assert_allclose(fitted.rest, 0.0, atol=1e-10)
    np.testing.assert_allclose(exact.share.sum(axis=0), 1.0)


def test_shares_of_nuisances_without_effect_are_zero_on_average() -> None:
    """In 16 universes a nuisance that does nothing would seem to make some 4% of a mode, were chance not taken off."""
    rng = np.random.default_rng(7)
    covariance = np.diag([1.0, 0.5])
    modes = principal_modes(covariance, np.stack([covariance] * 3), number=1)
    found = []
    for _ in range(400):
        z = rng.standard_normal((16, 3))
        data = z[:, :1] * np.array([1.0, 0.1]) + rng.standard_normal((16, 2))
        found.append(shares_of_regression(modes, data, z, NAMES).share[1:, 0])
    assert abs(np.mean(found)) < 0.015


def test_what_is_left_is_told_apart_from_the_nuisances() -> None:
    """Half the variance is an interaction, which no nuisance makes alone."""
    rng = np.random.default_rng(8)
    z = rng.standard_normal((2000, 3))
    data = (z[:, :1] + z[:, 1:2] * z[:, 2:]) * np.array([1.0, 1.0])
    modes = principal_modes(np.ones((2, 2)), np.stack([np.ones((2, 2))] * 3), number=1)
    shares = shares_of_regression(modes, data, z, NAMES)
    assert shares.rest[0] == pytest.approx(0.5, abs=0.06)
    assert mode_names(shares)[0].startswith("lifetime")


def test_a_mode_without_a_leading_nuisance_is_mixed() -> None:
    assert mode_names(Shares(NAMES, np.array([[0.05, 0.3], [0.02, 0.5], [0.01, 0.2]]), np.zeros(2)), most=2) == (
        "mixed",
        "gain 50%, lifetime 30%",
    )


def test_what_has_no_modes_is_refused() -> None:
    replicas = _replicas(5, 0.1, 0)
    with pytest.raises(ConfigError, match="modes = 0"):
        principal_modes(ODD.T @ ODD, replicas, number=0)
    with pytest.raises(DataError, match="1 replicas"):
        principal_modes(ODD.T @ ODD, replicas[:1])
    with pytest.raises(DataError, match="no task moves"):
        principal_modes(np.zeros((4, 4)), replicas)


def test_a_regression_that_cannot_tell_nuisances_apart_is_refused() -> None:
    rng = np.random.default_rng(9)
    modes = principal_modes(ODD.T @ ODD, _replicas(5, 0.1, 0))
    z = rng.standard_normal((40, 3))
    with pytest.raises(DataError, match=r"10 joint universes .* 12 or more are needed"):
        shares_of_regression(modes, z[:10] @ ODD, z[:10], NAMES)
    z[:, 2] = 2.0 * z[:, 1]
    with pytest.raises(DataError, match="together"):
        shares_of_regression(modes, z @ ODD, z, NAMES)
    z[:, 1] = 0.0
    with pytest.raises(DataError, match="no joint universe moves gain"):
        shares_of_regression(modes, z @ ODD, z, NAMES)


def test_shares_of_noisy_parts_add_up_to_one() -> None:
    """Event noise in the parts is no nuisance's share: 1, and not 1 + noise / signal, over 200 noisy parts."""
    rng, sums = np.random.default_rng(5), []
    true = rng.normal(size=(3, 4))
    for _ in range(200):
        seen = true + 0.8 * rng.normal(size=(3, 4))
        odd = np.concatenate([seen[None], seen + 0.8 * rng.normal(size=(100, 3, 4))])
        parts = [Part(f"n{k}", odd[:, k : k + 1], np.zeros((101, 1, 4)), mirrored=True) for k in range(3)]
        whole = sum(part.covariance for part in parts)
        modes = principal_modes(true.T @ true, whole[1:], number=1)
        sums.append(float(shares_of_parts(modes, parts, true.T @ true).share.sum()))
    assert np.mean(sums) == pytest.approx(1.0, abs=4.0 * np.std(sums) / np.sqrt(len(sums)))
