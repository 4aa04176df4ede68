"""Sample files of versions 1 and 2: old ones stay readable bit for bit, and what is wrong in a file is named."""

from __future__ import annotations

import contextlib
import hashlib
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
from shiftlab.events.sample import check_digest, read_attributes, write_sample


def test_version_1_stays_readable_bit_for_bit(data: Path) -> None:
    # The digest is of what the reader of version 1 gave when version 1 was written.
    events = read(data / "shiftlab_sample_1.h5")
    assert events.offsets.tolist() == [0, 40, 40, 70]
    assert events.semantic[:2].tolist() == [-1, -1]
    assert (float(events.length[5]), float(events.energy[6])) == (0.0, 0.0)
    total = hashlib.sha256()
    for name in ("position", "energy", "length", "semantic", "particle"):
        total.update(getattr(events, name).numpy().tobytes())
    for name in ("key", "vertex", "weight"):
        total.update(getattr(events.events, name).numpy().tobytes())
    assert total.hexdigest() == "cbaa96061e8d844b709798b7f2c8f75ae1bec0d1d0f6dbacfa7a59f4f0e1011f"


def test_version_2_says_the_same_as_version_1(data: Path, tmp_path: Path) -> None:
    old = read(data / "shiftlab_sample_1.h5")
    write_sample(tmp_path / "new.h5", old, {})
    new = read(tmp_path / "new.h5")
    for name in ("offsets", "position", "energy", "length", "semantic", "particle"):
        assert torch.equal(getattr(new, name), getattr(old, name)), name
    assert new.events.sample == old.events.sample
    assert new.events.truth.keys() == old.events.truth.keys()


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
        y = file.attrs["position_origin"][1] + (code + 0.5) * file.attrs["position_step"][1]
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
    with pytest.raises(DataError, match=r"a.h5: event 0, deposit 1: x = 231 cm is outside the box 0 to 230.4 cm"):
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
    with pytest.raises(DataError, match="this version reads 'shiftlab sample 1' and 'shiftlab sample 2'"):
        read(tmp_path / "a.h5")
    write_sample(tmp_path / "b.h5", small, {})
    with h5py.File(tmp_path / "b.h5", "a") as file:
        del file["deposits/length"]
        file["deposits/length"] = np.zeros(2, dtype=np.uint16)
    with pytest.raises(DataError, match="does not fit the lengths"):
        read(tmp_path / "b.h5")


def test_duplicate_keys_are_not_written(deposits_of: Callable[..., Deposits], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="same key"):
        write_sample(tmp_path / "a.h5", deposits_of([1, 2]).take([0, 1, 1]), {})
    assert list(tmp_path.iterdir()) == []


def test_duplicate_keys_are_not_read(small: Deposits, tmp_path: Path) -> None:
    write_sample(tmp_path / "a.h5", small, {})
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["events/key"][1] = file["events/key"][0]
    with pytest.raises(DataError, match="same key"):
        read(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (
            "events/offsets",
            np.array([0, 4, 3, 5], dtype=np.int64),
            "events/offsets must ascend from 0 to 5; see event 1",
        ),
        ("events/offsets", np.array([0, 3, 5], dtype=np.int64), "is of 2 events; events/key is of 3"),
        ("events/sample", np.array([0, 1, 2], dtype=np.uint16), "event 2: sample 2; the file names 2 samples"),
        ("events/selected", np.array([0, 7, 1], dtype=np.uint8), "has the value 7; allowed are 0 and 1"),
        ("events/weight", np.array([1.0, np.nan, 1.0]), "event 1: weight is NaN"),
        (
            "events/weight",
            np.zeros(3, dtype=np.float32),
            "column 'events/weight' is float32 of shape .* must be float64",
        ),
        ("deposits/energy", np.full((5, 1), 9, dtype=np.uint16), r"is uint16 of shape \(5, 1\)"),
        ("deposits/energy", np.full(5, 65535, dtype=np.uint16), "event 0, deposit 0: energy is NaN or infinite"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(
    small: Deposits, tmp_path: Path, column: str, values: np.ndarray, message: str
) -> None:
    write_sample(tmp_path / "a.h5", small, {})
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file[column]
        file[column] = values
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("holds", "waves", "attribute 'holds' is 'waves'; allowed: deposits, images, tokens"),
        ("samples", "a, b", "attribute 'samples' must be a list in JSON; it is 'a, b'"),
        ("log_step", 0.01, "this version decodes log_step 0.002"),
        ("position_step", 0.01, "that say how deposits decode are not whole"),
        ("position_origin", [0.0, np.nan, 0.0], "must be three numbers each"),
    ],
)
def test_attributes_that_decide_the_decoding_are_checked(
    small: Deposits, tmp_path: Path, attribute: str, value: object, message: str
) -> None:
    write_sample(tmp_path / "a.h5", small, {})
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.attrs[attribute] = value
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.h5")


def test_a_changed_byte_is_found_by_the_digest(small: Deposits, tmp_path: Path) -> None:
    write_sample(tmp_path / "a.h5", small, {})
    assert check_digest(tmp_path / "a.h5").holds
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["deposits/semantic"][1] = 3
    assert not check_digest(tmp_path / "a.h5").holds
    read(tmp_path / "a.h5")


def test_every_damaged_file_gives_a_clear_error_or_sound_events(small: Deposits, tmp_path: Path) -> None:
    write_sample(tmp_path / "a.h5", small, {})
    content = bytearray((tmp_path / "a.h5").read_bytes())
    random = np.random.default_rng(3)
    for _ in range(120):
        bad = bytearray(content)
        for place in random.integers(0, len(bad), random.integers(1, 4)):
            bad[place] = random.integers(0, 256)
        (tmp_path / "bad.h5").write_bytes(bad)
        with contextlib.suppress(DataError):
            assert len(read(tmp_path / "bad.h5")) > 0


def test_a_column_that_lost_its_compression_is_refused_and_not_filled_from_memory(tmp_path: Path) -> None:
    """Two zeroed bytes hide the filter of deposits/x; HDF5 then takes the compressed bytes for plain ones."""
    source = Path(__file__).parents[1] / "data" / "shiftlab_sample_1.h5"
    content = bytearray(source.read_bytes())
    content[1929:1931] = bytes(2)
    (tmp_path / "bad.h5").write_bytes(content)
    with h5py.File(tmp_path / "bad.h5") as file:
        assert file["deposits/x"].compression is None
    with pytest.raises(DataError, match=r"column 'deposits/x': [0-9]+ bytes are stored of 140: truncated or damaged"):
        read(tmp_path / "bad.h5")
