"""Streamed statistics: equal to those of all events at once, in any chunks, from memory and from a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from shiftlab.bias import Mean, bias, reading
from shiftlab.bias.design import Design, read_design
from shiftlab.bias.measure import measure
from shiftlab.bias.sample import read_sample
from shiftlab.bias.statistic import OfSums, Statistic, sums_of
from shiftlab.bias.sums import Streamed, accumulate, same_events
from shiftlab.errors import DataError
from shiftlab.responses import Responses
from shiftlab.responses.lazy import open_responses
from shiftlab.tasks import named_tasks

EVENTS = 400
SUMMED = ("energy", "segmentation", "particle_id", "particles")


def _rows(toys: Any) -> list[Any]:
    return [toys.nominal, *toys.unisims(["a", "b"]), toys.row("identity", "control")]


def _datasets(toys: Any, rows: list[Any], events: int = EVENTS) -> dict[str, xr.Dataset]:
    """Two arms and seeds of the tasks of sums and of an AUC: clustered, weighted, two samples, not all evaluated."""
    rng = np.random.default_rng(1)
    shape = (2, 2, len(rows), events)
    energy = rng.uniform(200.0, 900.0, (events, 2))
    outputs = {
        "energy": (energy[:, 0] * (1.1 + 0.1 * rng.standard_normal(shape)))[..., None],
        "segmentation": rng.poisson(5.0, (*shape, 53)),
        "particle_id": rng.poisson(1.0, (*shape, 51)),
        "particles": rng.random((*shape, 13)),
        "flavour": rng.standard_normal((*shape, 1)),
    }
    outputs["particles"][..., 1] = outputs["particles"][..., 1] > 0.3
    columns = {
        "arms": ["x", "y"],
        "seeds": [1, 2],
        "vertex": (np.arange(events) // 2).astype(np.int64),
        "weight": rng.uniform(0.2, 3.0, events),
        "sample": np.where(rng.random(events) < 0.6, "numu_cc", "nue_cc").tolist(),
        "evaluated": rng.random(events) < 0.9,
    }
    datasets = {}
    for task, values in outputs.items():
        values[:, :, -1] = values[:, :, 0]  # the identity universe
        truth = (energy[:, :1] > 500.0).astype(float) if task == "flavour" else energy
        datasets[task] = toys.dataset(values.astype(np.float32), rows, truth=truth, **columns)
    return datasets


def _statistics() -> dict[str, Statistic]:
    names = (*SUMMED, "flavour")
    return dict(zip(names, named_tasks(names), strict=True))


def _measure(datasets: Mapping[str, xr.Dataset], statistics: Mapping[str, Statistic]) -> Any:
    design = read_design(datasets)
    return measure(datasets, statistics, design, replicas=20, seed=3, exposure={"numu_cc": 150.0})


@dataclass(frozen=True)
class _AtOnce:
    """The same statistic, without saying that it is a function of sums."""

    task: Statistic

    @property
    def statistic(self) -> str:
        return self.task.statistic

    @property
    def unit(self) -> str:
        return self.task.unit

    def score(self, outputs: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return self.task.score(outputs, truth, weights)


def test_sums_give_what_all_events_at_once_give(toys: Any) -> None:
    """Means, ratios of sums and F1 of summed counts, to 1e-12, for the statistic and for the error of data."""
    datasets, statistics = _datasets(toys, _rows(toys)), _statistics()
    assert [name for name, one in statistics.items() if sums_of(one)] == list(SUMMED)
    streamed = _measure(datasets, statistics)
    whole = _measure(datasets, {name: _AtOnce(one) for name, one in statistics.items()})
    np.testing.assert_allclose(streamed.value, whole.value, rtol=1e-12)
    np.testing.assert_allclose(streamed.sigma_data, whole.sigma_data, rtol=1e-10)


def test_a_universe_equal_to_the_nominal_has_equal_sums_to_the_last_bit(toys: Any) -> None:
    measured = _measure(_datasets(toys, _rows(toys)), _statistics())
    np.testing.assert_array_equal(measured.value[:, :, :, -1], measured.value[:, :, :, 0])


@pytest.mark.parametrize("size", [5, 64])
def test_chunks_of_any_size_give_the_same_sums(toys: Any, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    datasets, statistics = _datasets(toys, _rows(toys), 100), _statistics()
    whole = _measure(datasets, statistics)
    monkeypatch.setattr(reading, "_EVENTS", size)
    monkeypatch.setattr(reading, "_NUMBERS", 2 * 53 * size)
    np.testing.assert_allclose(_measure(datasets, statistics).value, whole.value, rtol=1e-11)


def test_a_file_is_read_in_pieces_and_gives_the_same(toys: Any, tmp_path: Path) -> None:
    datasets = _datasets(toys, _rows(toys))
    Responses(datasets).save(tmp_path / "responses.h5")
    whole = _measure(datasets, _statistics())
    with open_responses(tmp_path / "responses.h5") as store:
        assert store.datasets["energy"]["output"].encoding["chunksizes"]
        lazy = _measure(store.datasets, _statistics())
        loaded = [name for name, data in store.datasets.items() if data["output"].variable._in_memory]
    assert loaded == []
    np.testing.assert_array_equal(lazy.value[:, :, -1], whole.value[:, :, -1])
    np.testing.assert_allclose(lazy.value, whole.value, rtol=1e-11)


def test_pieces_begin_and_end_where_the_chunks_of_the_file_do(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 60 events and 2 universes: pieces of 120 events, the least multiple that is not below 100."""
    monkeypatch.setattr(reading, "_EVENTS", 100)
    data = _datasets(toys, _rows(toys))["energy"]
    data["output"].encoding["chunksizes"] = (1, 1, 2, 60, 1)
    sample = read_sample("energy", data)
    pieces = [sample.index[events] for events in reading.event_blocks(data, sample)]
    assert [int(piece[0]) // 120 for piece in pieces] == [int(piece[-1]) // 120 for piece in pieces] == [0, 1, 2, 3]
    np.testing.assert_array_equal(np.concatenate(pieces), sample.index)
    assert [block.start for block in reading.universe_blocks(data, 2**22 // 2)] == [0, 4]
    assert [block.start for block in reading.universe_blocks(data, 2**22)] == [0, 2, 4]


def _not_finite(datasets: dict[str, xr.Dataset]) -> None:
    bad = datasets["segmentation"]["output"].copy()
    evaluated = np.flatnonzero(datasets["segmentation"]["evaluated"].values)
    bad[1, 0, 2, evaluated[[5, 9]], 3] = np.nan
    bad[1, 0, 4, evaluated[5], 52] = np.inf
    datasets["segmentation"] = datasets["segmentation"].assign(output=bad)


def test_a_streamed_response_that_is_not_finite_is_counted_and_named(toys: Any) -> None:
    datasets = _datasets(toys, _rows(toys))
    keys = datasets["segmentation"]["event"].values[datasets["segmentation"]["evaluated"].values][[5, 9]]
    _not_finite(datasets)
    message = rf"'segmentation', arm 'y', seed 1, universe 'a-1_throw0': 2 of \d+ .*{keys[0]}, {keys[1]}\); 3 over all"
    with pytest.raises(DataError, match=message):
        _measure(datasets, _statistics())


def test_large_finite_responses_are_not_taken_for_infinite(toys: Any) -> None:
    rows = _rows(toys)
    outputs = np.full((1, 1, len(rows), 30, 1), 3e38, dtype=np.float32)
    outputs[..., ::2, :] = 1e38
    data = {"t0": toys.dataset(outputs, rows)}
    assert np.isfinite(_measure(data, {"t0": Mean()}).value).all()


def test_tasks_of_the_same_events_are_streamed_together(toys: Any) -> None:
    datasets = _datasets(toys, _rows(toys), 60)
    fewer = datasets["particles"].isel(event=slice(3, None))
    tasks = [Streamed(data, Mean(), read_sample(name, data)) for name, data in {**datasets, "particles": fewer}.items()]
    assert list(same_events(tasks)) == [[0, 1, 2, 4], [3]]


class _Other(Mean):
    """A mean by name whose score is something else than its terms say."""

    def score(self, outputs: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return super().score(outputs, truth, weights) ** 2


def test_a_score_of_its_own_is_not_replaced_by_inherited_terms(toys: Any) -> None:
    assert isinstance(Mean(), OfSums)
    assert sums_of(_Other()) is None
    datasets = {"t0": toys.dataset(np.random.default_rng(0).random((1, 1, 6, 50, 1)), _rows(toys))}
    plain, other = (_measure(datasets, {"t0": one}).value for one in (Mean(), _Other()))
    np.testing.assert_allclose(other, plain**2, rtol=1e-12)


def test_one_event_key_in_two_vertices_is_refused(toys: Any) -> None:
    datasets = {name: data for name, data in _datasets(toys, _rows(toys)).items() if name in ("energy", "flavour")}
    vertex = datasets["flavour"]["vertex_uid"].values.copy()
    vertex[datasets["flavour"]["evaluated"].values.argmax()] += 1
    datasets["flavour"] = datasets["flavour"].assign_coords(vertex_uid=("event", vertex))
    with pytest.raises(DataError, match=r"tasks 'energy' and 'flavour': 1 of \d+ common events have another vertex in"):
        bias(SimpleNamespace(datasets=datasets), replicas=5)


def test_sums_start_with_the_sum_of_weights(toys: Any) -> None:
    datasets = _datasets(toys, _rows(toys))
    design: Design = read_design(datasets)
    sample = read_sample("energy", datasets["energy"])
    (sums,) = accumulate([Streamed(datasets["energy"], Mean(), sample)], design, 5, seed=0)
    expected = sample.weights(range(5), 0).sum(axis=1)
    np.testing.assert_allclose(sums.universe[0, 0, :, :, 0], np.tile(expected, (len(design.names), 1)), rtol=1e-12)
    np.testing.assert_allclose(sums.alone[:, 0, 0, 0, 0], sample.weight.sum(), rtol=1e-12)
