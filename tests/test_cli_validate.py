"""``shiftlab validate physics``: tables that are met, missed, unknown or broken, as a user meets them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from shiftlab.cli import main

ORACLES = Path(__file__).parent / "oracles"


def validate(folder: Path, *words: str) -> int:
    return main(["validate", "physics", "--oracles", str(folder), *words])


def test_every_table_of_the_tests_is_met(capsys):
    """Each table is compared by some formula, and every column agrees within its tolerance."""
    assert validate(ORACLES) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(list(ORACLES.glob("*.csv")))
    assert all("  met: " in line for line in lines), [line for line in lines if "  met: " not in line]


def test_a_number_that_is_off_is_named_and_ends_with_one(tmp_path, capsys):
    """A drift velocity off by a part in 1e5: the line names column, row, both numbers."""
    table = (ORACLES / "drift_velocity.csv").read_text().splitlines()
    first = next(i for i, line in enumerate(table) if not line.startswith("#")) + 1
    cells = table[first].split(",")
    cells[2] = f"{float(cells[2]) * 1.00001:.10g}"
    (tmp_path / "mine.csv").write_text("\n".join([*table[:first], ",".join(cells), *table[first + 1 :]]) + "\n")
    assert validate(tmp_path) == 1
    out = capsys.readouterr().out
    assert out.startswith("mine.csv  MISSED: larsoft_walkowiak_icarus, row 0")
    assert validate(tmp_path, "--json") == 1
    found = json.loads(capsys.readouterr().out)["mine.csv"]
    assert [one["met"] for one in found if one["column"] == "larsoft_walkowiak_icarus"] == [False]


def test_unknown_columns_are_said_and_are_no_miss(tmp_path, capsys):
    shutil.copy(ORACLES / "universe_covariance.csv", tmp_path)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "list.csv").write_text("id,name\nE1,gain\nZ9,nothing\n")
    assert validate(tmp_path) == 0
    out = capsys.readouterr().out
    assert "not compared: no formula knows these columns: a, b" in out
    assert "a list of 2 shifts, 1 of which have an effect; without: Z9" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no header line"),
        ("a,b\n1\n", "row 0 has 1 cells"),
        ("case,i,j,cov_about_mean,cov_about_cv\nx,0,0,1,1\n", "x"),
    ],
)
def test_broken_tables_name_the_file(tmp_path, capsys, text, message):
    (tmp_path / "broken.csv").write_text(text)
    assert validate(tmp_path) == 2
    error = capsys.readouterr().err
    assert "broken.csv" in error
    assert message in error


def test_a_folder_without_tables_is_refused(tmp_path, capsys):
    assert validate(tmp_path) == 2
    assert validate(tmp_path / "none") == 2
    assert "no such folder" in capsys.readouterr().err
