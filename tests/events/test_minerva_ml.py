"""minerva-ml's token files come back bit for bit, blanks become masks, and nothing in a file is ever run."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shiftlab.cli import main
from shiftlab.errors import DataError
from shiftlab.events import Tokens, open_events, read_tokens, stream
from shiftlab.events.minerva_ml import MinervaMLReader, write_minerva_ml
from shiftlab.events.minerva_ml.columns import COLUMNS, GLOBALS, KINDS, NO_DEDX, TRUTH, UNITS
from shiftlab.events.tokens import in_units

Content = dict[str, Any]
TENSORS = ("offsets", "features", "valid", "particle", "globals", "global_valid")


def content_of(counts: list[int], seed: int = 0, dtype: torch.dtype = torch.float32) -> Content:
    """What minerva-ml saves: blanks where its code puts them."""
    draw = torch.Generator().manual_seed(seed)
    total, events = sum(counts), len(counts)
    data = torch.randn((total, 10), generator=draw)
    kind = torch.randint(0, 8, (total,), generator=draw)
    data[:, 4] = kind
    no_dedx = (kind == 0) | (kind == 2) | (kind == 6)
    data[no_dedx, 5] = 0.0
    data[~no_dedx & (torch.rand(total, generator=draw) < 0.3), 5] = NO_DEDX
    data[kind <= 1, 6:9] = 0.0
    truth = torch.rand((events, 15), generator=draw, dtype=torch.float64)
    truth[::2, 11:] = 0.0
    truth[::3, 2] = -1.0
    numbers = torch.randn((events, 16), generator=draw)
    numbers[::2, 8] = 0.0
    offsets = torch.tensor([0, *np.cumsum(counts).tolist()])
    jagged = torch.nested.nested_tensor_from_jagged(data.to(dtype), offsets)
    return {"data": jagged, "truth_labels": truth, "global_features": numbers}


def saved(path: Path, content: Content) -> Path:
    torch.save(content, path)
    return path


def whole(path: Path) -> Tokens:
    with MinervaMLReader().open(path) as source:
        return source.read(slice(0, len(source)))  # type: ignore[no-any-return]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return saved(tmp_path / "0.pb", content_of([3, 0, 33, 5]))


def test_columns_kinds_and_blanks_of_the_format(file: Path) -> None:
    content = torch.load(file, weights_only=True)
    tokens, rows = read_tokens(file), content["data"].values()
    assert tokens.columns == COLUMNS
    assert tokens.units == UNITS
    assert tokens.kinds == KINDS
    assert tokens.counts.tolist() == [3, 0, 33, 5]
    assert torch.equal(tokens.particle, rows[:, 4].long())
    stored = rows[:, [0, 1, 2, 3, 5, 6, 7, 8, 9]]
    assert torch.equal(tokens.features[tokens.valid], stored[tokens.valid])
    kind, dedx = tokens.particle, stored[:, 4]
    assert torch.equal(
        tokens.valid[:, 4], ~(((dedx == 0) & torch.isin(kind, torch.tensor([0, 2, 6]))) | (dedx == NO_DEDX))
    )
    assert torch.equal(tokens.valid[:, 5], kind > 1)
    assert bool((tokens.features[~tokens.valid] == 0).all())
    assert bool(tokens.valid[:, [0, 1, 2, 3, 8]].all())
    truth = tokens.events.truth
    assert set(truth) == set(TRUTH)
    assert torch.equal(truth["neutrino_energy"], content["truth_labels"][:, 0])
    assert torch.isnan(truth["neutrino_over_muon_energy"]).tolist() == [True, False, False, True]
    assert torch.isnan(truth["pion_E"]).tolist() == [True, False, True, False]
    assert tokens.global_valid[:, GLOBALS.index("photon_pair_mass")].tolist() == [False, True, False, True]
    assert float(np.log(np.float32(0.1))) == NO_DEDX


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 33), min_size=1, max_size=8), st.integers(0, 999))
def test_a_file_written_and_read_gives_the_same_bits(tmp_path: Path, counts: list[int], seed: int) -> None:
    first = saved(tmp_path / "first.pb", content_of(counts, seed))
    tokens = whole(first)
    write_minerva_ml(tmp_path / "second.pb", tokens)
    old, new = (torch.load(p, weights_only=True) for p in (first, tmp_path / "second.pb"))
    assert torch.equal(old["data"].values(), new["data"].values())
    assert torch.equal(old["data"].offsets(), new["data"].offsets())
    assert torch.equal(old["truth_labels"], new["truth_labels"])
    assert torch.equal(old["global_features"], new["global_features"])
    assert same(tokens, whole(tmp_path / "second.pb"))


def same(one: Tokens, two: Tokens) -> bool:
    tables = zip(one.events.truth.items(), two.events.truth.items(), strict=True)
    return (
        all(torch.equal(getattr(one, name), getattr(two, name)) for name in TENSORS)
        and torch.equal(one.events.key, two.events.key)
        and torch.equal(one.events.weight, two.events.weight)
        and one.events.sample == two.events.sample
        and all(a == b and torch.equal(x.nan_to_num(-9e9), y.nan_to_num(-9e9)) for (a, x), (b, y) in tables)
    )


def test_masks_truth_and_identity_that_the_format_has_no_place_for_come_back(file: Path, tmp_path: Path) -> None:
    tokens = whole(file)
    tokens.valid[:, 4:] = torch.rand((41, 5), generator=torch.Generator().manual_seed(1)) < 0.5
    tokens.features[~tokens.valid] = 0.0
    table = replace(tokens.events, truth=dict(tokens.events.truth) | {"w": torch.arange(4.0).double()}, dataset="d/1")
    tokens = replace(tokens, events=replace(table, weight=torch.rand(4).double(), selected=table.key > 0))
    write_minerva_ml(tmp_path / "new.pb", tokens)
    again = whole(tmp_path / "new.pb")
    assert same(tokens, again)
    assert again.events.dataset == "d/1"
    assert torch.equal(again.events.selected, tokens.events.selected)


def test_a_global_without_a_value_is_refused_where_the_format_would_read_a_number(file: Path, tmp_path: Path) -> None:
    tokens = whole(file)
    tokens.global_valid[2, 3], tokens.globals[2, 3] = False, 0.0
    with pytest.raises(DataError, match="event 2: global 'log_passive_recoil_inner' is not valid"):
        write_minerva_ml(tmp_path / "new.pb", tokens)
    assert not list(tmp_path.glob("*new.pb*"))


def test_equal_tokens_give_equal_bytes(file: Path, tmp_path: Path) -> None:
    for name in ("one.pb", "two.pb"):
        write_minerva_ml(tmp_path / name, whole(file))
    assert (tmp_path / "one.pb").read_bytes() == (tmp_path / "two.pb").read_bytes()


def test_arrays_of_numpy_and_float64_are_read_as_float32_of_the_same_number(tmp_path: Path) -> None:
    """minerva-ml's first step leaves truth and globals as NumPy arrays and ``data`` as float64; its loader rounds."""
    content = content_of([2, 4], dtype=torch.float64)
    plain = whole(saved(tmp_path / "plain.pb", content))
    arrays = {name: value.numpy() if name != "data" else value for name, value in content.items()}
    pickled = whole(saved(tmp_path / "arrays.pb", arrays))
    assert same(replace(plain, events=replace(plain.events, key=pickled.events.key)), pickled)
    assert torch.equal(plain.features, whole(saved(tmp_path / "f4.pb", content_of([2, 4]))).features)
    with open_events(tmp_path / "plain.pb") as source:
        assert "data float64" in source.describe().attributes["number types"]


def test_slices_and_chunks_are_the_whole(file: Path) -> None:
    tokens = whole(file)
    pieces = list(stream(file, chunk=3))
    assert [len(piece) for piece in pieces] == [3, 1]
    assert torch.equal(torch.cat([piece.features for piece in pieces]), tokens.features)
    assert torch.equal(torch.cat([piece.events.key for piece in pieces]), tokens.events.key)


class Touch:
    """Pickles to a call that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    bad = saved(tmp_path / "bad.pb", {**content_of([2]), "more": Touch(mark)})
    assert MinervaMLReader().accepts(bad)
    with pytest.raises(DataError, match=r"refused: its pickle asks to import (posix|nt)\.mkdir.*nothing of it was run"):
        read_tokens(bad)
    assert not mark.exists()
    torch.load(bad, weights_only=False)
    assert mark.exists(), "the file was harmless, so the test showed nothing"


def set_row(name: str, row: int, column: int, value: float) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        target = content[name].values() if name == "data" else content[name]
        target[row, column] = value

    return change


def replaced(name: str, value: Callable[[Content], Any]) -> Callable[[Content], None]:
    return lambda content: content.update({name: value(content)})


def jagged(content: Content, offsets: list[int], lengths: list[int] | None = None) -> torch.Tensor:
    sizes = None if lengths is None else torch.tensor(lengths)
    result: torch.Tensor = torch.nested.nested_tensor_from_jagged(
        content["data"].values(), torch.tensor(offsets), lengths=sizes, min_seqlen=0, max_seqlen=8
    )
    return result


BAD: dict[str, tuple[Callable[[Content], None], str]] = {
    "NaN feature": (set_row("data", 4, 3, np.nan), "'data', event 2, token 1: column 'log_E' is nan"),
    "infinite global": (set_row("global_features", 1, 0, np.inf), "'global_features', event 1: column 'log_muon_fuzz'"),
    "NaN truth": (set_row("truth_labels", 2, 9, np.nan), "'truth_labels', event 2: column 'available_energy' is nan"),
    "negative kind": (set_row("data", 0, 4, -1), "'data', event 0, token 0: kind -1; allowed: 0 to 7"),
    "kind 8": (set_row("data", 3, 4, 8), "event 2, token 0: kind 8"),
    "half a kind": (set_row("data", 3, 4, 0.5), "event 2, token 0: kind 0.5"),
    "descending offsets": (
        replaced("data", lambda c: jagged(c, [0, 3, 2, 8])),
        "3 and then 2 at row 1; they must ascend",
    ),
    "short offsets": (replaced("data", lambda c: jagged(c, [0, 3, 3, 7])), "from 0 to 7; they must run from 0 to 8"),
    "late offsets": (replaced("data", lambda c: jagged(c, [1, 3, 3, 8])), "run from 1 to 8"),
    "gaps": (replaced("data", lambda c: jagged(c, [0, 3, 3, 8], [2, 0, 5])), "lengths of 'data' and its offsets"),
    "half": (replaced("data", lambda c: c["data"].half()), "'data' is float16.*must be float32 or float64"),
    "whole": (replaced("data", lambda c: c["data"].long()), "'data' is int64"),
    "whole globals": (replaced("global_features", lambda c: c["global_features"].int()), "'global_features' is int32"),
    "dense": (replaced("data", lambda c: torch.zeros(3, 4, 10)), "must be a jagged nested tensor"),
    "width": (
        replaced("truth_labels", lambda c: c["truth_labels"][:, :14]),
        r"shape \(3, 14\); it must be \(events, 15\)",
    ),
    "rows": (replaced("global_features", lambda c: c["global_features"][:2]), "has 2 rows, 'data' has 3 events"),
    "text": (replaced("truth_labels", lambda c: "none"), "'truth_labels' is a str"),
    "5 columns": (
        replaced(
            "data", lambda c: torch.nested.nested_tensor_from_jagged(torch.zeros(8, 5), torch.tensor([0, 3, 3, 8]))
        ),
        "'data' has rows of shape",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_content_is_named(tmp_path: Path, name: str) -> None:
    change, message = BAD[name]
    content = content_of([3, 0, 5])
    change(content)
    with pytest.raises(DataError, match=message) as caught:
        read_tokens(saved(tmp_path / "bad.pb", content))
    assert "bad.pb" in str(caught.value)


def test_bad_events_are_left_out_on_request_and_listed(tmp_path: Path) -> None:
    content = content_of([3, 1, 5])
    set_row("data", 3, 4, 9)(content)
    skipped: list[Any] = []
    tokens = read_tokens(saved(tmp_path / "bad.pb", content), skipped=skipped)
    assert tokens.counts.tolist() == [3, 5]
    assert [bad.number for bad in skipped] == [1]


def test_files_that_are_not_whole_or_not_of_the_format_are_refused(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    for cut, message in (
        (10, "of no known format"),
        (len(data) // 2, r"cut\.pb: truncated or damaged archive"),
        (len(data) - 30, r"cut\.pb: truncated or damaged archive"),
    ):
        (tmp_path / "cut.pb").write_bytes(data[:cut])
        with pytest.raises(DataError, match=message):
            read_tokens(tmp_path / "cut.pb")
    with pytest.raises(DataError, match="of no known format"):
        read_tokens(saved(tmp_path / "keys.pb", {"data": content_of([1])["data"]}))
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(tmp_path / "packed.pb", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(DataError, match="is compressed"):
        read_tokens(tmp_path / "packed.pb")


def test_what_the_format_cannot_hold_is_not_written(file: Path, tmp_path: Path) -> None:
    target, tokens = tmp_path / "out.pb", whole(file)
    many = whole(saved(tmp_path / "many.pb", content_of([2, 34])))
    blank = tokens.valid.clone()
    blank[3, 2] = False
    truth = dict(tokens.events.truth)
    wrong: list[tuple[Tokens, str]] = [
        (many, "event 1 has 34 tokens; at most 33"),
        (in_units(tokens, "GeV"), r"units of the tokens: 'log\(GeV\)' where 'log\(MeV\)' must be"),
        (replace(tokens, kinds=KINDS[:7]), "kinds of the tokens: 7 where 8"),
        (replace(tokens, valid=blank), "event 2, token 0: 'log_pT' is not valid"),
        (replace(tokens, truth={"label": torch.zeros(41)}), "has no truth of tokens"),
        (
            replace(tokens, events=replace(tokens.events, truth={k: v for k, v in truth.items() if k != "current"})),
            "no truth 'current'",
        ),
        (
            replace(tokens, events=replace(tokens.events, truth=truth | {"current": truth["current"] * torch.nan})),
            "event 0: truth 'current' is nan",
        ),
    ]
    for bad, message in wrong:
        with pytest.raises(DataError, match=message):
            write_minerva_ml(target, bad)
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "out"))]


def test_inspect_tells_units_and_what_is_in_the_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(file), "--check"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for word in (
        "minerva_ml",
        "4 events of tokens",
        "tokens 41",
        "log_E [log(MeV)]",
        "units check",
        "4 events are good",
    ):
        assert word in text


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), length=st.integers(1, 40))
def test_mutated_files_give_events_or_a_data_error(file: Path, place: float, value: int, length: int) -> None:
    data = bytearray(file.read_bytes())
    start = int(place * len(data))
    data[start : start + length] = bytes([value]) * min(length, len(data) - start)
    mutant = file.with_name("mutant.pb")
    mutant.write_bytes(data)
    try:
        tokens = read_tokens(mutant)
    except DataError:
        return
    assert bool(torch.isfinite(tokens.features).all())
    assert int(tokens.offsets[-1]) == len(tokens.features)
