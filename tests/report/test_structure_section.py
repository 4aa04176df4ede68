"""The page says what the correlations amount to, and why where there is no number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from shiftlab.report.blocks import Picture, Sheet, Text
from shiftlab.report.record import Record
from shiftlab.report.structure_figures import excess_figure, structure_figure
from shiftlab.report.structure_section import excess_blocks, modes_blocks, structure_blocks

COLUMNS = "arm recalibrate source measure value lo hi tasks seeds note".split()
TWO = "energy, flavour"
STRUCTURE = pd.DataFrame(
    [
        ("foundation", "none", "unisims", "effective number of tasks", 1.4, 1.1, 1.8, TWO, 2, ""),
        ("foundation", "none", "unisims", "inflation of the sum", 1.9, 1.7, 2.1, TWO, 2, ""),
        ("foundation", "none", "joint universes", "effective number of tasks", 1.5, 1.1, 2.0, TWO, 2, ""),
        ("scratch", "none", "unisims", "effective number of tasks", np.nan, np.nan, np.nan, "energy", 2, "1 of 4 move"),
        ("scratch", "none", "joint universes", "inflation of the sum", np.nan, np.nan, np.nan, "", 0, "4 pairs: few"),
    ],
    columns=COLUMNS,
)
MODES = pd.DataFrame(
    [("foundation", 0, "none", 1, "gain_scale 62%", 0.97, task, 2.5, 2.1, 2.8) for task in ("energy", "flavour")],
    columns="arm seed recalibrate mode name fraction task loading lo hi".split(),
)


def of(record: Record, **tables: pd.DataFrame) -> Record:
    return replace(record, tables={**record.tables, **tables})


def test_sentences_give_the_numbers_or_the_reason(record: Record) -> None:
    """An arm with a number has it with its interval; an arm without says why; joint universes say what they lack."""
    text, figure = structure_blocks(of(record, structure=STRUCTURE))
    assert isinstance(text, Text)
    assert isinstance(figure, Picture)
    assert "energy and flavour move beyond event noise and count as 1.40 [1.10, 1.80] independent" in text.lines[0]
    assert "1.90 [1.70, 2.10] times" in text.lines[0]
    assert text.lines[1] == "scratch: 1 of 4 move."
    assert "4 pairs: few" in text.lines[2]


def test_a_run_without_the_table_has_no_such_part(record: Record) -> None:
    """Runs of older versions are drawn as they were."""
    assert structure_blocks(record) == []
    assert modes_blocks(record) == []


def test_no_figure_where_there_is_no_number(record: Record) -> None:
    """A figure of empty axes says nothing; the sentences say why."""
    none = STRUCTURE[STRUCTURE["value"].isna()]
    assert [type(block) for block in structure_blocks(of(record, structure=none))] == [Text]


def test_marks_lie_at_their_values(record: Record) -> None:
    """Filled marks are the one-nuisance universes, open ones the joint; the dashed line is the number of tasks."""
    axes = structure_figure(STRUCTURE, record.arms).axes[0]
    marks = {line.get_fillstyle(): line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"}
    assert marks == {"full": 1.4, "none": 1.5}
    assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"] == [2.0]


def test_the_excess_over_all_seeds_stands_out(record: Record) -> None:
    """One thick 68 % line per pair of arms; single seeds are thin."""
    rows = record.of("excess")
    axes = excess_figure(rows, record.arms).axes[0]
    thick = [line for line in axes.lines if line.get_linewidth() > 2.0]
    assert len(thick) == len(rows[rows["seed"].astype(str) == "all"]) == 2
    assert list(thick[0].get_xdata()) == pytest.approx([0.03, 0.23])
    figure, table = excess_blocks(record)
    assert isinstance(figure, Picture)
    assert isinstance(table, Sheet)


def test_no_excess_says_so(record: Record) -> None:
    """Without a reliable pair in both arms there is no number, and no empty figure."""
    blocks = excess_blocks(of(record, excess=record["excess"].assign(excess=np.nan)))
    assert isinstance(blocks[0], Text)
    assert "fewer than two tasks are reliable in both" in blocks[0].lines[0]


def test_a_mode_is_named_by_its_nuisances(record: Record) -> None:
    """One row per mode with its share of the variance, what makes it, and the loadings with intervals."""
    (table,) = modes_blocks(of(record, modes=MODES))
    assert isinstance(table, Sheet)
    cells = [line for cell in table.rows[0] for line in cell]
    assert cells[2:5] == ["1", "97.0 %", "gain_scale 62%"]
    assert cells[5].startswith("energy +2.50 [+2.10, +2.80]; flavour")
