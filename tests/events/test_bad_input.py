"""Files that cannot be used are refused with one error that names file, event and column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.lib.recfunctions as recfunctions
import pytest
import torch

from shiftlab.errors import DataError
from shiftlab.events import BadEvent, Deposits, read, validate
from shiftlab.events.hdf5 import sort_events
from shiftlab.events.sample import write_sample

GEANT4 = "geant4_singles.h5"
EDEPSIM = "edepsim_mixed.h5"
TRUTH = "edepsim_muons.h5"


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.h5: no such file"):
        read(tmp_path / "absent.h5")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.h5").touch()
    with pytest.raises(DataError, match=r"empty\.h5: the file is empty"):
        read(tmp_path / "empty.h5")


def test_a_file_that_is_not_hdf5(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("event,x,y,z\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"text\.h5: of no known format\. Known are .*geant4"):
        read(tmp_path / "text.h5")


@pytest.mark.parametrize("name", [GEANT4, EDEPSIM])
@pytest.mark.parametrize("fraction", [0.3, 0.9])
def test_a_truncated_file(data: Path, tmp_path: Path, name: str, fraction: float) -> None:
    content = (data / name).read_bytes()
    (tmp_path / "cut.h5").write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(DataError, match=r"cut\.h5: truncated or damaged"):
        read(tmp_path / "cut.h5")


def test_a_truncated_sample(small: Deposits, tmp_path: Path) -> None:
    write_sample(tmp_path / "whole.h5", small, {})
    content = (tmp_path / "whole.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"cut\.h5: truncated or damaged"):
        read(tmp_path / "cut.h5")


def test_hdf5_of_another_kind(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["image"] = np.zeros(4)
    with pytest.raises(DataError, match=r"other\.h5: of no known format"):
        read(tmp_path / "other.h5")


@pytest.mark.parametrize(
    ("name", "table", "column"),
    [
        (GEANT4, "segments", "dE"),
        (GEANT4, "trajectories", "creator"),
        (GEANT4, "vertices", "weight"),
        (EDEPSIM, "segments", "dx"),
    ],
)
def test_a_missing_column_is_named_with_those_that_are_there(
    data: Path, tmp_path: Path, rewrite: Callable[..., Path], name: str, table: str, column: str
) -> None:
    path = rewrite(data / name, tmp_path / "bad.h5", table, lambda rows: recfunctions.drop_fields(rows, column))
    with pytest.raises(DataError, match=rf"bad\.h5: table '{table}' has no column '{column}'.* It has \w+, "):
        read(path)


def test_a_misspelt_column_gets_a_hint(data: Path, tmp_path: Path, rewrite: Callable[..., Path]) -> None:
    path = rewrite(
        data / EDEPSIM,
        tmp_path / "bad.h5",
        "segments",
        lambda rows: recfunctions.rename_fields(rows, {"t_start": "t_strt"}),
    )
    with pytest.raises(DataError, match=r"no column 't_start'\. Is it 't_strt'\?"):
        read(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
@pytest.mark.parametrize(("name", "event"), [(GEANT4, "event_id"), (EDEPSIM, "eventID")])
def test_impossible_energies_are_refused_with_their_event(
    data: Path, tmp_path: Path, rewrite: Callable[..., Path], name: str, event: str, value: float
) -> None:
    number: list[int] = []

    def spoil(rows: Any) -> Any:
        rows["dE"][5] = value
        number.append(int(rows[event][5]))
        return rows

    path = rewrite(data / name, tmp_path / "bad.h5", "segments", spoil)
    with pytest.raises(DataError, match=rf"bad\.h5: table 'segments', event {number[0]}: column 'dE' is"):
        read(path)


def test_a_position_that_is_not_a_number(data: Path, tmp_path: Path, rewrite: Callable[..., Path]) -> None:
    def spoil(rows: Any) -> Any:
        rows["y_end"][7] = np.nan
        return rows

    with pytest.raises(DataError, match="column 'y_end' is nan"):
        read(rewrite(data / EDEPSIM, tmp_path / "bad.h5", "segments", spoil))


def test_a_repeated_event_is_refused_where_it_is_and_can_be_left_out(
    data: Path, tmp_path: Path, rewrite: Callable[..., Path]
) -> None:
    path = rewrite(data / GEANT4, tmp_path / "bad.h5", "vertices", lambda rows: rows[[0, 1, 1, 2, 3, 4, 5, 6]])
    with pytest.raises(DataError, match=r"rows 1 and 2: the table 'vertices' has event_id \d+ twice"):
        read(path)
    skipped: list[BadEvent] = []
    assert len(read(path, skipped=skipped)) == 6
    assert [one.number for one in skipped] == [1, 2]
    assert len(read(path, events=slice(3, 8))) == 5


@pytest.mark.parametrize(
    ("name", "table", "column"),
    [
        (GEANT4, "vertices", "event_id"),
        (GEANT4, "trajectories", "event_id"),
        (GEANT4, "segments", "event_id"),
        (EDEPSIM, "segments", "eventID"),
        (TRUTH, "vertices", "event_id"),
        (TRUTH, "trajectories", "event_id"),
        (TRUTH, "segments", "event_id"),
    ],
)
def test_unsorted_events_are_refused_with_their_row_and_a_sorted_copy_is_the_remedy(
    data: Path, tmp_path: Path, rewrite: Callable[..., Path], name: str, table: str, column: str
) -> None:
    def last_event_first(rows: Any) -> Any:
        last = rows[column] == rows[column].max()
        return np.concatenate([rows[last], rows[~last]])

    path = rewrite(data / name, tmp_path / "bad.h5", table, last_event_first)
    with pytest.raises(DataError, match=rf"bad\.h5: table '{table}', row \d+: {column} \d+ after \d+: unsorted events"):
        read(path)
    sort_events(path, tmp_path / "sorted.h5")
    assert torch.equal(read(tmp_path / "sorted.h5").energy, read(data / name).energy)
    with pytest.raises(DataError, match="exists"):
        sort_events(path, tmp_path / "sorted.h5")


def test_segments_of_an_unknown_event_or_trajectory(data: Path, tmp_path: Path, rewrite: Callable[..., Path]) -> None:
    path = rewrite(data / GEANT4, tmp_path / "event.h5", "vertices", lambda rows: np.delete(rows, 3))
    with pytest.raises(DataError, match="event_id 87 is not in the table 'vertices'"):
        read(path)
    path = rewrite(data / GEANT4, tmp_path / "track.h5", "trajectories", lambda rows: rows[rows["traj_id"] != 1])
    with pytest.raises(DataError, match=r"parent_id 1 is not in the table 'trajectories'"):
        read(path)


@pytest.mark.parametrize(("name", "table"), [(GEANT4, "vertices"), (EDEPSIM, "segments")])
def test_a_table_without_rows(data: Path, tmp_path: Path, rewrite: Callable[..., Path], name: str, table: str) -> None:
    path = rewrite(data / name, tmp_path / "bad.h5", table, lambda rows: rows[:0])
    with pytest.raises(DataError, match=f"table '{table}' is empty|no events"):
        read(path)


@pytest.mark.parametrize("events", [slice(5, 5), slice(0, 4, 2), slice(99, None)])
def test_an_empty_or_stepped_selection(data: Path, events: slice) -> None:
    with pytest.raises(DataError, match="non-empty slice of step 1"):
        read(data / GEANT4, events=events)


def test_validation_names_event_and_column(small: Deposits) -> None:
    energy, position = small.energy.clone(), small.position.clone()
    energy[4] = -1.0
    position[1, 2] = torch.nan
    with pytest.raises(DataError, match=r"a\.h5: event 2, deposit 1: energy is negative \(-"):
        validate(replace(small, energy=energy), "a.h5")
    with pytest.raises(DataError, match=r"event 0, deposit 1: position z is NaN or infinite"):
        validate(replace(small, position=position), "a.h5")
    with pytest.raises(DataError, match="event 0, deposit 0: length is NaN or infinite"):
        validate(replace(small, length=small.length + torch.inf), "a.h5")
    with pytest.raises(DataError, match="events 0 and 2 have the same key"):
        validate(small.take([0, 1, 0]), "a.h5")
    with pytest.raises(DataError, match="no events"):
        validate(small.take([]), "a.h5")
