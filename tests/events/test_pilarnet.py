"""PILArNet-M files of every revision give the voxels, labels and particles that they hold, and bad ones are named."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shiftlab.errors import DataError
from shiftlab.events import BadEvent, Deposits, open_events, read, stream

EVENT = "pilarnet_event.h5"
REVISIONS = ("v1", "v2", "v3", "v3_extra")


@dataclass
class Event:
    """One event as the file has it: rows of 8 per voxel, of 6 and of up to 11 per cluster."""

    point: np.ndarray = field(default_factory=lambda: np.zeros((0, 8), np.float32))
    cluster: np.ndarray = field(default_factory=lambda: np.zeros((0, 6), np.int64))
    extra: np.ndarray = field(default_factory=lambda: np.zeros((0, 11), np.float32))


def make_event(seed: int, sizes: Sequence[int], groups: Sequence[int] | None = None) -> Event:
    """An event with clusters of these sizes, the first of low energy and without a group."""
    rng = np.random.default_rng(seed)
    total, count = sum(sizes), len(sizes)
    point = rng.random((total, 8)).astype(np.float32)
    point[:, :3] = rng.integers(0, 768, (total, 3))
    point[:, 4] = point[:, 3]
    point[:, 6] = np.rint(3e4 * point[:, 4])
    point[:, 7] *= 0.3
    cluster = np.zeros((count, 6), np.int64)
    cluster[:, 0] = sizes
    cluster[:, 1] = np.arange(count) - 1
    cluster[:, 2] = cluster[:, 1] if groups is None else groups
    cluster[:, 3] = np.minimum(cluster[:, 2], rng.integers(0, 4, count))
    cluster[:, 4] = np.where(cluster[:, 2] < 0, 4, rng.integers(0, 4, count))
    cluster[:, 5] = np.where(cluster[:, 2] < 0, -1, rng.integers(0, 6, count))
    extra = (1 + 99 * rng.random((count, 11))).astype(np.float32)
    extra[:, 5] = rng.integers(0, 2, count)
    extra[cluster[:, 2] < 0] = -1
    return Event(point, cluster, extra)


def write_pilarnet(
    path: Path,
    events: Sequence[Event],
    revision: str = "v2",
    *,
    packed: int = 0,
    attributes: dict[str, Any] | None = None,
) -> Path:
    """Write events in the layout of a revision; ``packed`` is the width of a v3_extra without cluster_extra_2."""
    floats, whole = h5py.vlen_dtype(np.float32), h5py.vlen_dtype(np.int64)
    width = {"v1": 0, "v2": 5, "v3": 6, "v3_extra": packed or 6}[revision]
    with h5py.File(path, "w") as file:
        datasets = {"point": floats, "cluster": whole}
        if width:
            datasets["cluster_extra"] = floats
        if revision == "v3_extra" and not packed:
            datasets |= {"cluster_extra_2": floats, "interaction_extra": floats}
        rows = {name: file.create_dataset(name, (len(events),), dtype=kind) for name, kind in datasets.items()}
        for i, event in enumerate(events):
            content = {
                "point": event.point,
                "cluster": event.cluster[:, :5] if revision == "v1" else event.cluster,
                "cluster_extra": event.extra[:, :width],
                "cluster_extra_2": event.extra[:, 6:11],
                "interaction_extra": np.zeros((0, 4), np.float32),
            }
            for name, dataset in rows.items():
                dataset[i] = content[name].ravel()
        file.attrs.update(attributes or {})
    return path


SIZES = ((7, 20, 11, 5), (3, 40), (), (12, 1, 1, 9, 30, 4), (5, 8))


@pytest.fixture
def events() -> list[Event]:
    """Five events, one of them without anything; groups of two and three fragments, with and without a leading one."""
    groups = ((-1, 0, 0, 2), (-1, 0), (), (-1, 0, 9, 9, 9, 0), (-1, 7))
    return [make_event(i, sizes, group) for i, (sizes, group) in enumerate(zip(SIZES, groups, strict=True))]


def leading(event: Event) -> dict[int, int]:
    """Row of each group's leading cluster, found one by one."""
    found: dict[int, int] = {}
    for row, (size, fragment, group, *_) in enumerate(event.cluster.tolist()):
        if group < 0:
            continue
        best = found.get(group)
        if best is None or (fragment == group, size) > (event.cluster[best, 1] == group, event.cluster[best, 0]):
            found[group] = row
    return dict(sorted(found.items()))


@pytest.mark.parametrize("revision", REVISIONS)
def test_voxels_and_labels_of_every_revision(tmp_path: Path, events: list[Event], revision: str) -> None:
    deposits = read(write_pilarnet(tmp_path / "any-name.dat", events, revision))
    assert deposits.events.dataset == f"pilarnet-m/{revision}"
    assert deposits.missing == (("particle",) if revision == "v1" else ())
    point = np.concatenate([event.point for event in events])
    assert deposits.offsets.tolist() == np.cumsum([0, *(len(event.point) for event in events)]).tolist()
    np.testing.assert_allclose(deposits.position, (point[:, :3] + 0.5) * 0.3, rtol=1e-6)
    for column, number in ((deposits.energy, 4), (deposits.length, 7), (deposits.electrons, 6)):
        np.testing.assert_array_equal(column, point[:, number])
    label = np.concatenate([np.repeat(event.cluster, event.cluster[:, 0], axis=0) for event in events])
    np.testing.assert_array_equal(deposits.semantic, label[:, 4])
    np.testing.assert_array_equal(deposits.particle, -1 if revision == "v1" else label[:, 5])
    np.testing.assert_array_equal(deposits.instance, label[:, 2])
    wanted = [event.point[:, 4].astype(float).sum() for event in events]
    np.testing.assert_allclose(deposits.events.truth["visible_energy"], wanted, rtol=1e-12)


@pytest.mark.parametrize(
    ("revision", "packed"), [*((name, 0) for name in REVISIONS), ("v3_extra", 9), ("v3_extra", 11)]
)
def test_one_particle_per_group_from_its_leading_cluster(
    tmp_path: Path, events: list[Event], revision: str, packed: int
) -> None:
    """MeV and cm; -1 becomes NaN; vertices of v2 are not in the frame of the voxels and are NaN."""
    events[0].extra[3] = -1
    events[1].extra[1, 6:9] = (-1.0, 2.0, -1.0)
    path = write_pilarnet(tmp_path / "f.h5", events, revision, packed=packed)
    table = read(path).particles
    assert table is not None
    rows = [(event, row) for event in events for row in leading(event).values()]
    assert table.offsets.tolist() == np.cumsum([0, *(len(leading(event)) for event in events)]).tolist()
    cluster = np.array([event.cluster[row] for event, row in rows])
    extra = np.array([event.extra[row] for event, row in rows], dtype=np.float64)
    none = (extra[:, :6] == -1).all(axis=1)
    wanted = {"number": cluster[:, 2], "interaction": cluster[:, 3]}
    if revision != "v1":
        wanted |= {"particle": cluster[:, 5]}
        wanted |= {"mass": np.where(none, np.nan, extra[:, 0]), "momentum": np.where(none, np.nan, 1000 * extra[:, 1])}
        hidden = none | (revision == "v2")
        wanted |= {f"vertex_{a}": np.where(hidden, np.nan, 0.3 * extra[:, 2 + i]) for i, a in enumerate("xyz")}
    if revision.startswith("v3"):
        wanted["primary"] = np.where(none, np.nan, extra[:, 5])
    if revision == "v3_extra":
        wanted |= {f"momentum_{a}": np.where(none, np.nan, 1000 * extra[:, 6 + i]) for i, a in enumerate("xyz")}
    assert set(table.columns) == set(wanted)
    for name, column in wanted.items():
        np.testing.assert_allclose(table.columns[name], column, rtol=1e-12, err_msg=name)
    numbers = {tuple(pair) for pair in zip(*_instances(read(path)), strict=True)}
    assert {(e, int(n)) for e, n in numbers if n >= 0} == set(zip(*_numbers(table), strict=True))


def _instances(deposits: Deposits) -> tuple[list[int], list[int]]:
    assert deposits.instance is not None
    return deposits.event_index.tolist(), deposits.instance.tolist()


def _numbers(table: Any) -> tuple[list[int], list[int]]:
    event = torch.repeat_interleave(torch.arange(len(table)), table.offsets.diff())
    return event.tolist(), [int(number) for number in table.columns["number"]]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=12), min_size=1, max_size=4),
    revision=st.sampled_from(REVISIONS),
    data=st.data(),
)
def test_the_revision_is_told_whatever_the_lengths(
    tmp_path: Path, sizes: list[list[int]], revision: str, data: st.DataObject
) -> None:
    """Numbers of clusters that 5 and 6 divide included; leading clusters are those found one by one."""
    made = []
    for i, own in enumerate(sizes):
        groups = data.draw(st.lists(st.integers(-1, 3), min_size=len(own), max_size=len(own)))
        made.append(make_event(i, own, groups))
    with open_events(write_pilarnet(tmp_path / "f.h5", made, revision)) as source:
        assert source.describe().dialect == revision
        table = source.read(slice(0, len(made))).particles
    mine = [row for event in made for row in leading(event).values()]
    interaction = [event.cluster[row, 3] for event in made for row in leading(event).values()]
    assert len(table.columns["number"]) == len(mine)
    assert table.columns["interaction"].tolist() == interaction


def test_lengths_that_two_widths_divide_are_settled_by_the_points(tmp_path: Path) -> None:
    """Thirty numbers: six clusters of v1 or five of v2; the sum of their points says which."""
    for revision, count in (("v1", 6), ("v2", 5)):
        path = write_pilarnet(tmp_path / f"{revision}.h5", [make_event(1, [4] * count)], revision)
        with h5py.File(path, "a") as file:
            assert len(file["cluster"][0]) == 30
            file.pop("cluster_extra", None)
        with open_events(path) as source:
            assert source.describe().dialect == revision


def test_what_was_decided_is_told(tmp_path: Path, events: list[Event]) -> None:
    """The description says which revision and why, and that x as drift is a declaration; pickles are never opened."""
    path = write_pilarnet(tmp_path / "f.h5", events, attributes={"blob": np.void(pickle.dumps({"a": 1})), "title": "x"})
    with open_events(path) as source:
        told = source.describe()
    assert (told.format, told.dialect, told.holds, told.events) == ("pilarnet", "v2", "deposits", 5)
    assert told.rows == {"point": 5, "cluster": 5, "cluster_extra": 5}
    assert told.units == {"position": "cm", "energy": "MeV", "length": "cm", "electrons": "1", "time": "ns"}
    assert "cluster 6 wide (fits 5 of 5 events looked at), cluster_extra 5" in told.attributes["decided: revision"]
    assert "the data set does not say" in told.attributes["decided: drift"]
    assert "not in the frame of the voxels" in told.attributes["decided: vertex"]
    assert told.attributes["blob"] == "neither text nor number, not opened"
    assert told.attributes["title"] == "x"


def test_without_cluster_extra_the_attributes_decide_between_v2_and_v3(tmp_path: Path, events: list[Event]) -> None:
    for stated, wanted in (({}, "v2"), ({"revision": "v3"}, "v3"), ({"note": "(revision v2 widths)"}, "v2")):
        path = write_pilarnet(tmp_path / "f.h5", events, attributes=stated)
        with h5py.File(path, "a") as file:
            del file["cluster_extra"]
        deposits = read(path)
        assert deposits.events.dataset == f"pilarnet-m/{wanted}"
        assert deposits.particles is not None
        assert set(deposits.particles.columns) == {"number", "interaction", "particle"}
    with pytest.raises(DataError, match="that is v2, but the file's attributes say v3"):
        read(write_pilarnet(tmp_path / "g.h5", events, attributes={"revision": "v3"}))


def test_the_real_event_is_as_its_description_says(data: Path) -> None:
    """Voxels and energy of every row of the table that came with it; what it lacks is missing."""
    deposits = read(data / EVENT)
    assert deposits.events.dataset == "pilarnet-m/v2"
    assert deposits.missing == ("electrons", "length", "time")
    assert deposits.electrons is None
    assert not deposits.length.any()
    assert float(deposits.events.truth["visible_energy"]) == pytest.approx(709.336, abs=1e-3)
    for group, semantic, particle, count, energy in (
        (-1, 4, -1, 34, 26.447),
        (0, 1, 2, 751, 381.895),
        (1, 1, 4, 17, 66.197),
        (5, 3, 1, 71, 40.232),
        (9, 2, 1, 18, 8.049),
        (9, 0, 1, 39, 20.259),
    ):
        mine = (deposits.instance == group) & (deposits.semantic == semantic) & (deposits.particle == particle)
        assert int(mine.sum()) == count
        assert float(deposits.energy[mine].sum()) == pytest.approx(energy, abs=1e-3)
    assert deposits.particles is not None
    assert deposits.particles.columns["interaction"].tolist() == [0, 0, 0, 0, 0, 0, 1, 2, 3, 2]


def test_columns_without_numbers_are_missing_and_the_voxel_value_stands_in_for_energy(
    tmp_path: Path, events: list[Event]
) -> None:
    for event in events:
        event.point[:, [4, 5, 6, 7]] = np.nan
    deposits = read(write_pilarnet(tmp_path / "f.h5", events))
    assert deposits.missing == ("electrons", "length", "time")
    np.testing.assert_array_equal(deposits.energy, np.concatenate([event.point[:, 3] for event in events]))


def test_an_event_without_voxels_keeps_its_place(tmp_path: Path, events: list[Event]) -> None:
    from shiftlab.detector import detector

    path = write_pilarnet(tmp_path / "f.h5", events)
    deposits = read(path)
    assert deposits.offsets.diff()[2] == 0
    assert deposits.events.truth["visible_energy"][2] == 0
    assert len(detector("pixel_lar").image(deposits)) == 5
    alone = read(path, events=slice(2, 3))
    assert len(alone) == 1
    assert len(alone.energy) == 0
    assert torch.equal(alone.events.key, deposits.events.key[2:3])


def test_chunks_of_any_size_give_the_same_events(tmp_path: Path) -> None:
    """Across the blocks in which the file is read; keys are those of the rows, and an event is its own vertex."""
    made = [make_event(i, [(7 * i) % 23, 1 + i % 5]) for i in range(70)]
    path = write_pilarnet(tmp_path / "f.h5", made, "v3")
    whole = read(path)
    assert torch.equal(whole.events.key, whole.events.vertex)
    for chunk in (1, 9, 33, 70):
        parts = list(stream(path, chunk=chunk))
        for name in ("position", "energy", "length", "electrons", "semantic", "particle", "instance"):
            assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))
        assert torch.equal(torch.cat([part.events.key for part in parts]), whole.events.key)
        numbers = torch.cat([part.particles.columns["number"] for part in parts])
        assert torch.equal(numbers, whole.particles.columns["number"])


def test_origin_moves_voxels_and_vertices(tmp_path: Path, events: list[Event]) -> None:
    path = write_pilarnet(tmp_path / "f.h5", events, "v3")
    plain, moved = read(path), read(path, origin=(10.0, -20.0, 0.0))
    np.testing.assert_allclose(moved.position - plain.position, [[-10, 20, 0]] * len(plain.energy), atol=1e-4)
    assert plain.particles is not None
    assert moved.particles is not None
    shift = moved.particles.columns["vertex_y"] - plain.particles.columns["vertex_y"]
    np.testing.assert_allclose(shift, 20.0, rtol=1e-9)


def test_keys_follow_the_content_and_not_the_file(tmp_path: Path, events: list[Event]) -> None:
    first = read(write_pilarnet(tmp_path / "a.h5", events)).events.key
    again = read(write_pilarnet(tmp_path / "other.h5", events, attributes={"title": "copied"})).events.key
    events[-1].point[0, 0] = (events[-1].point[0, 0] + 1) % 768
    other = read(write_pilarnet(tmp_path / "b.h5", events)).events.key
    assert torch.equal(first, again)
    assert not set(first.tolist()) & set(other.tolist())


def _point(row: int, column: int, value: float) -> Callable[[list[Event]], None]:
    def change(events: list[Event]) -> None:
        events[3].point[row, column] = value

    return change


def _cluster(row: int, column: int, value: int) -> Callable[[list[Event]], None]:
    def change(events: list[Event]) -> None:
        events[3].cluster[row, column] = value

    return change


def _extra(row: int, column: int, value: float) -> Callable[[list[Event]], None]:
    def change(events: list[Event]) -> None:
        events[3].extra[row, column] = value

    return change


def _shorten(name: str, numbers: int) -> Callable[[list[Event]], None]:
    def change(events: list[Event]) -> None:
        setattr(events[3], name, getattr(events[3], name).ravel()[:-numbers][None])

    return change


BAD = {
    "a voxel beyond the last": (_point(9, 1, 768.0), r"'point', row 3, point 9: column 'y' is 768.0; .* 0 to 767"),
    "a voxel before the first": (_point(0, 0, -1.0), r"'point', row 3, point 0: column 'x' is -1.0"),
    "half a voxel": (_point(1, 2, 3.5), r"'point', row 3, point 1: column 'z' is 3.5; .* whole numbers"),
    "NaN as voxel": (_point(56, 2, math.nan), r"'point', row 3, point 56: column 'z' is nan"),
    "infinite voxel": (_point(0, 0, math.inf), r"'point', row 3, point 0: column 'x' is inf"),
    "negative energy": (_point(4, 4, -0.1), r"'point', row 3, point 4: column 'dE' is -0.1.*not negative"),
    "NaN energy": (_point(4, 4, math.nan), r"'point', row 3, point 4: column 'dE' is nan"),
    "infinite energy": (_point(4, 4, math.inf), r"'point', row 3, point 4: column 'dE' is inf"),
    "negative electrons": (_point(5, 6, -1.0), r"'point', row 3, point 5: column 'n_electrons' is -1.0"),
    "some electrons NaN": (_point(5, 6, math.nan), r"'point', row 3, point 5: column 'n_electrons' is nan"),
    "negative length": (_point(6, 7, -0.5), r"'point', row 3, point 6: column 'dx' is -0.5"),
    "some lengths NaN": (_point(6, 7, math.nan), r"'point', row 3, point 6: column 'dx' is nan"),
    "some times NaN": (_point(6, 5, math.nan), r"'point', row 3, point 6: column 't' is nan"),
    "a voxel cut short": (_shorten("point", 3), r"'point', row 3: 453 numbers are not .* rows of 8"),
    "a cluster cut short": (_shorten("cluster", 1), r"'cluster', row 3: 35 numbers are not .* rows of 6"),
    "an extra row cut short": (_shorten("extra", 11), r"'cluster_extra', row 3: .* 'cluster' has 6 there"),
    "sizes that do not add up": (_cluster(1, 0, 2), r"'cluster', row 3: the clusters have 58 points in all; .* has 57"),
    "a negative size": (_cluster(1, 0, -1), r"'cluster', row 3, cluster 1: n_points is -1"),
    "an unknown class": (_cluster(2, 4, 6), r"'cluster', row 3, cluster 2: semantic is 6; allowed: 0 to 4"),
    "an unknown particle": (_cluster(2, 5, 9), r"'cluster', row 3, cluster 2: pid is 9; allowed: -1 to 5"),
    "a group below none": (_cluster(2, 2, -7), r"'cluster', row 3, cluster 2: group is -7"),
    "NaN mass": (_extra(2, 0, math.nan), r"'cluster_extra', row 3, cluster 2: mass is nan"),
    "negative momentum": (_extra(2, 1, -3.0), r"'cluster_extra', row 3, cluster 2: momentum is -3.0"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_event_is_named_and_only_it_is_left_out(tmp_path: Path, events: list[Event], name: str) -> None:
    change, message = BAD[name]
    change(events)
    if events[3].cluster.shape[1] != 6 or len(events[3].extra) != 6:
        path = _write_flat(tmp_path / "f.h5", events)
    else:
        path = write_pilarnet(tmp_path / "f.h5", events)
    with pytest.raises(DataError, match=message):
        read(path)
    skipped: list[BadEvent] = []
    assert len(read(path, skipped=skipped)) == 4
    assert [bad.number for bad in skipped] == [3]


def _write_flat(path: Path, events: list[Event]) -> Path:
    """Write a v2 file whose fourth event has rows that are no rectangle."""
    flat = {"cluster": events[3].cluster.ravel(), "cluster_extra": events[3].extra.ravel()}
    bad, events[3] = events[3], make_event(3, SIZES[3])
    write_pilarnet(path, events)
    with h5py.File(path, "a") as file:
        for name, numbers in flat.items():
            if bad.cluster.shape[1] == 6 and name == "cluster":
                continue
            file[name][3] = numbers if name == "cluster" else numbers[: 5 * 5]
    return path


def _retyped(path: Path, name: str, make: Callable[[h5py.File], Any]) -> Path:
    with h5py.File(path, "a") as file:
        del file[name]
        make(file)
    return path


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        (
            "cluster",
            lambda f: f.create_dataset("cluster", (5,), h5py.vlen_dtype(np.float32)),
            "whole numbers per event",
        ),
        ("point", lambda f: f.create_dataset("point", (5,), h5py.vlen_dtype(np.int32)), "floating-point numbers per"),
        ("point", lambda f: f.create_dataset("point", (5, 8), np.float32), "'point' is shape .5, 8."),
        ("cluster_extra", lambda f: f.create_dataset("cluster_extra", (5,), h5py.string_dtype()), "'cluster_extra' is"),
        ("cluster_extra", lambda f: f.create_group("cluster_extra"), "'cluster_extra' is a group"),
        (
            "cluster_extra",
            lambda f: f.create_dataset("cluster_extra", (4,), h5py.vlen_dtype(np.float32)),
            "different lengths: point 5, cluster 5, cluster_extra 4",
        ),
    ],
)
def test_datasets_of_another_kind_are_refused(
    tmp_path: Path, events: list[Event], name: str, make: Callable[[h5py.File], Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(_retyped(write_pilarnet(tmp_path / "f.h5", events), name, make))


def test_a_layout_that_is_none_is_refused(tmp_path: Path, events: list[Event]) -> None:
    """No width makes the points add up; v1 with a cluster_extra; nothing to tell the widths apart."""
    wrong = [make_event(i, [3, 4]) for i in range(3)]
    for event in wrong:
        event.cluster[:, 0] += 1
    with pytest.raises(DataError, match=r"'cluster', row 0: 12 numbers; .* but the event has 7 points: this fits no"):
        read(write_pilarnet(tmp_path / "a.h5", wrong))
    path = write_pilarnet(tmp_path / "b.h5", events, "v1")
    with h5py.File(path, "a") as file:
        extra = file.create_dataset("cluster_extra", (5,), h5py.vlen_dtype(np.float32))
        for i, event in enumerate(events):
            extra[i] = event.extra[:, :5].ravel()
    with pytest.raises(DataError, match="no revision of PILArNet-M is so"):
        read(path)
    with pytest.raises(DataError, match="the revision cannot be told"):
        read(write_pilarnet(tmp_path / "c.h5", [Event(), Event()], "v1"))
    with pytest.raises(DataError, match="no events"):
        read(write_pilarnet(tmp_path / "d.h5", [], "v2"))


def test_other_files_are_left_to_other_readers(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["point"], file["cluster"] = np.zeros(3), np.zeros(3)
    with pytest.raises(DataError, match="of no known format"):
        read(tmp_path / "f.h5")


def test_a_truncated_file_is_refused(tmp_path: Path, events: list[Event]) -> None:
    whole = write_pilarnet(tmp_path / "f.h5", events).read_bytes()
    (tmp_path / "g.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="truncated or damaged"):
        read(tmp_path / "g.h5")


@pytest.mark.parametrize(
    ("place", "number"), [(0, 4000), (4, 1 << 40), (12, 999)], ids=["length", "address of the heap", "object"]
)
def test_a_row_that_points_nowhere_is_refused(tmp_path: Path, events: list[Event], place: int, number: int) -> None:
    """The library would follow it out of its memory: length, address or number of the object of row 1 are wrong."""
    path = write_pilarnet(tmp_path / "f.h5", events)
    with h5py.File(path) as file:
        start = file["cluster"].id.get_offset() + 16 + place
    content = bytearray(path.read_bytes())
    width = 8 if place == 4 else 4
    content[start : start + width] = number.to_bytes(width, "little")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged HDF5 file \(dataset 'cluster', row 1\)"):
        read(path)


def test_a_dataset_that_is_there_and_damaged_is_not_taken_for_absent(tmp_path: Path, events: list[Event]) -> None:
    """A type of variable length that does not exist, in the header of cluster_extra."""
    path = write_pilarnet(tmp_path / "f.h5", events)
    with h5py.File(path) as file:
        kind = file["cluster_extra"].id.get_type().encode()[2:]
    content = path.read_bytes()
    damaged = content.replace(kind, bytes([kind[0], 8]) + kind[2:])
    assert damaged != content
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="one flat array of floating-point numbers per event is needed"):
        read(path)


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    """Five hundred files with a few bytes changed or the end cut off: events, or an error of ours."""
    small = [make_event(i, [3, 5, i]) for i in range(4)]
    path = write_pilarnet(tmp_path / "f.h5", small, "v3_extra", attributes={"revision": "v3_extra"})
    content, rng = path.read_bytes(), np.random.default_rng(7)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(500):
        mutated = bytearray(content[: rng.integers(len(content))] if rng.random() < 0.1 else content)
        for place in rng.integers(0, max(len(mutated), 1), rng.integers(1, 12))[: len(mutated)]:
            mutated[place] = rng.integers(256)
        path.write_bytes(mutated)
        try:
            outcomes["read"] += int(len(read(path)) == 4)
        except DataError:
            outcomes["refused"] += 1
    assert sum(outcomes.values()) == 500
    assert min(outcomes.values()) > 50
