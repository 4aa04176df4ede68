"""The commands that make samples: they do what they say, and refuse what they cannot do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shiftlab.events import read
from shiftlab.events.sample import write_sample
from shiftlab.events.simulation.composition import compose
from shiftlab.events.simulation.production import produce
from shiftlab.events.simulation.vertices import load_vertices
from studies.samples import make, recipe


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"numu_cc": 3, "nue_cc": 2, "photon_protons": 2, "single_proton": 2, "calibration_muon": 1}
    recipes = {
        "evaluation": recipe.Recipe("tiny-evaluation", counts),
        "training": recipe.Recipe("tiny-training", {"single_proton": 4}),
    }
    monkeypatch.setattr(make, "RECIPES", recipes)


def test_a_tiny_sample_with_its_manifest(tiny: None, transport: Any, samples: Path, tmp_path: Path) -> None:
    tables, vertices = str(transport.tables), str(samples / "vertices_evaluation.h5")
    for name in ("evaluation", "training"):
        command = [name, "--tables", tables, "--vertices", vertices, "--out", str(tmp_path / f"{name}.h5")]
        assert make.main(command) == 0
    events = read(tmp_path / "evaluation.h5").events
    assert [events.sample.count(kind) for kind in ("numu_cc", "nue_cc", "photon_protons")] == [3, 2, 2]
    assert len(set(events.vertex.tolist())) == len(events)
    files = ["--evaluation", str(tmp_path / "evaluation.h5"), "--training", str(tmp_path / "training.h5")]
    assert make.main(["manifest", *files, "--vertices", vertices, "--out", str(tmp_path / "m.json")]) == 0
    record = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    assert record["samples"]["calibration"]["counts"] == {"calibration_muon": 1}
    assert record["samples"]["training"]["counts"] == {"single_proton": 4}


def test_samples_that_share_vertices_get_no_manifest(
    tiny: None, transport: Any, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vertices = str(samples / "vertices_evaluation.h5")
    out = tmp_path / "evaluation.h5"
    assert make.main(["evaluation", "--tables", str(transport.tables), "--vertices", vertices, "--out", str(out)]) == 0
    files = ["--evaluation", str(out), "--training", str(out), "--vertices", vertices]
    assert make.main(["manifest", *files, "--out", str(tmp_path / "m.json")]) == 2
    assert "share a vertex" in capsys.readouterr().err
    assert not (tmp_path / "m.json").exists()


def test_wrong_tables_end_with_exit_code_2_and_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.h5"
    assert make.main(["evaluation", "--tables", str(tmp_path), "--out", str(out)]) == 2
    assert "G4EMLOW8.8" in capsys.readouterr().err
    assert not out.exists()


def test_the_readme_tells_the_recipes_numbers(samples: Path) -> None:
    text = (samples / "README.md").read_text(encoding="utf-8")
    for kind in recipe.RECIPES["training"].counts:
        row = next(line for line in text.splitlines() if line.startswith("|") and f"`{kind}`" in line)
        numbers = [int(cell) for cell in re.findall(r"\| (\d+)(?: each)? (?=\|)", row)]
        assert numbers == [recipe.RECIPES[name].counts[kind] for name in ("evaluation", "training")], kind


def test_the_shipped_events_are_made_again_bit_for_bit(transport: Any, samples: Path, tmp_path: Path) -> None:
    """The first batch of three kinds, packed and read as the shipped file, has the same deposits and truth."""
    counts = recipe.RECIPES["evaluation"].counts
    vertices = load_vertices(samples / "vertices_evaluation.h5")
    shipped = read(samples / "lar_evaluation.h5")
    for kind in ("nue_cc", "single_proton", "calibration_muon"):
        mine = vertices.take(np.flatnonzero(vertices.neutrino_pdg == 12)) if kind == "nue_cc" else None
        made = next(produce(compose(kind, counts[kind], "lar-evaluation-1", mine), transport, "lar-evaluation-1"))
        write_sample(tmp_path / "again.h5", made, {})
        again = read(tmp_path / "again.h5")
        first = shipped.events.sample.index(kind)
        wanted = shipped.take(list(range(first, first + len(again))))
        for name in ("offsets", "position", "energy", "length", "semantic", "particle"):
            assert torch.equal(getattr(again, name), getattr(wanted, name)), name
        assert torch.equal(again.events.key, wanted.events.key)
        assert torch.equal(again.events.vertex, wanted.events.vertex)
        for name, column in wanted.events.truth.items():
            assert torch.equal(again.events.truth[name].float().nan_to_num(-1), column.float().nan_to_num(-1)), name
