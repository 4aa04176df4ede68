"""OmniLearned's files: padding becomes absence and back, units are stated, and omnilearned reads the same numbers."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shiftlab.cli import main
from shiftlab.errors import ConfigError, DataError
from shiftlab.events import EventTable, Tokens, open_events, read_tokens, stream
from shiftlab.events.omnilearned import OmniLearnedReader, write_omnilearned
from shiftlab.events.omnilearned.index import index_files, write_file_index
from shiftlab.events.tokens import in_units

TENSORS = ("offsets", "features", "valid", "particle", "globals", "global_valid")
EVENTS, SLOTS, WIDTH = 6, 5, 7


def arrays(seed: int = 0) -> dict[str, Any]:
    """A file as OmniLearned's README describes it: kinematics, particle id, two added columns; event 1 is empty."""
    draw = np.random.default_rng(seed)
    counts = np.array([3, 0, 5, 1, 2, 4])
    data = draw.normal(size=(EVENTS, SLOTS, WIDTH)).astype(np.float32)
    data[:, :, 4] = draw.integers(0, 9, (EVENTS, SLOTS))
    data[np.arange(SLOTS) >= counts[:, None]] = 0
    numbers = draw.normal(size=(EVENTS, 3)).astype(np.float32)
    return {"data": data, "pid": draw.integers(0, 4, EVENTS), "global": numbers}


def saved(path: Path, content: dict[str, Any]) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in content.items():
            file[name] = value
    return path


def whole(path: Path, **stated: Any) -> Tokens:
    with OmniLearnedReader(**stated).open(path) as source:
        return source.read(slice(0, len(source)))  # type: ignore[no-any-return]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return saved(tmp_path / "a.h5", arrays())


def tokens_of(counts: list[int], seed: int, *, kinds: int = 3, added: int = 2, unit: str = "GeV") -> Tokens:
    draw = torch.Generator().manual_seed(seed)
    total, events = sum(counts), len(counts)
    key = torch.randperm(1000, generator=draw)[:events]
    width = 4 + added
    valid = torch.ones((total, width), dtype=torch.bool)
    valid[:, 4:] = torch.rand((total, added), generator=draw) < 0.7
    real = torch.rand(events, generator=draw, dtype=torch.float64)
    return Tokens(
        offsets=torch.tensor([0, *np.cumsum(counts).tolist()]),
        features=torch.where(valid, torch.randn((total, width), generator=draw) + 0.5, 0.0),
        columns=("eta", "phi", "log_pT", "log_E", *(f"x{i}" for i in range(added))),
        units=("1", "rad", f"log({unit})", f"log({unit})", *("mm",) * added),
        valid=valid,
        particle=torch.randint(0, kinds, (total,), generator=draw),
        kinds=tuple(f"kind{i}" for i in range(kinds)) if kinds > 1 else ("particle",),
        globals=torch.randn((events, 2), generator=draw),
        global_columns=("mass", "n"),
        global_units=(unit, "1"),
        global_valid=torch.ones((events, 2), dtype=torch.bool),
        events=EventTable(
            key=key,
            vertex=key + 7,
            weight=real,
            sample=tuple("ab"[i % 2] for i in range(events)),
            truth={"label": (real * 4).floor(), "energy": -real},
            selected=real > 0.5,
            dataset="toy/2",
        ),
        truth={
            "label": torch.where(torch.rand(total, generator=draw) < 0.2, torch.nan, torch.arange(total) % 5).double()
        },
    )


def same(one: Tokens, two: Tokens) -> bool:
    pairs = [*zip(one.events.truth.items(), two.events.truth.items(), strict=True)]
    pairs += [*zip(one.truth.items(), two.truth.items(), strict=True)]
    a, b = one.events, two.events
    return (
        all(torch.equal(getattr(one, name), getattr(two, name)) for name in TENSORS)
        and all(
            getattr(one, n) == getattr(two, n) for n in ("columns", "units", "kinds", "global_columns", "global_units")
        )
        and all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("key", "vertex", "weight", "selected"))
        and (a.sample, a.dataset) == (b.sample, b.dataset)
        and all(n == m and torch.equal(x.nan_to_num(-9), y.nan_to_num(-9)) for (n, x), (m, y) in pairs)
    )


def test_padding_is_gone_and_columns_have_names_and_units(file: Path) -> None:
    content, tokens = arrays(), read_tokens(file)
    assert tokens.counts.tolist() == [3, 0, 5, 1, 2, 4]
    rows = np.concatenate([event[:n] for event, n in zip(content["data"], [3, 0, 5, 1, 2, 4], strict=True)])
    np.testing.assert_array_equal(tokens.features.numpy(), np.delete(rows, 4, axis=1))
    np.testing.assert_array_equal(tokens.particle.numpy(), rows[:, 4])
    assert tokens.columns == ("delta_eta", "delta_phi", "log_pT", "log_E", "added_0", "added_1")
    assert tokens.units == ("1", "rad", "log(GeV)", "log(GeV)", "not stated", "not stated")
    np.testing.assert_array_equal(tokens.events.truth["label"].numpy(), content["pid"])
    np.testing.assert_array_equal(tokens.globals.numpy(), content["global"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
    st.integers(0, 999),
    st.integers(1, 4),
    st.integers(0, 3),
    st.sampled_from([None, 5, 9]),
)
def test_tokens_written_and_read_are_the_same_bits(
    tmp_path: Path, counts: list[int], seed: int, kinds: int, added: int, slots: int | None
) -> None:
    tokens = tokens_of(counts, seed, kinds=kinds, added=added)
    if seed % 2:
        tokens = replace(tokens, events=replace(tokens.events, dataset=""))
    if kinds == 1:
        tokens = replace(tokens, particle=torch.zeros_like(tokens.particle))
    write_omnilearned(tmp_path / "t.h5", tokens, slots=slots)
    assert same(tokens, read_tokens(tmp_path / "t.h5"))


def test_a_foreign_file_read_written_and_read_has_the_same_arrays(file: Path, tmp_path: Path) -> None:
    write_omnilearned(tmp_path / "b.h5", read_tokens(file), slots=SLOTS)
    with h5py.File(tmp_path / "b.h5") as new:
        for name, value in arrays().items():
            np.testing.assert_array_equal(new[name][...], value)


def test_energies_in_mev_are_written_in_gev_and_the_file_says_so(tmp_path: Path) -> None:
    tokens = tokens_of([2, 3], 1, unit="MeV")
    write_omnilearned(tmp_path / "t.h5", tokens)
    again = read_tokens(tmp_path / "t.h5")
    assert same(in_units(tokens, "GeV"), again)
    with h5py.File(tmp_path / "t.h5") as new:
        assert json.loads(new["data"].attrs["units"].decode())[2:4] == ["log(GeV)", "log(GeV)"]
        assert "log_E [log(MeV)]" in new["data"].attrs["written_from"].decode()


def test_a_unit_that_the_caller_states_is_used_and_told(file: Path) -> None:
    assert whole(file, energy_unit="MeV").units[2:4] == ("log(MeV)", "log(MeV)")
    with OmniLearnedReader(energy_unit="MeV").open(file) as source:
        assert source.describe().attributes["energy unit"] == "MeV (stated by the caller)"
    with open_events(file) as source:
        assert source.describe().attributes["energy unit"].startswith("GeV (the format's convention")
    with pytest.raises(ConfigError, match="allowed: GeV, MeV"):
        OmniLearnedReader(energy_unit="keV")  # type: ignore[arg-type]


def test_a_file_in_mev_that_is_taken_for_gev_is_warned_of(tmp_path: Path) -> None:
    content = arrays()
    real = content["data"][:, :, 2] != 0
    content["data"][real, 2:4] += np.float32(1.43 + np.log(1000))
    with open_events(saved(tmp_path / "mev.h5", content)) as source:
        assert source.describe().attributes["units check"].startswith("WARNING: median log E")


def test_whether_there_is_a_particle_id_is_stated_or_seen(file: Path, tmp_path: Path) -> None:
    assert whole(file, particle_id=False).features.shape[1] == 7
    content = arrays()
    content["data"][0, 0, 4] = 0.5
    tokens = read_tokens(saved(tmp_path / "b.h5", content))
    assert tokens.kinds == ("particle",)
    assert tokens.columns[4:] == ("added_0", "added_1", "added_2")
    assert whole(file, kinds=[f"k{i}" for i in range(20)]).kinds[19] == "k19"


def test_a_particle_with_log_pt_of_zero_is_kept_and_marked(tmp_path: Path) -> None:
    content = arrays()
    content["data"][0, 1, 2] = 0.0
    content["data"][2, 4, 2] = 0.0
    path = saved(tmp_path / "zero.h5", content)
    tokens = read_tokens(path)
    assert tokens.counts.tolist() == [3, 0, 5, 1, 2, 4]
    assert torch.nonzero(~tokens.valid).tolist() == [[1, 2], [7, 2]]
    write_omnilearned(tmp_path / "again.h5", tokens)
    assert same(tokens, replace(read_tokens(tmp_path / "again.h5"), columns=tokens.columns, kinds=tokens.kinds))


def put(name: str, place: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content[name][place] = value

    return change


def new(name: str, value: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update({name: value(content)})


BAD: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "hole": (put("data", (2, 1), 0), "'data', row 2, particle 1: all columns are 0 but a particle follows"),
    "no kinematics": (put("data", (3, 4, 5), 2.0), "row 3, particle 4: kinematics .* all 0 but column 5 is 2"),
    "NaN": (put("data", (2, 3, 3), np.nan), "'data', row 2, particle 3: column 3 is nan"),
    "NaN in padding": (put("data", (1, 3, 0), np.nan), "'data', row 1, particle"),
    "infinite": (put("global", (4, 2), np.inf), "'global', row 4: column 2 is inf"),
    "negative label": (put("pid", 3, -1), "'pid', row 3: -1; it must be a class from 0"),
    "NaN label": (new("pid", lambda c: np.where(np.arange(EVENTS) == 2, np.nan, 1.0)), "'pid', row 2: nan"),
    "negative id": (put("data", (2, 0, 4), -211), "'data', row 2, particle 0: particle id -211; allowed: whole"),
    "high id": (put("data", (2, 0, 4), 9), "particle id 9; allowed: whole numbers 0 to 8"),
    "half": (new("data", lambda c: c["data"].astype("f2")), "'data' is float16; it must be float32 or float64"),
    "whole": (new("data", lambda c: c["data"].astype("i4")), "'data' is int32"),
    "text": (new("pid", lambda c: np.array([b"a"] * EVENTS)), r"'pid' is \|S1"),
    "labels": (new("pid", lambda c: c["pid"][:4]), "'pid' has 4 rows, 'data' has 6"),
    "globals": (new("global", lambda c: c["global"][:4]), "'global' has 4 rows"),
    "global shape": (new("global", lambda c: c["pid"].astype("f4")), r"'global' has shape \(6,\)"),
    "three columns": (new("data", lambda c: c["data"][:, :, :3]), "'data' has 3 columns; at least 4"),
    "slots": (new("data_pid", lambda c: np.zeros((EVENTS, 3))), "'data_pid' has 3 slots, 'data' has 5"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_content_is_named(tmp_path: Path, name: str) -> None:
    change, message = BAD[name]
    content = arrays()
    change(content)
    with pytest.raises(DataError, match=message) as caught:
        read_tokens(saved(tmp_path / "bad.h5", content))
    assert "bad.h5" in str(caught.value)


def test_bad_events_are_left_out_on_request_and_listed(tmp_path: Path) -> None:
    content = arrays()
    put("data", (2, 1), 0)(content)
    skipped: list[Any] = []
    tokens = read_tokens(saved(tmp_path / "bad.h5", content), skipped=skipped)
    assert tokens.counts.tolist() == [3, 0, 1, 2, 4]
    assert [bad.number for bad in skipped] == [2]


def test_float64_is_rounded_as_omnilearned_rounds_it_and_told(tmp_path: Path) -> None:
    content = arrays()
    content["data"] = content["data"].astype(np.float64) * (1 + 1e-12)
    with OmniLearnedReader().open(saved(tmp_path / "f8.h5", content)) as source:
        assert "data float64" in source.describe().attributes["number types"]
        tokens = source.read(slice(0, EVENTS))
    assert torch.equal(tokens.features, read_tokens(saved(tmp_path / "f4.h5", arrays())).features)


@pytest.mark.parametrize("columns", [None, 3])
def test_labels_of_particles_come_back_with_none_as_nan(tmp_path: Path, columns: int | None) -> None:
    content = arrays()
    if columns is None:
        content["data_pid"] = np.where(content["data"][:, :, 2] != 0, 1, -1)
        content["data_pid"][0, 1] = -1
        tokens = read_tokens(saved(tmp_path / "p.h5", content))
        assert torch.isnan(tokens.truth["label"]).nonzero().tolist() == [[1]]
    else:
        content["data_pid"] = np.random.default_rng(1).random((EVENTS, SLOTS, columns))
        content["data_pid"][content["data"][:, :, 2] == 0] = 0
        tokens = read_tokens(saved(tmp_path / "p.h5", content))
        assert set(tokens.truth) == {"label_0", "label_1", "label_2"}
    write_omnilearned(tmp_path / "q.h5", tokens, slots=SLOTS)
    with h5py.File(tmp_path / "q.h5") as again:
        np.testing.assert_array_equal(again["data_pid"][...], content["data_pid"])


def test_what_omnilearned_would_lose_is_not_written(tmp_path: Path) -> None:
    tokens = tokens_of([2, 3], 1)
    one_gev, blank = tokens.features.clone(), tokens.valid.clone()
    one_gev[3, 2], blank[3, 3] = 0.0, False
    table = tokens.events
    wrong: list[tuple[Tokens, dict[str, Any], str]] = [
        (replace(tokens, features=one_gev), {}, "event 1, token 1: pT is exactly 1 GeV"),
        (replace(tokens, valid=blank), {}, "event 1, token 1: kinematics are not valid"),
        (tokens, {"slots": 2}, "event 1 has 3 particles; there are 2 slots"),
        (tokens, {"label": "energy"}, "have a truth 'label'"),
        (tokens, {"label": "charge"}, "no truth 'charge' to be their class; they have label, energy"),
        (replace(tokens, events=replace(table, truth={"e": table.truth["energy"]})), {"label": "e"}, "must be a class"),
        (replace(tokens, columns=("x", *tokens.columns[1:])), {}, "column 0 of the tokens is x"),
        (replace(tokens, units=("1", "rad", "MeV", "MeV", "mm", "mm")), {}, "log_pT or log_E is in 'MeV'"),
    ]
    for bad, options, message in wrong:
        with pytest.raises(DataError, match=message):
            write_omnilearned(tmp_path / "out.h5", bad, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_target_of_a_regression_is_a_real_number(tmp_path: Path) -> None:
    tokens = tokens_of([2, 3], 1)
    energy = tokens.events.truth["energy"]
    tokens = replace(tokens, events=replace(tokens.events, truth={"energy": energy}))
    write_omnilearned(tmp_path / "r.h5", tokens, label="energy", regression=True)
    assert torch.equal(read_tokens(tmp_path / "r.h5").events.truth["label"], energy)


def test_attributes_that_hold_pickles_are_named_and_not_loaded(file: Path, tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    with h5py.File(file, "a") as h5:
        h5.attrs["opaque"] = np.void(pickle.dumps(Touch()))
        h5["data"].attrs["old"] = np.bytes_(pickle.dumps([1, "a"], protocol=0))
        h5.attrs["note"] = "Made by hand."
    with open_events(file) as source:
        said = source.describe().attributes
    assert said["opaque"] == said["data.old"] == "a pickle, not loaded"
    assert said["note"] == "Made by hand."
    assert not (tmp_path / "ran").exists()


def test_a_file_that_lies_about_its_columns_is_refused(file: Path) -> None:
    for text, message in (('["a"]', "1 names for 6 columns"), ("a, b", "must be a JSON list of names")):
        with h5py.File(file, "a") as h5:
            h5["data"].attrs["columns"] = text
            h5["data"].attrs["kinds"] = json.dumps([str(i) for i in range(9)])
        with pytest.raises(DataError, match=message):
            read_tokens(file)


def test_truncated_files_are_refused(file: Path) -> None:
    data = file.read_bytes()
    for cut in (9, 600, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:cut])
        with pytest.raises(DataError):
            read_tokens(file)


def test_chunks_are_the_whole(file: Path) -> None:
    tokens, pieces = read_tokens(file), list(stream(file, chunk=4))
    assert torch.equal(torch.cat([piece.features for piece in pieces]), tokens.features)
    assert torch.equal(torch.cat([piece.events.key for piece in pieces]), tokens.events.key)


def test_an_index_gives_the_events_of_all_files_in_its_order(tmp_path: Path) -> None:
    for seed in range(3):
        saved(tmp_path / f"{seed}.h5", arrays(seed))
    files = [read_tokens(path) for path in index_files(tmp_path)]
    path = write_file_index(tmp_path)
    assert torch.equal(read_tokens(path).features, torch.cat([tokens.features for tokens in files]))
    order = np.random.default_rng(0).permutation(np.load(path))
    np.save(path, order)
    tokens = read_tokens(path)
    wanted = torch.cat([files[f].take([row]).features for f, row in order])
    assert torch.equal(tokens.features, wanted)
    np.save(path, np.array([[0, 1], [1, 6]], dtype=np.int32))
    with pytest.raises(DataError, match=r"row 1: file 1, event 6; there are 0 .*6 events"):
        read_tokens(path)


@pytest.mark.parametrize("mode", ["", "ftag", "regression"])
def test_omnilearned_itself_reads_the_same_numbers(tmp_path: Path, mode: str) -> None:
    """Files that are written here go through omnilearned's own data set and collation, index file and all."""
    dataloader = pytest.importorskip("omnilearned.dataloader")
    folder = tmp_path / "custom" / "train"
    parts = [tokens_of([2, 0, 3], 1), tokens_of([4, 1], 2)]
    for number, part in enumerate(parts):
        options = {"label": "energy", "regression": True} if mode == "regression" else {}
        if mode == "regression":
            table = replace(part.events, truth={"energy": part.events.truth["energy"]})
            part = replace(part, events=table)
        write_omnilearned(folder / f"{number}.h5", part, slots=6, **options)
    write_file_index(folder)
    ours = read_tokens(folder / "file_index.npy")
    settings = {"use_cond": True, "use_pid": True, "use_add": True, "num_add": 2, "mode": mode}
    loader = dataloader.load_data("custom", str(tmp_path), batch=5, num_workers=0, shuffle=False, **settings)
    (batch,) = list(loader)
    real = batch["X"][:, :, 2] != 0
    assert real.sum(dim=1).tolist() == ours.counts.tolist()
    assert torch.equal(batch["X"][real], ours.features[:, :4])
    assert torch.equal(batch["add_info"][real], ours.features[:, 4:])
    assert torch.equal(batch["pid"][real].long(), ours.particle)
    assert torch.equal(batch["cond"], ours.globals)
    assert torch.equal(batch["y"].double(), ours.events.truth["label"].to(batch["y"].dtype).double())
    if mode == "ftag":
        assert torch.equal(batch["data_pid"][real].double(), ours.truth["label"].nan_to_num(-1.0))
        assert bool((batch["data_pid"][~real] == -1).all())


def test_an_index_that_omnilearned_writes_is_read(tmp_path: Path) -> None:
    dataloader = pytest.importorskip("omnilearned.dataloader")
    folder = tmp_path / "custom" / "val"
    folder.mkdir(parents=True)
    for seed in range(2):
        saved(folder / f"{seed}.h5", arrays(seed))
    loader = dataloader.load_data(
        "custom", str(tmp_path), batch=12, dataset_type="val", num_workers=0, shuffle=False, use_pid=True
    )
    (batch,) = list(loader)
    ours = read_tokens(folder / "file_index.npy")
    assert torch.equal(batch["X"][batch["X"][:, :, 2] != 0], ours.features)


def test_inspect_tells_units_and_what_is_in_the_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(file), "--check"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    words = (
        "omnilearned",
        "6 events of tokens",
        "tokens 15",
        "log_E [log(GeV)]",
        "units check",
        "does not say",
        "6 events",
    )
    for word in words:
        assert word in text


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), length=st.integers(1, 40))
def test_mutated_files_give_events_or_a_data_error(file: Path, place: float, value: int, length: int) -> None:
    data = bytearray(file.read_bytes())
    start = int(place * len(data))
    data[start : start + length] = bytes([value]) * min(length, len(data) - start)
    mutant = file.with_name("mutant.h5")
    mutant.write_bytes(data)
    try:
        tokens = read_tokens(mutant)
    except DataError:
        return
    assert bool(torch.isfinite(tokens.features).all())
    assert int(tokens.offsets[-1]) == len(tokens.features)
