"""A saved response is the same response: same numbers, same bytes; what cannot be trusted is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from shiftlab.errors import DataError, UnknownNameError
from shiftlab.responses import Responses

KEYS = [11, -7, 2**62]


def dataset(shift: float = 0.0, universes: tuple[str, ...] = ("nominal", "gain_scale+1")) -> xr.Dataset:
    """Two arms, one seed, two universes, three events, two outputs."""
    arms, n = ["foundation", "classic"], len(universes)
    output = np.arange(2 * 1 * n * 3 * 2, dtype=np.float32).reshape(2, 1, n, 3, 2) + np.float32(shift)
    return xr.Dataset(
        {
            "output": (("arm", "seed", "universe", "event", "output"), output),
            "observable": (("arm", "seed", "universe", "event"), output[..., 0]),
            "selected": (("arm", "seed", "universe", "event"), output[..., 0] > 3),
            "truth": (("event", "truth_column"), np.ones((3, 1))),
            "evaluated": (("event",), np.array([True, False, True])),
        },
        coords={
            "arm": arms,
            "seed": [0],
            "universe": list(universes),
            "event": np.array(KEYS, dtype=np.int64),
            "nuisance": ["gain_scale"],
            "vertex_uid": (("event",), np.array([1, 1, 2], dtype=np.int64)),
            "weight": (("event",), np.ones(3)),
            "sample": (("event",), ["numu_cc", "numu_cc", "nue_cc"]),
            "group": (("universe",), ["nominal"] + ["unisim"] * (n - 1)),
            "throw": (("universe",), np.zeros(n, dtype=np.int64)),
            "recalibrate": (("universe",), ["none"] * n),
            "nuisance_value": (("universe", "nuisance"), np.arange(n, dtype=np.float64)[:, None]),
        },
        attrs={"statistic": "auc", "unit": "1", "observable_label": "score"},
    )


def test_saved_and_loaded_responses_hold_the_same_numbers_types_and_attributes(tmp_path: Path) -> None:
    responses = Responses({"energy": dataset(), "flavour": dataset(1.0)}, {"identity": "abc"})
    responses.save(tmp_path / "responses.h5")
    again = Responses.load(tmp_path / "responses.h5")
    assert again.tasks == ("energy", "flavour")
    assert again.attrs == {"identity": "abc"}
    for task in responses.tasks:
        xr.testing.assert_identical(again.datasets[task], responses.datasets[task])
        for name, variable in responses.datasets[task].variables.items():
            assert again.datasets[task][name].dtype.kind == variable.dtype.kind


def test_equal_responses_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        Responses({"energy": dataset()}, {"identity": "abc"}).save(tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_loaded_response_saved_again_gives_the_same_bytes(tmp_path: Path) -> None:
    Responses({"energy": dataset()}, {"identity": "abc"}).save(tmp_path / "a.h5")
    Responses.load(tmp_path / "a.h5").save(tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize("name", ["output", "observable", "truth", "weight"])
def test_a_number_that_is_not_finite_is_refused_and_placed(name: str) -> None:
    data = dataset()
    values = data[name].values.copy()
    values.reshape(-1)[-1] = np.nan
    data[name] = (data[name].dims, values)
    with pytest.raises(DataError, match=rf"'energy': 1 of .* of '{name}' are not finite, .* at .*event {2**62}"):
        Responses({"energy": data})


def test_a_universe_that_occurs_twice_is_refused() -> None:
    with pytest.raises(DataError, match="universe 'nominal' occurs twice"):
        Responses({"energy": dataset(universes=("nominal", "nominal"))})


def test_an_event_key_that_occurs_twice_is_refused() -> None:
    data = dataset().assign_coords(event=np.array([11, 11, 2], dtype=np.int64))
    with pytest.raises(DataError, match="event '11' occurs twice"):
        Responses({"energy": data})


def test_tasks_that_disagree_on_a_vertex_are_refused() -> None:
    other = dataset().assign_coords(vertex_uid=(("event",), np.array([1, 9, 2], dtype=np.int64)))
    with pytest.raises(DataError, match="event -7 has another 'vertex_uid'"):
        Responses({"energy": dataset(), "flavour": other})


def test_tasks_that_disagree_on_the_universes_are_refused() -> None:
    with pytest.raises(DataError, match="differ in 'universe'"):
        Responses({"energy": dataset(), "flavour": dataset(universes=("nominal", "noise_enc+1"))})


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(DataError, match="no variable 'truth'"):
        Responses({"energy": dataset().drop_vars("truth")})


def test_a_truncated_file_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "responses.h5"
    Responses({"energy": dataset()}).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="cannot read responses"):
        Responses.load(path)


def test_an_unknown_task_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'energy'"):
        Responses({"energy": dataset()}).task("enrgy")


FULL_DISK = """
import resource, sys
from pathlib import Path
from shiftlab.errors import RunError
from shiftlab.responses import Responses
path = Path(sys.argv[1])
responses = Responses.load(path)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    responses.save(path)
except RunError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_previous_responses(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    path = tmp_path / "responses.h5"
    Responses({"energy": dataset()}).save(path)
    before = path.read_bytes()
    words = [sys.executable, "-W", "error", "-c", FULL_DISK, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert "previous file stays" in done.stdout
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["responses.h5"]
