"""The record of a report: what is written comes back, and the priors are those of the detector."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from shiftlab.detector import detector
from shiftlab.errors import RunError
from shiftlab.report.blocks import Text
from shiftlab.report.record import Record, nuisance_table, table_path, write_table
from shiftlab.report.sections import bias_section


def test_priors_are_given_as_the_values_on_both_sides() -> None:
    pixels = detector("pixel_lar")
    table = nuisance_table(pixels).set_index("name")
    assert list(table.index) == [nuisance.name for nuisance in pixels.nuisances]
    for nuisance in pixels.nuisances:
        row = table.loc[nuisance.name]
        assert row["nominal"] == nuisance.parameter.nominal
        assert row["plus_1sigma"] == nuisance.parameter.value(1.0)
        assert row["source"]


def test_no_detector_gives_an_empty_table_with_its_columns() -> None:
    assert nuisance_table(None).empty
    assert "confidence" in nuisance_table(None)


def test_tables_come_back_with_empty_text_and_unknown_numbers(record: Record) -> None:
    correlation = record["correlation"]
    assert set(correlation["flag"]) == {"", "unreliable"}
    assert correlation["rho"].isna().sum() == (correlation["flag"] == "unreliable").sum() > 0
    assert record.arms == ("foundation", "scratch", "classic")
    assert record.seeds == (0, 1)


def test_an_unreadable_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(RunError, match="not readable JSON"):
        Record.load(tmp_path)


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    path = tmp_path / table_path("closure")
    write_table(path, pd.DataFrame(columns=["arm", "value"]))
    assert path.read_text() == "arm,value\n"


def test_a_one_sided_nuisance_is_named_and_what_stands_in_for_its_other_side(record: Record) -> None:
    """No detector has less than no cross-talk: the page says so where the column of -1 sigma is empty."""
    assert record.one_sided == ()
    bias = record["bias"].assign(mirrored=lambda table: table["nuisance"] == "noise_enc")
    lopsided = replace(record, tables={**record.tables, "bias": bias})
    assert lopsided.one_sided == ("noise_enc",)
    (text, *_) = bias_section(lopsided).blocks
    assert isinstance(text, Text)
    assert any("noise_enc" in said and "mirrored" in said for said in text.lines)
