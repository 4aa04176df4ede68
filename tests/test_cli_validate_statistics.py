"""``shiftlab validate statistics``: the table of coverage, its file and figure, and mistakes, as a user meets them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shiftlab.bias.proof import coverage
from shiftlab.bias.proof.cases import CASES
from shiftlab.bias.proof.estimator import Found
from shiftlab.bias.proof.estimators import ESTIMATORS
from shiftlab.cli import main

FEW = [
    one
    for one in ESTIMATORS
    if one.name in ("bias of a mean, error by bootstrap", "variance, antithetic pairs", "correlation, shrunk")
]


@pytest.fixture
def few(monkeypatch):
    """Three estimators instead of all, two cases: the command is the same."""
    whole = coverage.prove
    monkeypatch.setattr(
        coverage, "prove", lambda number, seed: whole(number, seed, cases=CASES[3:5], replicas=30, estimators=FEW)
    )


def test_the_table_is_printed_written_read_again_and_drawn(few, tmp_path, capsys):
    """60 pseudo-experiments: one line for each case and estimator, the same numbers in the file."""
    file, again, figure = (tmp_path / name for name in ("coverage.csv", "again.csv", "coverage.png"))
    assert main(["validate", "statistics", "--experiments", "60", "--seed", "4", "--csv", str(file)]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    found = pd.read_csv(file)
    assert lines[0].split() == ["case", "estimator", "bias", "/", "sd", "68%", "95%", "verdict"]
    rows = lines[1 : len(found)]
    assert len(rows) == 6
    for row, (_, cell) in zip(rows, found.iloc[:-1].iterrows(), strict=True):
        assert row.startswith(cell["case"])
        assert cell["estimator"] in row
        assert f"{cell['coverage_68']:.3f} +- {cell['error_68']:.3f}" in row
        assert cell["verdict"] in row
    assert found["experiments"].eq(60).all()
    assert found["error_95"].iloc[0] == pytest.approx(np.sqrt(0.95 * 0.05 / 60), abs=1e-4)
    assert any(line.startswith("mean over the 2 cells") and line.endswith("as claimed") for line in lines)
    read = ["validate", "statistics", "--read", str(file), "--csv", str(again), "--figure", str(figure)]
    assert main(read) == 0
    assert capsys.readouterr().out == printed
    assert again.read_text() == file.read_text()
    assert figure.read_bytes()[:4] == b"\x89PNG"


def test_an_estimator_that_is_not_to_be_believed_ends_with_one(monkeypatch, capsys):
    """Half the length of an interval: the line says so, and so does the exit code."""
    right = FEW[0]

    def find(draw):
        found = right.find(draw)
        half = (found.high - found.low) / 4.0
        return Found(found.estimate, found.estimate - half, found.estimate + half)

    whole = coverage.prove
    monkeypatch.setattr(
        coverage,
        "prove",
        lambda number, seed: whole(number, seed, cases=CASES[:2], estimators=[replace(right, find=find)]),
    )
    assert main(["validate", "statistics", "--experiments", "60"]) == 1
    out = capsys.readouterr().out
    assert out.count("UNDERCOVERS") == 2 + 1
    assert "2 cells: 2 UNDERCOVERS" in out
    assert "NOT AS CLAIMED" in out


def test_mistakes_are_named(tmp_path, capsys):
    assert main(["validate", "statistics", "--experiments", "3"]) == 2
    assert "3 pseudo-experiments are too few" in capsys.readouterr().err
    for option in ("--csv", "--figure"):
        assert main(["validate", "statistics", option, str(tmp_path / "none" / "x")]) == 2
        assert f"{option} " in capsys.readouterr().err
    assert main(["validate", "statistics", "--read", str(tmp_path / "none.csv")]) == 2
    assert "cannot be read as a table of coverage" in capsys.readouterr().err
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    assert main(["validate", "statistics", "--read", str(other)]) == 2
    assert "is not a table of `shiftlab validate statistics --csv`" in capsys.readouterr().err
    assert main(["validate", "statistics", "--read", str(other), "--seed", "1"]) == 2
    assert "leave out --experiments and --seed" in capsys.readouterr().err


def test_the_documentation_shows_the_table_that_lies_beside_it(capsys):
    """Every estimator, in the order of the registry, the numbers of the CSV, and nothing that is not believed."""
    pages = Path(__file__).resolve().parent.parent / "docs" / "pages"
    file = pages / "statistics_proof.csv"
    assert main(["validate", "statistics", "--read", str(file), "--markdown"]) == 0
    assert capsys.readouterr().out in (pages / "statistics_proof.md").read_text()
    table = pd.read_csv(file)
    assert set(table["estimator"].iloc[:-1]) == {one.name for one in ESTIMATORS}
    assert set(table["case"].iloc[:-1]) == {case.name for case in CASES}
    assert table["experiments"].min() >= 2000
