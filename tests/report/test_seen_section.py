"""The page says which shifts lie inside what each model was trained on, and says so when it does not know."""

import pandas as pd
import pytest

from shiftlab.report import page
from shiftlab.report.blocks import Sheet, Text
from shiftlab.report.record import SEEN, Record, table_path, write_table
from shiftlab.report.seen_section import seen_section

ROWS = [
    ("foundation", "gain_scale", "outside", "nothing in its training varies this", "mirror: y; crops: 2 of 0.4 to 1"),
    ("foundation", "gain_spread", "partly", "voxels vary by 5%", "mirror: y; crops: 2 of 0.4 to 1"),
    ("scratch", "gain_scale", "outside", "nothing in its training varies this", ""),
    ("scratch", "gain_spread", "not declared", "neither says", ""),
]


@pytest.fixture
def run_folder(synthetic):
    """The folder of a synthetic run that is without the table."""
    return synthetic()


def with_seen(folder, rows):
    write_table(folder / table_path("seen"), pd.DataFrame(rows, columns=list(SEEN)))
    return Record.load(folder)


def test_nuisances_are_rows_and_arms_are_columns(run_folder):
    section = seen_section(with_seen(run_folder, ROWS))
    tables = [block for block in section.blocks if isinstance(block, Sheet)]
    assert tables[0].columns == ("nuisance", "foundation", "scratch")
    assert tables[0].rows[0] == (("gain_scale",), ("outside",), ("outside",))
    assert tables[0].rows[1] == (("gain_spread",), ("partly",), ("not declared",))
    assert [row[1][0] for row in tables[1].rows] == ["gain_spread", "gain_spread"]
    lists = [block for block in section.blocks if isinstance(block, Text) and block.listed]
    assert lists[0].lines == ("foundation: mirror: y; crops: 2 of 0.4 to 1.", "scratch: nothing is declared.")


def test_a_run_without_the_table_says_that_it_does_not_know(run_folder):
    record = Record.load(run_folder)
    assert record["seen"].empty
    section = seen_section(record)
    assert "does not say what the training" in section.blocks[0].lines[0]
    assert seen_section(with_seen(run_folder, [])) == section


def test_it_is_a_section_of_the_page():
    assert seen_section in page._SECTIONS
