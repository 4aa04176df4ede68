"""``shiftlab validate statistics``: the table of coverage, its file, and mistakes, as a user meets them."""

from __future__ import annotations

import json

from shiftlab.cli import main


def test_the_table_is_printed_and_written(tmp_path, capsys):
    """60 pseudo-experiments: one line for each case and estimator, the same numbers in the file."""
    file = tmp_path / "coverage.json"
    assert main(["validate", "statistics", "--pseudo", "60", "--seed", "4", "--json", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(file.read_text())
    assert lines[0].split() == ["case", "estimator", "bias", "/", "sd", "68%", "95%", "verdict"]
    rows = lines[1 : 1 + len(found["cells"])]
    for row, cell in zip(rows, found["cells"], strict=True):
        assert row.startswith(cell["case"])
        assert cell["estimator"] in row
        assert f"{cell['coverage'][0]:.3f} +- {cell['error'][0]:.3f}" in row
        assert cell["verdict"] in row
        assert cell["believed"]
    assert found["believed"]
    assert found["seed"] == 4
    assert any(line.startswith("mean over the ") and line.endswith("as claimed") for line in lines)


def test_an_estimator_that_is_not_to_be_believed_ends_with_one(monkeypatch, capsys):
    """Half the length of an interval: the line says so, and so does the exit code."""
    from dataclasses import replace

    from shiftlab.bias.proof import coverage
    from shiftlab.bias.proof.estimators import ESTIMATORS, Found

    def find(draw, level):
        found = ESTIMATORS[0].find(draw, level)
        half = (found.high - found.low) / 4.0
        return Found(found.estimate, found.estimate - half, found.estimate + half)

    whole = coverage.prove
    monkeypatch.setattr(
        coverage, "prove", lambda pseudo, seed: whole(pseudo, seed, estimators=[replace(ESTIMATORS[0], find=find)])
    )
    assert main(["validate", "statistics", "--pseudo", "60"]) == 1
    out = capsys.readouterr().out
    assert out.count("UNDERCOVERS") == 7
    assert "NOT AS CLAIMED" in out


def test_mistakes_are_named(tmp_path, capsys):
    assert main(["validate", "statistics", "--pseudo", "3"]) == 2
    assert "3 pseudo-experiments are too few" in capsys.readouterr().err
    assert main(["validate", "statistics", "--json", str(tmp_path / "none" / "x.json")]) == 2
    assert "no such folder" in capsys.readouterr().err
