"""A bias in four currencies: what one event is uncertain by, the error of the data, the shift of a fitted parameter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from shiftlab.bias import Mean
from shiftlab.bias.currency import event_resolution, in_units, parameter_shift, resolutions, with_currencies
from shiftlab.bias.design import Design, read_design
from shiftlab.bias.measure import Measured, measure
from shiftlab.bias.sample import read_sample
from shiftlab.bias.statistic import Statistic
from shiftlab.bias.tables import bias_table
from shiftlab.errors import DataError, UnknownNameError
from shiftlab.tasks import named_tasks


class _Share:
    """Share of events above 0, without a word on what one event is uncertain by."""

    statistic, unit = "share", "1"

    def score(self, outputs: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
        share: np.ndarray = (outputs[..., 0] > 0.0) @ weights.T / weights.sum(axis=1)
        return share


def _measured(toys: Any) -> tuple[dict[str, xr.Dataset], dict[str, Statistic], Measured, Design]:
    """A mean of spread 3 moved by 1, and a share of 0.2; two seeds."""
    rng = np.random.default_rng(0)
    base = rng.standard_normal((1, 2, 1, 4000, 1))
    rows = [toys.nominal, *toys.unisims(["a"])]
    moved = base + np.array([0.0, 0.05, -0.05])[:, None, None]
    outputs = {"mean": 3.0 * base + np.arange(3.0)[:, None, None], "share": moved - 0.8416}
    datasets = {name: toys.dataset(one, rows, seeds=(1, 2)) for name, one in outputs.items()}
    statistics: dict[str, Statistic] = {"mean": Mean(), "share": _Share()}
    design = read_design(datasets)
    return datasets, statistics, measure(datasets, statistics, design, replicas=100, seed=0, exposure={}), design


def test_per_event_resolution_is_the_spread_or_that_of_a_share(toys: Any) -> None:
    """Of a mean its spread; of a share 0.2 without a word on it sqrt(0.2 x 0.8) = 0.4, from 100 replicas."""
    found = resolutions(*_measured(toys))
    assert found.shape == (1, 2, 2)
    np.testing.assert_allclose(found[..., 0], 3.0, rtol=0.03)
    np.testing.assert_allclose(found[..., 1], 0.4, rtol=0.25)


TASKS = ("flavour", "energy", "segmentation", "particle_id", "particles", "vertex", "direction")


@pytest.mark.parametrize("task", TASKS)
def test_every_task_says_what_one_event_is_uncertain_by(toys: Any, task: str) -> None:
    """The same number as sqrt(n) x the error of a mean, and sqrt(p (1 - p)) for what is a share."""
    (statistic,) = named_tasks([task])
    rng = np.random.default_rng(2)
    outputs = rng.random((500, statistic.outputs)) + 0.5
    truth = rng.integers(0, 2, (500, len(statistic.truth_columns))).astype(float) + (task == "energy")
    if task == "particles":
        outputs[:, 1] = 1.0
    weight = rng.uniform(0.5, 2.0, 500)
    found = statistic.event_spread(outputs, truth, weight)
    assert 0.0 < found < np.inf
    value = float(statistic.score(outputs, truth, weight[None])[0])
    if task in ("flavour", "segmentation", "particle_id"):
        assert found == pytest.approx(np.sqrt(value * (1.0 - value)))
    if task in ("energy", "particles"):
        event = outputs[:, 0] / truth[:, 0] if task == "energy" else outputs[:, 0]
        assert found == pytest.approx(np.sqrt(np.cov(event, aweights=weight, ddof=0)))


def test_a_statistic_that_says_is_believed(toys: Any) -> None:
    data = toys.dataset(np.random.default_rng(0).random((1, 1, 1, 50, 1)), [toys.row("nominal", "nominal", {"a": 0.0})])
    sample = read_sample("t", data)
    outputs = data["output"].values[0, 0, 0]
    assert event_resolution(Mean(), sample, outputs, np.zeros(3)) == pytest.approx(outputs.std())


def test_biases_in_any_unit_keep_their_signs_and_tasks_without_a_unit_do_not_move() -> None:
    value = np.arange(24.0).reshape(3, 4, 2)
    found = in_units(value, 1, np.array([2.0, np.nan, -0.5]))
    assert found.shape == (2, 4, 3)
    np.testing.assert_allclose(found[0, :, 0], [-1.0, 0.0, 1.0, 2.0])
    np.testing.assert_allclose(found[1, :, 2], [4.0, 0.0, -4.0, -8.0])
    assert (found[..., 1] == 0.0).all()


def test_a_unit_of_the_data_error_is_the_displacement_of_the_correlations(toys: Any) -> None:
    _, _, measured, design = _measured(toys)
    found = in_units(measured.value[0, 1], design.nominal, measured.sigma_data[0, 1])
    np.testing.assert_array_equal(found, measured.displacement(0, 1, design.nominal))


def test_a_fitted_parameter_moves_by_the_slopes_of_its_bins() -> None:
    """A counting fit of mu: n = mu s + b in each bin, weights s / n, so d mu / d n = (s / n) / sum(s^2 / n)."""
    signal, background = np.array([10.0, 20.0, 5.0]), np.array([40.0, 10.0, 1.0])
    nominal = signal + background
    slope = signal / nominal / (signal**2 / nominal).sum()
    shift = np.stack([np.zeros(3), 0.1 * signal, -0.2 * signal])
    np.testing.assert_allclose(parameter_shift(slope, shift), [0.0, 0.1, -0.2], atol=1e-15)
    np.testing.assert_allclose(parameter_shift(2.0, np.array([0.5, -1.0])), [1.0, -2.0])


def test_slopes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"d mu / d n of shape \(3,\) for shifts of shape \(2, 4\)"):
        parameter_shift(np.ones(3), np.ones((2, 4)))
    with pytest.raises(DataError, match="not finite in 1 of 3 bins"):
        parameter_shift(np.array([1.0, np.nan, 2.0]), np.ones((2, 3)))


def test_the_table_has_every_currency_side_by_side(toys: Any) -> None:
    datasets, statistics, measured, design = _measured(toys)
    resolution = resolutions(datasets, statistics, measured, design)
    table = with_currencies(bias_table(measured, design), measured, resolution, {"mean": -0.5})
    rows = table[table["task"] == "mean"]
    np.testing.assert_allclose(rows["bias_over_resolution"], rows["bias"] / rows["resolution"])
    np.testing.assert_allclose(rows["parameter_shift"], -0.5 * rows["bias"])
    np.testing.assert_allclose(rows["parameter_error"], 0.5 * rows["bias_error"])
    assert table.loc[table["task"] == "share", "parameter_shift"].isna().all()
    of_seed = table.groupby(["seed", "task"])["resolution"].first().unstack().to_numpy()
    np.testing.assert_array_equal(of_seed, resolution[0])
    with pytest.raises(UnknownNameError, match=r"unknown task in slopes 'means'\. Did you mean 'mean'"):
        with_currencies(bias_table(measured, design), measured, resolution, {"means": 1.0})
