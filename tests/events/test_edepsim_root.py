"""TG4Events: millimetres and nanoseconds become cm and us, and a ROOT file gives the events of its HDF5 form.

The comparison needs edep-sim's file ``examples/inputs/muon_1-4GeV.root`` of the repository DanielMDouglas/GAMPixPy
(MIT), of which ``edepsim_muons.h5`` holds two events: SHIFTLAB_EDEPSIM_ROOT names where it is.
"""

from __future__ import annotations

import importlib.util
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shiftlab.errors import ConfigError, DataError
from shiftlab.events import concatenate, open_events, read, readers, stream
from shiftlab.events.edepsim import EdepSimRootReader
from shiftlab.events.edepsim.root_events import join_records, record

OBJECT = struct.pack(">HII", 1, 0, 0x02000000)
LAYOUTS = {
    "TG4HitSegment": [
        ("TObject", "TObject"),
        ("Contrib", "vector<int>"),
        ("PrimaryId", "int"),
        ("EnergyDeposit", "float"),
        ("Start", "TLorentzVector"),
        ("Stop", "TLorentzVector"),
    ],
    "TG4TrajectoryPoint": [("Position", "TLorentzVector"), ("Process", "int"), ("Subprocess", "int")],
    "TG4PrimaryParticle": [("TrackId", "int"), ("Name", "string")],
}


@pytest.fixture(scope="module")
def muons() -> Path:
    path = os.environ.get("SHIFTLAB_EDEPSIM_ROOT")
    if path is None:
        pytest.skip("SHIFTLAB_EDEPSIM_ROOT does not name edep-sim's muon_1-4GeV.root")
    pytest.importorskip("uproot")
    return Path(path)


def four_vector(values: tuple[float, float, float, float]) -> bytes:
    x, y, z, e = values
    three = struct.pack(">IH", 0x40000000 | 36, 3) + OBJECT + struct.pack(">3d", x, y, z)
    return struct.pack(">IH", 0x40000000 | 60, 4) + OBJECT + three + struct.pack(">d", e)


def array(content: bytes) -> Any:
    return np.frombuffer(content, dtype=np.uint8)


def vectors(*contents: bytes) -> Any:
    body = struct.pack(">HH", 0x4009, 1) + b"".join(contents)
    return array(struct.pack(">I", 0x40000000 | len(body)) + body)


def event(*, contributor: int = 1, parent: int = 0, energy: float = 2.0, x: float = 10.0) -> dict[str, Any]:
    """A muon (0) at (10, 20, 30) mm and 5 ns with a knocked-on electron (1) that leaves one segment."""
    lists = struct.pack(">ii", 1, contributor)
    segment = struct.pack(">I", 1) + OBJECT + struct.pack(">IH", 0x40000000 | (len(lists) + 2), 9) + lists
    segment += struct.pack(">if", 0, energy) + four_vector((x, 20.0, 30.0, 5.0)) + four_vector((x, 20.0, 31.0, 6.0))
    point = struct.pack(">I", 1) + four_vector((10.0, 20.0, 30.0, 5.0))
    return {
        "vertices": array(four_vector((10.0, 20.0, 30.0, 5.0))),
        "primaries": vectors(struct.pack(">Ii", 1, 0) + struct.pack(">IH", 0x40000000 | 6, 9) + b"\x03mu-"),
        "number": np.array([0, 1]),
        "parent": np.array([-1, parent]),
        "pdg": np.array([13, 11]),
        "momentum": array(four_vector((0.0, 0.0, 1000.0, 1005.57)) + four_vector((0.0, 0.0, 10.0, 10.013))),
        "points": vectors(point + struct.pack(">ii", 0, 0), point + struct.pack(">ii", 2, 2)),
        "detectors": np.array(["argon"], dtype=object),
        "segments": vectors(segment),
    }


def test_units_and_links_of_a_small_event() -> None:
    steps, trajectories, tracks, vertices = join_records(
        [record(event(), LAYOUTS, "here"), record(event(), LAYOUTS, "")]
    )
    np.testing.assert_allclose(steps.start, [[1.0, 2.0, 3.0]] * 2)
    np.testing.assert_allclose(steps.end, [[1.0, 2.0, 3.1]] * 2)
    np.testing.assert_allclose(steps.time, 0.005)
    assert steps.event.tolist() == [0, 1]
    assert steps.track.tolist() == [1, 3]
    assert tracks.parent.tolist() == [0, 1, 0, 1]
    assert tracks.creator.tolist() == [b"primary", b"Ionisation"] * 2
    np.testing.assert_allclose(tracks.kinetic[:2], [np.hypot(1000.0, 105.6583755) - 105.6583755, 9.502], rtol=1e-4)
    np.testing.assert_allclose(vertices.place, [[1.0, 2.0, 3.0]] * 2)
    assert trajectories.vertex.tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"contributor": 8}, "a segment names trajectory 8, which is not there"),
        ({"parent": 5}, "trajectory 1 has a parent that is not there"),
        ({"parent": 1}, "trajectory 1 is its own ancestor"),
        ({"energy": -1.0}, "energy 0 is -1.0; allowed: finite numbers, not negative"),
        ({"x": np.nan}, "start 0 is .*nan"),
    ],
)
def test_bad_events_are_refused_with_their_place(given: dict[str, Any], what: str) -> None:
    with pytest.raises(DataError, match=f"^here: {what}"):
        join_records([record(event(**given), LAYOUTS, "here")])


def test_the_reader_is_found_and_knows_files_by_content(tmp_path: Path, data: Path) -> None:
    assert "edepsim_root" in readers().names()
    reader = EdepSimRootReader()
    (tmp_path / "a.h5").write_bytes(b"root" + bytes(200) + b"EDepSimEvents")
    (tmp_path / "b.root").write_bytes(b"root" + bytes(200) + b"CollectionTree")
    (tmp_path / "c.root").write_bytes(b"ro")
    assert reader.accepts(tmp_path / "a.h5")
    assert not any(reader.accepts(tmp_path / name) for name in ("b.root", "c.root"))
    assert not reader.accepts(data / "edepsim_muons.h5")


def test_without_uproot_the_command_that_installs_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uproot", None)
    (tmp_path / "a.root").write_bytes(b"root" + bytes(200) + b"EDepSimEvents")
    with pytest.raises(ConfigError, match=r'a\.root: .* pip install "shiftlab\[root\]"'):
        read(tmp_path / "a.root")


@pytest.mark.skipif(importlib.util.find_spec("uproot") is None, reason="needs uproot")
def test_a_damaged_root_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.root").write_bytes(b"root" + bytes(200) + b"EDepSimEvents")
    with pytest.raises(DataError, match=r"a\.root: (truncated or damaged ROOT file|no tree 'EDepSimEvents')"):
        read(tmp_path / "a.root")


def test_the_root_file_gives_the_events_of_its_hdf5_form(muons: Path, data: Path) -> None:
    other = read(data / "edepsim_muons.h5")
    with open_events(muons) as source:
        assert (source.describe().format, len(source)) == ("edepsim_root", 10)
        mine = concatenate([source.read(slice(i, i + 1)) for i in (4, 6)])
    assert torch.equal(mine.offsets, other.offsets)
    assert torch.equal(mine.energy, other.energy)
    for name in ("semantic", "particle", "instance"):
        assert torch.equal(getattr(mine, name), getattr(other, name)), name
    # The HDF5 form has float32 ends of steps, some of which are tens of metres away.
    assert ((mine.position - other.position).abs() <= 1e-4 + 5e-7 * other.position.abs()).all()
    assert torch.allclose(mine.length, other.length, atol=1e-3)
    assert torch.equal(mine.events.vertex, other.events.vertex)


def test_slices_of_the_root_file_agree_and_a_truncated_one_is_refused(muons: Path, tmp_path: Path) -> None:
    whole = read(muons)
    assert torch.equal(torch.cat([one.energy for one in stream(muons, chunk=3)]), whole.energy)
    (tmp_path / "cut.root").write_bytes(muons.read_bytes()[:1_500_000])
    with pytest.raises(DataError, match=r"cut\.root"):
        read(tmp_path / "cut.root")
