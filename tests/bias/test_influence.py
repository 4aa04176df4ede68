"""Influence values: errors and covariances of biases in closed form, against the bootstrap and pseudo-experiments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import xarray as xr

from shiftlab.bias import Mean, bias
from shiftlab.bias.design import read_design
from shiftlab.bias.influence import by_vertex, closed_variances, gain, influence, slopes
from shiftlab.bias.measure import measure
from shiftlab.bias.sample import read_sample
from shiftlab.bias.statistic import OfSums
from shiftlab.bias.sums import Streamed, accumulate
from shiftlab.responses import Responses
from shiftlab.tasks.classification import f1_mean


class _Ratio:
    """Sum of the first column over the sum of the second, its derivative left to differences."""

    statistic, unit = "ratio", ""

    def terms(self, outputs: np.ndarray, truth: np.ndarray) -> np.ndarray:
        return outputs[..., :2]

    def of_sums(self, sums: np.ndarray) -> np.ndarray:
        ratio: np.ndarray = sums[..., 1] / sums[..., 2]
        return ratio

    def score(self, outputs: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
        ratio: np.ndarray = (outputs[..., 0] @ weights.T) / (outputs[..., 1] @ weights.T)
        return ratio


class _F1(_Ratio):
    """Mean F1 of two classes from per-event counts."""

    statistic = "F1"

    def terms(self, outputs: np.ndarray, truth: np.ndarray) -> np.ndarray:
        return outputs[..., :6]

    def of_sums(self, sums: np.ndarray) -> np.ndarray:
        return f1_mean(sums[..., 1:3], sums[..., 3:5], sums[..., 5:7])

    def score(self, outputs: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
        sums = np.moveaxis(weights @ outputs[..., :6], -1, 0)
        return f1_mean(*(np.moveaxis(sums[i : i + 2], 0, -1) for i in (0, 2, 4)))


STATISTICS: Mapping[str, OfSums] = {"mean": Mean(), "ratio": _Ratio(), "f1": _F1()}


MOVE = 0.1 * np.array([2.0, 1.0, 0.5, 1.0, 0.0, 0.5])
"""Mean relative response of each column."""


def _outputs(rng: np.random.Generator, experiments: int, vertices: int) -> np.ndarray:
    """Nominal and shifted outputs (2, experiment, event, 6); two events per vertex share their fluctuation."""
    common = np.repeat(rng.gamma(4.0, 0.25, size=(2, experiments, vertices, 6)), 2, axis=2)
    nominal = common[0] + rng.gamma(4.0, 0.25, size=(experiments, 2 * vertices, 6))
    return _with_hits(np.stack([nominal, nominal * (1.0 + MOVE * common[1])]))


def _with_hits(outputs: np.ndarray) -> np.ndarray:
    """True and called hold the hits."""
    outputs[..., 2:4] += outputs[..., :2]
    outputs[..., 4:6] += outputs[..., :2]
    return outputs


def _truth(statistic: OfSums) -> float:
    """Return the bias of infinitely many events: both gammas have mean 1, and all terms are linear."""
    mean = _with_hits(np.stack([np.full((1, 6), 2.0), 2.0 * (1.0 + MOVE)[None]]))
    value = statistic.of_sums(np.concatenate([np.ones((2, 1)), statistic.terms(mean, np.zeros((1, 1)))[:, 0]], axis=1))
    return float(value[1] - value[0])


def _coverage(name: str, experiments: int, vertices: int) -> tuple[float, float]:
    """Return how often the 68% and 95% intervals of a bias hold its true value."""
    rng = np.random.default_rng(4)
    statistic, vertex = STATISTICS[name], np.repeat(np.arange(vertices), 2)
    truth, weight = np.zeros((2 * vertices, 1)), np.ones(2 * vertices)
    pulls = []
    for _ in range(experiments // 100):
        outputs = _outputs(rng, 100, vertices)
        found = statistic.score(outputs, truth, weight[None])[..., 0]
        psi = by_vertex(influence(statistic, outputs, truth, weight), vertex)
        error = np.sqrt(((psi[1] - psi[0]) ** 2).sum(axis=-1))
        pulls.append((found[1] - found[0] - _truth(statistic)) / error)
    size = np.abs(np.concatenate(pulls))
    return float(np.mean(size < 1.0)), float(np.mean(size < 1.959964))


@pytest.mark.parametrize("name", STATISTICS)
def test_intervals_of_a_bias_cover_what_they_claim(name: str) -> None:
    """1,000 pseudo-experiments of 300 clustered vertices: within three binomial errors."""
    for found, claimed in zip(_coverage(name, 1000, 300), (0.6827, 0.95), strict=True):
        print(f"{name}: {claimed:.0%} interval holds the truth in {found:.4f}")
        assert found == pytest.approx(claimed, abs=3.0 * np.sqrt(claimed * (1.0 - claimed) / 1000))


@pytest.mark.slow
@pytest.mark.parametrize("name", STATISTICS)
def test_intervals_of_a_bias_cover_what_they_claim_closely(name: str) -> None:
    """10,000 pseudo-experiments of 1,000 vertices."""
    for found, claimed in zip(_coverage(name, 10_000, 1000), (0.6827, 0.95), strict=True):
        print(f"{name}: {claimed:.0%} interval holds the truth in {found:.4f}")
        assert found == pytest.approx(claimed, abs=3.0 * np.sqrt(claimed * (1.0 - claimed) / 10_000))


def _store(toys: Any, events: int = 600) -> dict[str, xr.Dataset]:
    """Three tasks, clustered, weighted; the last evaluates only some of the events."""
    rng = np.random.default_rng(7)
    rows = [toys.nominal, *toys.unisims(["a", "b"]), toys.row("identity", "control")]
    common = rng.exponential(size=(len(rows), events, 1))
    vertex, weight = (np.arange(events) // 2).astype(np.int64), rng.uniform(0.5, 2.0, events)
    evaluated = rng.random(events) < 0.7
    datasets = {}
    for name in STATISTICS:
        base = 1.0 + rng.exponential(size=(events, 6))
        outputs = base * (1.0 + 0.2 * common)
        outputs[..., 2:] += outputs[..., :1]
        outputs[-1] = outputs[0]
        asked = evaluated if name == "f1" else np.ones(events, dtype=np.bool_)
        datasets[name] = toys.dataset(outputs[None, None], rows, vertex=vertex, weight=weight, evaluated=asked)
    return datasets


def _closed(datasets: Mapping[str, xr.Dataset]) -> np.ndarray:
    """Variances (task, universe, 2) of values and biases."""
    design, found = read_design(datasets), []
    for name, data in datasets.items():
        task = Streamed(data, STATISTICS[name], read_sample(name, data))
        (sums,) = accumulate([task], design, 50, 0)
        found.append(closed_variances(task, design, sums.universe)[0, 0])
    return np.stack(found)


def test_closed_form_errors_are_those_of_the_bootstrap(toys: Any) -> None:
    """3 clustered, weighted tasks in all universes: errors within the spread of 2,000 replicas."""
    datasets = _store(toys)
    measured = measure(datasets, STATISTICS, read_design(datasets), replicas=2000, seed=1, exposure={})
    value = measured.value[0, 0]
    boot = np.stack([value[..., 1:].std(axis=-1), (value - value[:, :1])[..., 1:].std(axis=-1)], axis=-1)
    # A standard deviation from 2,000 replicas has an error of 1 / sqrt(4000) = 0.016; second order adds a little.
    np.testing.assert_allclose(np.sqrt(measured.variance[0, 0]), boot, rtol=0.08)
    np.testing.assert_allclose(measured.variance[0, 0], _closed(datasets), rtol=1e-5)


def test_a_universe_that_equals_the_nominal_has_no_error(toys: Any) -> None:
    found = _closed(_store(toys))
    assert (found[:, -1, 1] == 0.0).all()
    assert (found[:, 0, 1] == 0.0).all()
    assert (found[:, 1:-1, 1] > 0.0).all()


def test_blocks_and_order_of_vertices_change_nothing(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = _store(toys)
    order = np.random.default_rng(0).permutation(600)
    shuffled = {name: data.isel(event=order) for name, data in datasets.items()}
    whole = _closed(datasets)
    monkeypatch.setattr("shiftlab.bias.influence._VERTICES", 7)
    np.testing.assert_allclose(_closed(datasets), whole, rtol=1e-6, atol=1e-18)
    np.testing.assert_allclose(_closed(shuffled), whole, rtol=1e-6, atol=1e-18)


def test_events_of_one_vertex_each_need_no_sorting(toys: Any) -> None:
    """The same numbers whether vertices are looked up or not."""
    datasets = {name: data.assign_coords(vertex_uid=("event", np.arange(600))) for name, data in _store(toys).items()}
    apart = {name: data.assign_coords(vertex_uid=("event", np.arange(600)[::-1])) for name, data in datasets.items()}
    np.testing.assert_allclose(_closed(datasets), _closed(apart), rtol=1e-6, atol=1e-18)


def test_the_table_says_where_an_error_comes_from(toys: Any) -> None:
    """Functions of sums have influence values; any other statistic the spread of its replicas."""

    class Median:
        statistic, unit = "median", ""

        def score(self, outputs: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
            return np.stack([np.median(np.repeat(outputs[..., 0], w.astype(int), -1), axis=-1) for w in weights], -1)

    data = toys.dataset(np.random.default_rng(0).normal(size=(1, 1, 3, 60, 1)), [toys.nominal, *toys.unisims(["a"])])
    found = bias(Responses({"mean": data, "median": data}, {}), tasks={"mean": Mean(), "median": Median()}, replicas=20)
    assert dict(zip(found.table["task"], found.table["error_from"], strict=True)) == {
        "mean": "influence",
        "median": "bootstrap",
    }


def test_influence_of_a_mean_is_the_textbooks_and_differences_agree() -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.exponential(size=(50, 2)) + 1.0, rng.uniform(0.5, 2.0, 50)
    mean = np.average(x[:, 0], weights=weight)
    found = influence(Mean(), x, np.zeros((50, 1)), weight)
    np.testing.assert_allclose(found, weight * (x[:, 0] - mean) / weight.sum(), rtol=1e-12)
    sums = np.array([weight.sum(), *(weight @ x)])
    closed = np.array([0.0, 1.0 / sums[2], -sums[1] / sums[2] ** 2])
    scale = np.sqrt([(weight**2).sum(), *(weight**2 @ x**2)])
    np.testing.assert_allclose(slopes(_Ratio(), sums, scale), closed, rtol=1e-6, atol=1e-12)


def test_influence_values_add_up_to_nothing() -> None:
    """A statistic that does not change with the number of events: Euler's theorem for homogeneous functions."""
    outputs = _outputs(np.random.default_rng(1), 4, 100)
    weight = np.random.default_rng(2).uniform(0.5, 2.0, 200)
    for statistic in STATISTICS.values():
        psi = influence(statistic, outputs, np.zeros((200, 1)), weight)
        np.testing.assert_allclose(psi.sum(axis=-1) / np.abs(psi).sum(axis=-1), 0.0, atol=1e-6)


def test_gain_of_nothing_is_unknown_and_of_equality_infinite() -> None:
    rho, times = gain(np.array([1.0, 1.0, 0.0]), np.array([1.0, 1.0, 0.0]), np.array([0.5, 0.0, 0.0]))
    np.testing.assert_array_equal(rho, [0.75, 1.0, np.nan])
    np.testing.assert_array_equal(times, [4.0, np.inf, np.nan])
