"""The packed sample format gives back what was written, to the precision that it declares."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from shiftlab.errors import DataError
from shiftlab.events import Deposits, read
from shiftlab.events.sample import read_attributes, write_sample


def test_round_trip(small: Deposits, tmp_path: Path) -> None:
    write_sample(tmp_path / "a.h5", small, {"uid": "test"})
    again = read(tmp_path / "a.h5")
    for name in ("offsets", "semantic", "particle"):
        assert torch.equal(getattr(again, name), getattr(small, name)), name
    np.testing.assert_allclose(again.position, small.position, atol=0.0018)
    np.testing.assert_allclose(again.energy, small.energy, rtol=1.01e-3)
    np.testing.assert_allclose(again.length, small.length, rtol=1.01e-3)
    assert torch.equal(again.length == 0, small.length == 0)
    assert torch.equal(again.events.key, small.events.key)
    assert torch.equal(again.events.vertex, small.events.vertex)
    assert again.events.sample == small.events.sample
    assert torch.equal(again.events.truth["visible_energy"], small.events.truth["visible_energy"])
    assert read_attributes(tmp_path / "a.h5")["uid"] == "test"


def test_writing_what_was_read_gives_the_same_bytes(small: Deposits, tmp_path: Path) -> None:
    write_sample(tmp_path / "a.h5", small, {})
    write_sample(tmp_path / "b.h5", read(tmp_path / "a.h5"), {})
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_plain_h5py_decodes_it_as_the_attribute_says(small: Deposits, tmp_path: Path) -> None:
    write_sample(tmp_path / "a.h5", small, {})
    with h5py.File(tmp_path / "a.h5") as file:
        start, stop = file["events/offsets"][2], file["events/offsets"][3]
        code = np.cumsum(file["deposits/y"][start:stop], dtype=np.uint16)
        y = (code + 0.5) * file.attrs["position_step"]
        energy = file.attrs["smallest"] * np.exp((file["deposits/energy"][start:stop] - 1.0) * file.attrs["log_step"])
        assert json.loads(file.attrs["samples"])[file["events/sample"][2]] == small.events.sample[2]
    np.testing.assert_allclose(y, small.take([2]).position[:, 1], atol=0.0018)
    np.testing.assert_allclose(energy, small.take([2]).energy, rtol=1.01e-3)


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (1, 2), (1, 3), (0, 3)])
def test_a_slice_reads_the_same_events(small: Deposits, tmp_path: Path, start: int, stop: int) -> None:
    write_sample(tmp_path / "a.h5", small, {})
    part = read(tmp_path / "a.h5", events=slice(start, stop))
    wanted = read(tmp_path / "a.h5").take(range(start, stop))
    assert torch.equal(part.position, wanted.position)
    assert torch.equal(part.offsets, wanted.offsets)
    assert torch.equal(part.events.key, wanted.events.key)


def test_deposits_outside_the_box_are_not_written(small: Deposits, tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"before")
    with pytest.raises(DataError, match="outside the virtual detector"):
        write_sample(tmp_path / "a.h5", replace(small, position=small.position + 230.0), {})
    assert (tmp_path / "a.h5").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize("column", ["deposits/energy", "events/key", "events/truth"])
def test_a_missing_column_is_named(small: Deposits, tmp_path: Path, column: str) -> None:
    write_sample(tmp_path / "a.h5", small, {})
    group, name = column.split("/")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file[column]
    with pytest.raises(DataError, match=f"a.h5: group '{group}' has no column '{name}'. It has "):
        read(tmp_path / "a.h5")


def test_columns_of_different_lengths_and_other_versions_are_refused(small: Deposits, tmp_path: Path) -> None:
    write_sample(tmp_path / "a.h5", small, {})
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.attrs["format"] = "shiftlab sample 9"
    with pytest.raises(DataError, match="this version reads 'shiftlab sample 1'"):
        read(tmp_path / "a.h5")
    write_sample(tmp_path / "b.h5", small, {})
    with h5py.File(tmp_path / "b.h5", "a") as file:
        del file["deposits/length"]
        file["deposits/length"] = np.zeros(2, dtype=np.uint16)
    with pytest.raises(DataError, match="does not fit the lengths"):
        read(tmp_path / "b.h5")


def test_duplicate_keys_are_refused(deposits_of: Callable[..., Deposits], tmp_path: Path) -> None:
    write_sample(tmp_path / "a.h5", deposits_of([1, 2]).take([0, 1, 1]), {})
    with pytest.raises(DataError, match="same key"):
        read(tmp_path / "a.h5")
