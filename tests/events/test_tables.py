"""Tables are read block by block: any range of events, whatever the blocks, and never an event in two places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shiftlab.errors import DataError
from shiftlab.events.hdf5 import open_hdf5, reading, refuse_overlap, tables
from shiftlab.events.hdf5.tables import EventRows

WANTED = {"event": "integer", "dE": "real"}
NAMES = {"event": "event_id"}


def written(path: Path, counts: list[int], chunk: int | None) -> Any:
    """Events 0, 2, 4, ... of so many rows each; dE is the number of the row."""
    rows = np.zeros(sum(counts), dtype=[("dE", "f4"), ("event_id", "u4")])
    rows["event_id"] = np.repeat(2 * np.arange(len(counts)), counts)
    rows["dE"] = np.arange(len(rows))
    with h5py.File(path, "w") as file:
        file.create_dataset("segments", data=rows, chunks=(chunk,) if chunk and len(rows) >= chunk else None)
    return rows


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_range_in_any_order_gives_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    counts = data.draw(st.lists(st.integers(0, 12), min_size=1, max_size=20))
    monkeypatch.setattr(tables, "_BLOCK_BYTES", 8 * data.draw(st.integers(1, 40)))
    path = tmp_path / "a.h5"
    rows = written(path, counts, data.draw(st.sampled_from([None, 1, 3, 7])))
    with open_hdf5(path) as file:
        table = EventRows(file, "segments", WANTED, NAMES)
        np.testing.assert_array_equal(table.events(), np.unique(rows["event_id"]))
        for _ in range(4):
            first, before = sorted(data.draw(st.tuples(*[st.integers(-2, 2 * len(counts) + 2)] * 2)))
            block = table.between(first, before)
            mine = rows[(rows["event_id"] >= first) & (rows["event_id"] < before)]
            np.testing.assert_array_equal(block.reals("dE"), mine["dE"])
            if len(mine):
                assert block.first == mine["dE"][0]
        assert len(table.between(None, None)) == len(rows)


def test_memory_holds_one_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_BLOCK_BYTES", 800)
    written(tmp_path / "a.h5", [10] * 1000, 25)
    with open_hdf5(tmp_path / "a.h5") as file:
        table = EventRows(file, "segments", WANTED, NAMES)
        for event in range(1000):
            assert sum(piece.base.nbytes for piece in table.between(2 * event, 2 * event + 2).pieces) <= 1600


def test_reading_from_first_to_last_reads_each_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_BLOCK_BYTES", 800)
    written(tmp_path / "a.h5", [7] * 300, 20)
    with open_hdf5(tmp_path / "a.h5") as file:
        table = EventRows(file, "segments", WANTED, NAMES)
        asked: list[int] = []
        whole = table.dataset

        class Counted:
            shape = whole.shape

            def __len__(self) -> int:
                return len(whole)

            def __getitem__(self, rows: Any) -> Any:
                block = whole[rows]
                asked.append(block.size)
                return block

        table.dataset = Counted()
        for event in range(0, 600, 10):
            table.between(event or None, event + 10)
    assert sum(asked) == 7 * 300


@pytest.mark.parametrize("row", [1, 99, 100, 101, 250])
def test_a_row_out_of_order_is_found_also_where_blocks_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: int
) -> None:
    monkeypatch.setattr(tables, "_BLOCK_BYTES", 800)
    rows = written(tmp_path / "a.h5", [1] * 300, None)
    rows[row]["event_id"] = 598 if row == 1 else 0
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["segments"] = rows
    wrong = 2 if row == 1 else row
    with open_hdf5(tmp_path / "b.h5") as file:
        table = EventRows(file, "segments", WANTED, NAMES)
        with pytest.raises(DataError, match=rf"b\.h5: table 'segments', row {wrong}: event_id \d+ after \d+: unsorted"):
            table.events()


@pytest.mark.parametrize(
    ("kind", "dtype", "what"),
    [
        ("real", "i4", "floating-point numbers"),
        ("real", "S8", "floating-point numbers"),
        ("integer", "f8", "integers"),
        ("vector", "f4", "three floating-point numbers a row"),
    ],
)
def test_a_column_of_another_type_is_refused_when_the_file_is_opened(
    tmp_path: Path, kind: str, dtype: str, what: str
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["segments"] = np.zeros(3, dtype=[("event_id", "u4"), ("dE", dtype)])
    with (
        open_hdf5(tmp_path / "a.h5") as file,
        pytest.raises(DataError, match=rf"a\.h5: table 'segments': column 'dE' is of type .*; allowed: {what}"),
    ):
        EventRows(file, "segments", {"event": "integer", "dE": kind}, NAMES)


def test_a_table_that_claims_more_rows_than_its_bytes_hold(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("segments", (10**12,), dtype=[("event_id", "u4"), ("dE", "f4")], chunks=(1000,))
    with (
        open_hdf5(tmp_path / "a.h5") as file,
        pytest.raises(DataError, match=r"claims 1000000000000 rows .* holds 0 bytes"),
    ):
        EventRows(file, "segments", WANTED, NAMES)


def test_the_callers_own_errors_are_not_blamed_on_the_file(tmp_path: Path) -> None:
    written(tmp_path / "a.h5", [3], None)
    with pytest.raises(OSError, match="No space left"), open_hdf5(tmp_path / "a.h5"):
        raise OSError(28, "No space left on device")
    with pytest.raises(DataError, match=r"a\.h5: truncated or damaged"), reading(tmp_path / "a.h5"):
        raise OSError("unable to read raw data chunk")


def test_columns_that_lie_in_each_others_bytes_are_refused() -> None:
    # A damaged exponent makes a float of four bytes one of eight; HDF5 would then write past the rows.
    sound = {"names": ["dE", "dx"], "formats": ["f4", "f4"], "offsets": [4, 0]}
    refuse_overlap(np.dtype(sound), "here")
    with pytest.raises(DataError, match=r"here: column 'dE' lies in the bytes of 'dx'"):
        refuse_overlap(np.dtype({**sound, "formats": ["f4", "f8"], "itemsize": 8}), "here")
