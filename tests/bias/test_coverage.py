"""Intervals of biases and correlations cover the known truth as often as they claim, from pseudo-experiments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shiftlab.bias import Mean, bias

ODD = np.array([[0.20, 0.16, 0.06], [0.04, -0.10, 0.12], [0.06, 0.06, 0.10]])
EVEN = np.array([[0.02, 0.02, 0.0], [0.0, 0.0, 0.02], [0.0, 0.0, 0.0]])
SIGMA = ODD.T @ ODD + 2.0 * EVEN.T @ EVEN
RHO = (SIGMA / np.sqrt(np.outer(np.diag(SIGMA), np.diag(SIGMA))))[np.triu_indices(3, 1)]


def _covered(toys: Any, experiments: int, jitter: float, events: int = 300) -> tuple[float, float, float, float]:
    """Return the shares of biases and of rho inside their intervals, the mean pull of rho, the least reliability."""
    rows = [toys.nominal, *toys.unisims(["a", "b", "c"])]
    model = toys.linear(rows, ODD, EVEN, events, spread=0.3, jitter=jitter)
    truth = np.stack([sign * ODD[k] + EVEN[k] for k in range(3) for sign in (1, -1)], axis=1).ravel()
    bias_inside: list[float] = []
    rho_inside: list[bool] = []
    pulls: list[float] = []
    reliable: list[float] = []
    for trial in range(experiments):
        result = bias(model.responses(trial), tasks={f"t{t}": Mean() for t in range(3)}, seed=trial)
        table = result.table
        bias_inside.append((np.abs(table["bias"] - truth) < table["bias_error"]).mean())
        quoted = result.correlation["rho"].notna().to_numpy()
        rho, truth_rho = result.correlation[quoted], RHO[quoted]
        rho_inside += ((rho["lo"] <= truth_rho) & (rho["hi"] >= truth_rho)).tolist()
        pulls += (2.0 * (rho["rho"] - truth_rho) / (rho["hi"] - rho["lo"])).tolist()
        reliable.append(result.reliability["reliability"].min())
    means = (np.mean(column) for column in (bias_inside, rho_inside, pulls, reliable))
    return next(means), next(means), next(means), next(means)


def test_intervals_cover_the_truth(toys: Any) -> None:
    """60 experiments: 2 to 3 binomial errors around 68%, the three pairs of tasks counted as one."""
    bias_share, rho_share, pull, _ = _covered(toys, 60, jitter=0.15)
    assert bias_share == pytest.approx(0.683, abs=0.1)
    assert rho_share == pytest.approx(0.70, abs=0.15)
    assert abs(pull) < 0.4


@pytest.mark.slow
@pytest.mark.parametrize(("jitter", "most"), [(0.1, 0.73), (0.5, 0.85)])
def test_intervals_cover_the_truth_or_more_as_reliability_falls(toys: Any, jitter: float, most: float) -> None:
    """Down to a reliability of 0.9; below, a replica's noise adds to the sample's own and intervals grow."""
    bias_share, rho_share, pull, reliability = _covered(toys, 600, jitter)
    print(
        f"jitter {jitter}: bias {bias_share:.3f}, rho {rho_share:.3f}, pull {pull:.3f}, reliability {reliability:.2f}"
    )
    assert bias_share == pytest.approx(0.683, abs=0.03)
    assert 0.65 < rho_share < most
    assert abs(pull) < 0.3
