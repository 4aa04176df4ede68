"""A store says which scrambling a joint universe is of and which nuisances are correlated; older ones say neither."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from shiftlab.bias.design import read_design
from shiftlab.errors import DataError
from shiftlab.responses import Responses


@pytest.fixture
def data() -> xr.Dataset:
    """One arm, one task, three universes and two nuisances, as stores were before."""
    shape = (1, 1, 3, 2, 1)
    over = ("arm", "seed", "universe", "event")
    return xr.Dataset(
        {
            "output": ((*over, "output"), np.zeros(shape, dtype=np.float32)),
            "observable": (over, np.zeros(shape[:4], dtype=np.float32)),
            "selected": (over, np.ones(shape[:4], dtype=np.bool_)),
            "truth": (("event", "truth_column"), np.zeros((2, 1))),
            "evaluated": (("event",), np.ones(2, dtype=np.bool_)),
        },
        coords={
            **{"arm": ["classic"], "seed": [0], "universe": ["nominal", "joint_00", "joint_01"]},
            **{"event": np.array([7, 8], dtype=np.int64), "nuisance": ["a", "b"]},
            **{
                "vertex_uid": ("event", np.array([1, 2])),
                "weight": ("event", np.ones(2)),
                "sample": ("event", ["x"] * 2),
            },
            "group": ("universe", ["nominal", "multisim", "multisim"]),
            "throw": ("universe", np.array([0, 1000, 1001])),
            "recalibrate": ("universe", ["none"] * 3),
            "nuisance_value": (("universe", "nuisance"), np.array([[0, 0], [0.5, 1], [2, -1.0]])),
        },
        attrs={"statistic": "mean", "unit": "", "observable_label": "score"},
    )


def _more(data: xr.Dataset, numbers: list[int], rho: float) -> xr.Dataset:
    prior = np.array([[1.0, rho], [rho, 1.0]])
    more = {"scrambling": ("universe", np.array(numbers)), "other_nuisance": ["a", "b"]}
    return data.assign_coords(more | {"prior_correlation": (("nuisance", "other_nuisance"), prior)})


def test_scramblings_and_prior_are_read_back_as_they_were_written(data: xr.Dataset, tmp_path: Path) -> None:
    Responses({"t": _more(data, [0, 1, 2], 0.5)}).save(tmp_path / "responses.h5")
    again = Responses.load(tmp_path / "responses.h5")
    xr.testing.assert_identical(again.datasets["t"], _more(data, [0, 1, 2], 0.5))
    design = read_design(again.datasets)
    assert design.scrambling.tolist() == [0, 1, 2]
    assert design.prior.tolist() == [[1.0, 0.5], [0.5, 1.0]]


def test_an_older_store_has_one_sequence_and_independent_nuisances(data: xr.Dataset, tmp_path: Path) -> None:
    Responses({"t": data}).save(tmp_path / "responses.h5")
    design = read_design(Responses.load(tmp_path / "responses.h5").datasets)
    assert not design.scrambling.any()
    assert np.array_equal(design.prior, np.eye(2))


def test_tasks_with_other_scramblings_or_another_prior_are_never_joined(data: xr.Dataset) -> None:
    for other, name in (
        (_more(data, [0, 2, 1], 0.5), "scrambling"),
        (_more(data, [0, 1, 2], 0.4), "prior_correlation"),
    ):
        with pytest.raises(DataError, match=f"tasks 't' and 'u' differ in '{name}'"):
            Responses({"t": _more(data, [0, 1, 2], 0.5), "u": other})
    with pytest.raises(DataError, match="differ in 'scrambling'"):
        Responses({"t": _more(data, [0, 1, 2], 0.5), "u": data})


def test_a_coordinate_over_another_dimension_is_refused(data: xr.Dataset) -> None:
    with pytest.raises(DataError, match="'scrambling' has dimensions"):
        Responses({"t": data.assign_coords(scrambling=("event", np.array([0, 1])))})
