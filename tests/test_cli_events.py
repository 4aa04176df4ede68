"""``shiftlab convert`` writes what was read and says what was not; ``inspect`` tells both, for people and programs."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from shiftlab import cli
from shiftlab.events import open_events, read, read_tokens
from shiftlab.events.sample import SampleWriter, check_digest

DATA = Path(__file__).parent / "data"
EDEPSIM = DATA / "edepsim_mixed.h5"


@pytest.fixture(scope="module")
def made() -> Any:
    spec = importlib.util.spec_from_file_location("pieces", Path(__file__).parent / "events" / "sample_pieces.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def written(path: Path, events: Any, holds: Any) -> Path:
    with SampleWriter(path, holds=holds, exact=True) as writer:
        writer.append(events)
    return path


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    code = cli.main([str(word) for word in words])
    given = capsys.readouterr()
    return code, given.out + given.err


@pytest.mark.parametrize("name", ["edepsim_mixed.h5", "geant4_singles.h5", "shiftlab_sample_1.h5"])
def test_exact_conversion_keeps_every_bit(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code, text = run(capsys, "convert", DATA / name, tmp_path / "out.h5", "--exact")
    assert code == 0, text
    assert "events/s" in text
    assert "(exact)" in text
    assert "0 left out" in text
    assert made.differences(read(DATA / name), read(tmp_path / "out.h5")) == []
    assert check_digest(tmp_path / "out.h5").holds


def test_packed_conversion_says_its_precision_and_keeps_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run(capsys, "convert", EDEPSIM, tmp_path / "out.h5", "--origin", "1", "-2", "0.5")
    assert code == 0, text
    assert "energies to 0.1%, positions to 18 um" in text
    old, new = read(EDEPSIM, origin=(1.0, -2.0, 0.5)), read(tmp_path / "out.h5")
    assert float((old.position - new.position).abs().max()) < 0.0018 + 1e-4
    np.testing.assert_allclose(new.energy, old.energy, rtol=1.01e-3, atol=1e-6)
    assert new.events.dataset == old.events.dataset


@pytest.mark.parametrize("name", ["ch_neutrino.h5", "shiftlab_sample_1.h5"])
def test_packing_what_was_packed_moves_no_deposit(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Boxes with sides of different lengths have different quanta on their axes; those of the file are kept."""
    code, text = run(capsys, "convert", DATA / name, tmp_path / "out.h5")
    assert code == 0, text
    assert made.differences(read(DATA / name), read(tmp_path / "out.h5")) == []


def test_the_provenance_names_input_and_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "convert", DATA / "shiftlab_sample_1.h5", tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        record = json.loads(file.attrs["provenance"])
        assert file.attrs["licence"] == "CC-BY-4.0, The shiftlab authors"
    assert record["input"]["file"] == "shiftlab_sample_1.h5"
    assert (record["input"]["format"], record["input"]["dialect"]) == ("sample", "version 1")
    assert len(record["input"]["sha256"]) == 64
    assert record["command"] == "shiftlab convert shiftlab_sample_1.h5 out.h5"
    assert record["left_out"] == []


def test_a_sample_that_was_changed_is_not_given_a_new_digest(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "in.h5", made.deposits(5), "deposits")
    with h5py.File(path, "r+") as file:
        file["deposits/energy"][0] += 1.0
    for words in (["convert", path, tmp_path / "out.h5"], ["split", path, "-o", tmp_path / "m.json", "a=0.5", "b=0.5"]):
        code, text = run(capsys, *words)
        assert code == 2
        assert "was changed after it was written" in text


def test_unsorted_tables_are_refused_with_the_way_out_and_converted_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "shuffled.h5", tmp_path / "out.h5"
    with h5py.File(DATA / "edepsim_jax.h5") as old, h5py.File(path, "w") as new:
        rows = old["segments"][...]
        new["segments"] = rows[np.random.default_rng(1).permutation(len(rows))]
    code, text = run(capsys, "convert", path, out)
    assert code == 2
    assert "unsorted events" in text
    assert "--sort" in text
    assert run(capsys, "convert", path, out, "--sort", "--exact")[0] == 0
    found, whole = read(out), read(DATA / "edepsim_jax.h5")
    assert torch.equal(found.offsets, whole.offsets)
    assert torch.equal(found.energy.sort().values, whole.energy.sort().values)


def test_bad_events_end_the_conversion_or_are_left_out_and_listed(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "in.h5", made.deposits(20), "deposits")
    with h5py.File(path, "r+") as file:
        file["events/weight"][3] = np.nan
        file["deposits/energy"][int(file["events/offsets"][7])] = -1.0
        del file.attrs["digest"]
    out = tmp_path / "out.h5"
    code, text = run(capsys, "convert", path, out, "--exact")
    assert code == 2
    assert "event 7, deposit 0: energy is negative" in text
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in.h5"]
    code, text = run(capsys, "convert", path, out, "--exact", "--skip-bad")
    assert code == 0
    assert "18 events of deposits" in text
    assert "2 left out" in text
    assert "  event 3: " in text
    assert "  event 7: " in text
    assert read(out).events.key.tolist() == [7919 * i - 5 for i in range(20) if i not in (3, 7)]
    with h5py.File(out) as file:
        assert json.loads(file.attrs["provenance"])["left_out"] == [3, 7]


def test_a_file_that_is_there_is_overwritten_only_by_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.h5"
    out.write_bytes(b"before")
    code, text = run(capsys, "convert", EDEPSIM, out)
    assert (code, out.read_bytes()) == (2, b"before")
    assert "out.h5: is there already; --force overwrites it." in text
    assert run(capsys, "convert", EDEPSIM, out, "--force")[0] == 0
    code, text = run(capsys, "convert", out, out, "--force")
    assert code == 2
    assert "it is what is read" in text
    assert len(read(out)) == 5


def test_images_and_tokens_are_converted_too(made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = made.tokens(12)
    assert run(capsys, "convert", written(tmp_path / "t.h5", tokens, "tokens"), tmp_path / "tt.h5")[0] == 0
    assert made.differences(tokens, read_tokens(tmp_path / "tt.h5")) == []
    images = made.images(12)
    assert run(capsys, "convert", written(tmp_path / "i.h5", images, "images"), tmp_path / "ii.h5", "--exact")[0] == 0
    with open_events(tmp_path / "ii.h5") as source:
        assert made.differences(images, source.read(slice(0, 12))) == []


def test_tokens_go_to_omnilearned_and_deposits_do_not(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = made.tokens(12, features=4)
    names = {"columns": ("delta_eta", "delta_phi", "log_pT", "log_E"), "units": ("1", "rad", "log(GeV)", "log(GeV)")}
    valid = torch.ones_like(tokens.valid)
    truth = {**tokens.events.truth, "label": torch.arange(12, dtype=torch.float64) % 2}
    events = replace(tokens.events, truth=truth)
    tokens = replace(tokens, valid=valid, events=events, truth={}, **names)
    path = written(tmp_path / "t.h5", tokens, "tokens")
    code, text = run(capsys, "convert", path, tmp_path / "o.h5", "--to", "omnilearned")
    assert code == 0, text
    assert torch.equal(read_tokens(tmp_path / "o.h5").events.key, tokens.events.key)
    code, text = run(capsys, "convert", EDEPSIM, tmp_path / "no.h5", "--to", "omnilearned")
    assert code == 2
    assert "holds deposits; omnilearned holds tokens" in text
    code, text = run(capsys, "convert", EDEPSIM, tmp_path / "no.h5", "--to", "omnilerned")
    assert code == 2
    assert "Did you mean 'omnilearned'?" in text
    assert not (tmp_path / "no.h5").exists()


def test_inspect_aligns_units_and_tells_what_is_missing(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "a.h5", made.deposits(6), "deposits")
    code, text = run(capsys, "inspect", path, "--check")
    assert code == 0
    lines = text.splitlines()
    assert "format      sample, version 2  (data set made-up/r1)" in lines
    places = {line.index("[") for line in lines if line.endswith(("[cm]", "[MeV]", "[electrons]"))}
    assert len(places) == 1
    assert "missing     direction, semantic" in lines
    assert lines[-1] == "checked     6 events are good, 0 are bad; the digest holds"


def test_inspect_as_json_has_format_events_rows_units_and_what_is_missing(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = made.deposits(6)
    path = written(tmp_path / "a.h5", events, "deposits")
    code, text = run(capsys, "inspect", path, "--json", "--check")
    record = json.loads(text)
    assert code == 0
    assert (record["format"], record["dialect"], record["holds"], record["events"]) == (
        "sample",
        "version 2",
        "deposits",
        6,
    )
    assert record["rows"] == {
        "events": 6,
        "deposits": len(events.energy),
        "particles": len(events.particles.columns["pdg"]),
    }
    assert record["units"]["energy"] == "MeV"
    assert record["units"]["particles/kinetic"] == "MeV"
    assert record["missing"] == ["direction", "semantic"]
    assert record["attributes"]["digest"].startswith("sha256:")
    assert (record["good"], record["bad"], record["digest_holds"]) == (6, [], True)
