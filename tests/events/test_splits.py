"""A manifest puts every vertex in one part, keeps the fractions of each stratum, and cannot be changed unseen."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.events import Deposits, EventTable, concatenate, read
from shiftlab.events.deposits import joint_dataset
from shiftlab.events.sample import write_sample
from shiftlab.events.splits import Manifest, make_manifest
from shiftlab.events.strata import Strata, assign

THREE = {"train": 0.8, "validation": 0.1, "test": 0.1}


def table(
    vertices: Sequence[int], samples: Sequence[str], truth: Mapping[str, Sequence[float]] | None = None
) -> EventTable:
    """Events that have nothing but a vertex, a sample and some truth."""
    count = len(vertices)
    return EventTable(
        key=torch.arange(count),
        vertex=torch.tensor(vertices, dtype=torch.int64),
        weight=torch.ones(count, dtype=torch.float64),
        sample=tuple(samples),
        truth={name: torch.tensor(values, dtype=torch.float64) for name, values in (truth or {}).items()},
        selected=torch.ones(count, dtype=torch.bool),
    )


def split(tables: Sequence[EventTable], fractions: Mapping[str, float], seed: int = 1) -> dict[int, str]:
    """The part of every vertex."""
    strata = Strata(("sample",))
    for one in tables:
        strata.add(one, "a.h5")
    vertex, stratum, names = strata.result()
    part = assign(vertex, stratum, names, fractions, seed)
    return {uid: list(fractions)[i] for uid, i in zip(vertex.tolist(), part.tolist(), strict=True)}


UIDS = st.integers(-(2**63), 2**63 - 1)
EVENTS = st.dictionaries(UIDS, st.sampled_from(["numu_cc", "nue_cc", "photon_protons"]), min_size=1, max_size=200)
WEIGHTS = st.lists(st.integers(1, 100), min_size=2, max_size=5)


def fractions_of(weights: Sequence[int]) -> dict[str, float]:
    return {f"part{i}": weight / sum(weights) for i, weight in enumerate(weights)}


@given(EVENTS, WEIGHTS, st.integers(0, 2**31))
def test_every_vertex_is_in_one_part_and_each_stratum_has_its_fractions_within_one_vertex(
    events: dict[int, str], weights: list[int], seed: int
) -> None:
    fractions = fractions_of(weights)
    parts = split([table(list(events), list(events.values()))], fractions, seed)
    assert set(parts) == set(events)
    for stratum in set(events.values()):
        mine = [parts[uid] for uid, name in events.items() if name == stratum]
        for name, share in fractions.items():
            assert abs(mine.count(name) - share * len(mine)) < 1.0 + 1e-9


@given(EVENTS, st.randoms(use_true_random=False), st.integers(1, 5))
def test_parts_depend_on_neither_the_order_of_events_nor_files_nor_on_rethrows(
    events: dict[int, str], random: object, pieces: int
) -> None:
    rows = list(events.items())
    whole = split([table(*zip(*rows, strict=True))], THREE)
    again = rows * 2
    random.shuffle(again)  # type: ignore[attr-defined]
    cut = [again[i::pieces] for i in range(pieces) if again[i::pieces]]
    assert split([table(*zip(*one, strict=True)) for one in cut], THREE) == whole


@given(EVENTS, st.integers(0, 50))
def test_vertices_of_other_strata_change_nothing(events: dict[int, str], more: int) -> None:
    alone = split([table(list(events), list(events.values()))], THREE)
    others = [uid for uid in range(more) if uid not in events]
    both = split([table([*events, *others], [*events.values(), *["neutral_current"] * len(others)])], THREE)
    assert {uid: both[uid] for uid in events} == alone


def test_another_seed_gives_another_division_and_the_same_seed_the_same() -> None:
    events = table(range(1000), ["numu_cc"] * 1000)
    assert split([events], THREE, 1) == split([events], THREE, 1)
    same = sum(split([events], THREE, 1)[i] == split([events], THREE, 2)[i] for i in range(1000))
    assert 580 < same < 740  # 0.8^2 + 2 * 0.1^2 = 0.66 agree by chance; 5 sigma is 75


def test_neighbouring_uids_are_divided_like_a_fair_draw() -> None:
    part = split([table(range(100_000), ["numu_cc"] * 100_000)], {"a": 0.5, "b": 0.5})
    sides = np.array([part[i] == "a" for i in range(100_000)])
    assert sides.sum() in (50_000, 50_001)
    for lag in (1, 2, 64, 1024):  # agreement at a distance: half, with a standard deviation of 158
        assert abs(int((sides[lag:] == sides[:-lag]).sum()) - (100_000 - lag) / 2) < 5 * 158


def test_many_strata_of_one_vertex_still_fill_every_part() -> None:
    part = split([table(range(200), [f"kind_{i}" for i in range(200)])], THREE)
    counts = {name: list(part.values()).count(name) for name in THREE}
    assert 130 < counts["train"] < 185
    assert counts["validation"] > 5
    assert counts["test"] > 5


def test_twins_of_two_samples_make_a_stratum_of_their_own() -> None:
    strata = Strata(("sample",))
    strata.add(table([1, 2, 3], ["ftfp"] * 3), "a.h5")
    strata.add(table([2, 3, 4], ["qgsp"] * 3), "b.h5")
    vertex, stratum, names = strata.result()
    assert vertex.tolist() == [1, 2, 3, 4]
    assert [names[i] for i in stratum] == ["ftfp", "ftfp + qgsp", "ftfp + qgsp", "qgsp"]


def test_truth_columns_make_strata_and_quantities_do_not() -> None:
    strata = Strata(("sample", "neutrino_pdg"))
    strata.add(table([1, 2, 3], ["cc", "cc", "nc"], {"neutrino_pdg": [14, -14, float("nan")]}), "a.h5")
    assert strata.result()[2] == ("cc, neutrino_pdg=-14", "cc, neutrino_pdg=14", "nc, neutrino_pdg=nan")
    energies = table(range(300), ["cc"] * 300, {"energy": [0.5 + i for i in range(300)]})
    with pytest.raises(ConfigError, match="'energy' has more than 256 values"):
        Strata(("energy",)).add(energies, "a.h5")
    with pytest.raises(UnknownNameError, match="Did you mean 'energy'"):
        Strata(("enrgy",)).add(energies, "a.h5")


@pytest.fixture
def file(deposits_of: Callable[..., Deposits], tmp_path: Path) -> Path:
    """A sample of 40 events of 40 vertices, of two kinds."""
    write_sample(tmp_path / "a.h5", deposits_of([2] * 40), {})
    return tmp_path / "a.h5"


@pytest.fixture
def manifest(file: Path) -> Manifest:
    return make_manifest([file], THREE, seed=1)


def test_a_manifest_says_what_it_was_made_of(manifest: Manifest, file: Path) -> None:
    import shiftlab
    from shiftlab.provenance import digest_file

    plain = manifest.plain()
    assert plain["files"] == [{"name": "a.h5", "sha256": digest_file(file), "events": 40, "dataset": ""}]
    assert plain["counts"] == {name: {"a": n, "b": n} for name, n in (("test", 2), ("train", 16), ("validation", 2))}
    assert (plain["seed"], plain["stratify"], plain["shiftlab"]) == (1, ["sample"], shiftlab.__version__)
    uids = np.concatenate([manifest.part(name) for name in THREE])
    assert sorted(uids.tolist()) == list(range(1000, 1040))


def test_a_second_file_of_rethrows_leaves_every_part_as_it_is(
    manifest: Manifest, file: Path, deposits_of: Callable[..., Deposits], tmp_path: Path
) -> None:
    again = deposits_of([3] * 40)
    again = replace(again, events=replace(again.events, key=again.events.key + 500))
    write_sample(tmp_path / "twins.h5", again, {})
    for files in ([file, tmp_path / "twins.h5"], [tmp_path / "twins.h5", file]):
        other = make_manifest(files, dict(reversed(THREE.items())), seed=1)
        assert all(np.array_equal(other.part(name), manifest.part(name)) for name in THREE)
        assert [one.events for one in other.files] == [40, 40]


def test_a_part_is_selected_in_order_and_required(manifest: Manifest, file: Path) -> None:
    events = read(file)
    parts = {name: manifest.select(events, name) for name in THREE}
    assert sum(len(part) for part in parts.values()) == 40
    for name, part in parts.items():
        assert part.events.vertex.tolist() == sorted(manifest.part(name).tolist())
        manifest.require(part, name)
    with pytest.raises(DataError, match=r"4 of these 4 events are not in part 'train'.* part 'test'\)"):
        manifest.require(parts["test"], "train")
    with pytest.raises(UnknownNameError, match="Did you mean 'train'"):
        manifest.part("trian")


def test_events_that_the_manifest_does_not_have_are_refused_not_dropped(
    manifest: Manifest, deposits_of: Callable[..., Deposits]
) -> None:
    strangers = deposits_of([2] * 3, first_key=39)
    with pytest.raises(DataError, match=r"2 of these 3 events are of vertices that the manifest does not have.*a\.h5"):
        manifest.select(strangers, "train")
    with pytest.raises(DataError, match="the first being event 1"):
        manifest.require(strangers, "train")


def test_events_of_another_revision_are_refused(manifest: Manifest, file: Path) -> None:
    known = replace(manifest, files=(replace(manifest.files[0], dataset="argon/v1"),))
    events = read(file)
    other = replace(events, events=replace(events.events, dataset="argon/v2"))
    with pytest.raises(DataError, match="these events are of argon/v2, and the manifest divides argon/v1"):
        known.select(other, "train")
    assert len(manifest.select(other, "train")) == 32


def test_a_manifest_is_read_as_it_was_written(manifest: Manifest, tmp_path: Path) -> None:
    manifest.save(tmp_path / "m.json")
    again = Manifest.load(tmp_path / "m.json")
    assert again.digest == manifest.digest
    assert again.plain() == manifest.plain()


def test_a_manifest_is_never_written_over(manifest: Manifest, file: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    manifest.save(path)
    before = path.stat().st_mtime_ns, path.read_bytes()
    replace(manifest, version="9.9").save(path)
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before
    other = make_manifest([file], THREE, seed=2)
    with pytest.raises(ConfigError, match=f"{manifest.digest}; this one has {other.digest}"):
        other.save(path)
    (tmp_path / "notes.json").write_text("[]")
    with pytest.raises(ConfigError, match="no split manifest"):
        manifest.save(tmp_path / "notes.json")
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before


SMALL = Manifest(
    fractions={"a": 0.5, "b": 0.5},
    seed=1,
    stratify=(),
    revision="",
    files=(),
    counts={"a": {"all": 3}, "b": {"all": 3}},
    parts={"a": np.array([1, 2, 3]), "b": np.array([5, 7, 9])},
    version="0.1.0",
)


@settings(max_examples=30)
@given(st.data())
def test_any_change_by_hand_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    record = {**SMALL.plain(), "digest": SMALL.digest}
    key = data.draw(st.sampled_from(sorted(set(record) - {"format"})))
    changed = json.loads(json.dumps(record))
    if key == "vertex_uid":
        changed[key]["a"][data.draw(st.integers(0, 2))] += 1
    else:
        changed[key] = data.draw(st.one_of(st.integers(), st.text(), st.none()).filter(lambda new: new != record[key]))
    path = tmp_path_factory.mktemp("changed") / "m.json"
    path.write_text(json.dumps(changed))
    with pytest.raises(
        ConfigError, match=r"was changed after it was made: it states the digest .*, and its content has"
    ):
        Manifest.load(path)


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"a": [1, 2], "b": [2, 3]}, "a vertex is in it twice"),
        ({"a": [1, 2], "b": [2**63]}, "too large|too big|out of bounds"),
        ({"a": "1, 2"}, "invalid literal"),
        ([1, 2], "has no attribute"),
    ],
)
def test_a_manifest_with_a_right_digest_and_impossible_parts_is_refused(
    tmp_path: Path, parts: object, why: str
) -> None:
    from shiftlab.provenance import digest_json

    record = {**SMALL.plain(), "vertex_uid": parts}
    (tmp_path / "m.json").write_text(json.dumps({**record, "digest": digest_json(record)}))
    with pytest.raises(ConfigError, match=f"a split manifest that cannot be used: .*({why})"):
        Manifest.load(tmp_path / "m.json")


def test_other_files_are_no_manifests(samples: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no split manifest\. It records how shipped samples were made"):
        Manifest.load(samples / "manifest.json")
    (tmp_path / "broken.json").write_text('{"format": "shiftlab split')
    with pytest.raises(ConfigError, match="is not JSON"):
        Manifest.load(tmp_path / "broken.json")
    (tmp_path / "binary.json").write_bytes(bytes(range(128, 256)))
    with pytest.raises(ConfigError, match="is not JSON"):
        Manifest.load(tmp_path / "binary.json")
    with pytest.raises(ConfigError, match=r"absent\.json' cannot be read"):
        Manifest.load(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("fractions", "why"),
    [
        ({"train": 0.8, "test": 0.1}, "train=0.8, test=0.1 sum to 0.9; they must sum to 1"),
        ({"train": 1.0}, "give two or more"),
        ({"train": 1.5, "test": -0.5}, "train=1.5: the share of a part lies between 0 and 1"),
        ({"train": float("nan"), "test": 0.5}, "train=nan"),
        ({"train": 0.999, "test": 0.001}, "test=0.001: no vertex is left for it; there are 40 in all"),
    ],
)
def test_fractions_that_cannot_be_are_refused(file: Path, fractions: dict[str, float], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        make_manifest([file], fractions, seed=1)


def test_one_content_given_twice_is_refused(file: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.h5").write_bytes(file.read_bytes())
    with pytest.raises(ConfigError, match="have the same content"):
        make_manifest([file, tmp_path / "copy.h5"], THREE, seed=1)


def test_two_revisions_of_one_data_set_are_not_joined_unseen(deposits_of: Callable[..., Deposits]) -> None:
    def of(dataset: str) -> Deposits:
        deposits = deposits_of([1])
        return replace(deposits, events=replace(deposits.events, dataset=dataset))

    assert joint_dataset(["", "argon/v1", "carbon/1", "argon/v1"]) == "argon/v1 + carbon/1"
    both = concatenate([of("argon/v1"), of("carbon/1")])
    with pytest.raises(DataError, match="data set 'argon' in revisions 'v1' and 'v2'"):
        concatenate([both, of("argon/v2")])
    mixed = concatenate([both, of("argon/v2")], mix_revisions=True)
    assert mixed.events.dataset == "argon/v1 + argon/v2 + carbon/1"
    assert concatenate([mixed, mixed]).events.dataset == mixed.events.dataset  # slices of one mixed file


@pytest.mark.slow
def test_a_million_vertices_in_seconds(tmp_path: Path) -> None:
    import time

    start = time.perf_counter()
    strata = Strata(("sample",))
    for first in range(0, 10**6, 1000):
        strata.add(table(range(first, first + 1000), ["a", "b"] * 500), "a.h5")
    vertex, stratum, names = strata.result()
    part = assign(vertex, stratum, names, THREE, 1)
    assert np.bincount(part).tolist() == [800_000, 100_000, 100_000]
    assert time.perf_counter() - start < 30.0
