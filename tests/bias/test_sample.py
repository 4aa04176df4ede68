"""The evaluation sample: whose weights count, what a data exposure means, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from shiftlab.bias import Mean
from shiftlab.bias.sample import check_exposure, read_sample
from shiftlab.errors import ConfigError, DataError, UnknownNameError


def _data(toys: Any, events: int = 600, **columns: Any) -> xr.Dataset:
    outputs = np.random.default_rng(5).standard_normal((1, 1, 1, events, 1))
    dataset: xr.Dataset = toys.dataset(outputs, [toys.row("nominal", "nominal", {"a": 0.0})], **columns)
    return dataset


def _error(data: xr.Dataset, exposure: dict[str, float], replicas: int = 200) -> float:
    sample = read_sample("t", data)
    nominal = data["output"].values[0, 0].astype(float)
    weights = sample.weights(range(replicas + 1), seed=0)
    only = [sample.resampling_only(weights, number) for number in range(len(sample.samples))]
    alone = np.stack([sample.score(Mean(), nominal, one) for one in only])
    return float(sample.data_error(alone[:, :, 1:], exposure)[0])


def test_only_evaluated_events_enter(toys: Any) -> None:
    evaluated = np.arange(600) % 3 == 0
    sample = read_sample("t", _data(toys, evaluated=evaluated))
    np.testing.assert_array_equal(sample.index, np.flatnonzero(evaluated))
    np.testing.assert_array_equal(sample.key, 10_000 + np.flatnonzero(evaluated))


def test_generator_weights_have_mean_one_in_each_sample(toys: Any) -> None:
    names = ["numu_cc"] * 400 + ["nue_cc"] * 200
    weight = np.where(np.arange(600) < 400, 1e-38, 3.0) * (1.0 + np.arange(600) % 2)
    sample = read_sample("t", _data(toys, weight=weight, sample=names))
    assert sample.samples == ("nue_cc", "numu_cc")
    for number in range(2):
        assert sample.weight[sample.sample == number].mean() == pytest.approx(1.0)
    assert sample.weights(range(3), 0)[0] == pytest.approx(sample.weight)


def test_error_for_a_data_exposure_scales_with_the_square_root_of_events(toys: Any) -> None:
    data = _data(toys)
    alone = _error(data, {})
    assert alone == pytest.approx(data["output"].values.std() / np.sqrt(600), rel=0.15)
    assert _error(data, {"numu_cc": 150.0}) == pytest.approx(2.0 * alone, rel=1e-12)


def test_each_sample_counts_with_its_own_exposure(toys: Any) -> None:
    """Mean over two samples: variance = sum over samples of (share)^2 sigma^2 / n_data, in closed form."""
    names = ["numu_cc"] * 400 + ["nue_cc"] * 200
    data = _data(toys, sample=names)
    spread = data["output"].values[0, 0, 0, :, 0]
    mean = spread.mean()
    parts = [(spread[:400], 400 / 600, 4000.0), (spread[400:], 200 / 600, 20.0)]
    expected = np.sqrt(sum(share**2 * np.mean((part - mean) ** 2) / number for part, share, number in parts))
    assert _error(data, {"numu_cc": 4000.0, "nue_cc": 20.0}, 2000) == pytest.approx(expected, rel=0.06)


def test_events_of_one_vertex_count_as_one(toys: Any) -> None:
    sample = read_sample("t", _data(toys, vertex=np.arange(600, dtype=np.int64) // 3))
    assert sample.effective(0) == pytest.approx(200.0)


def test_effective_number_falls_with_unequal_weights(toys: Any) -> None:
    weight = np.where(np.arange(600) < 300, 1.0, 3.0)
    assert read_sample("t", _data(toys, weight=weight)).effective(0) == pytest.approx(600 * 4 / 5)


def test_blocks_cover_every_replica_once(toys: Any) -> None:
    blocks = list(read_sample("t", _data(toys)).blocks(201))
    assert [i for block in blocks for i in block] == list(range(201))


def test_too_few_vertices_and_repeated_events_are_refused(toys: Any) -> None:
    with pytest.raises(DataError, match="task 't': 600 evaluated events from 1 vertices; 2 or more"):
        read_sample("t", _data(toys, vertex=np.zeros(600, dtype=np.int64)))
    with pytest.raises(DataError, match="task 't': 0 evaluated events"):
        read_sample("t", _data(toys, evaluated=np.zeros(600, dtype=np.bool_)))
    key = np.arange(600, dtype=np.int64)
    key[[5, 9]] = 77
    with pytest.raises(DataError, match="event key 77 is in the responses 3 times"):
        read_sample("t", _data(toys, key=key))


def test_weights_that_cancel_are_refused(toys: Any) -> None:
    with pytest.raises(DataError, match="weights of sample 'numu_cc' do not add up"):
        read_sample("t", _data(toys, weight=np.where(np.arange(600) % 2, 1.0, -1.0)))


def test_an_exposure_that_means_nothing_is_refused(toys: Any) -> None:
    datasets = {"t": _data(toys)}
    assert check_exposure(None, datasets) == {}
    with pytest.raises(UnknownNameError, match=r"sample in exposure 'numu_ccc'\. Did you mean 'numu_cc'"):
        check_exposure({"numu_ccc": 1.0}, datasets)
    for number in (0.0, -5.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=r"exposure\.numu_cc = "):
            check_exposure({"numu_cc": number}, datasets)
