"""The page says what happens inside the networks, with the numbers of the tables, or that nothing is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shiftlab.bias.drift.tables import HARM_COLUMNS, TABLE_COLUMNS
from shiftlab.bias.first_order import MECHANISM_COLUMNS, POINT_COLUMNS
from shiftlab.report.blocks import Picture, Section, Sheet, Text
from shiftlab.report.drift_section import drift_section
from shiftlab.report.record import Record, table_path, write_table

ROUTES = ("features", "features and inputs beside")
SHIFTS = [(name, sign) for name in ("gain_scale", "lifetime_tau", "noise_enc", "threshold_level") for sign in (-1, 1)]
LAYERS = ("layer 0", "layer 1", "voxels")


def universe(record: Record, nuisance: str, sign: int) -> str:
    rows = record["bias"]
    chosen = (rows["nuisance"] == nuisance) & (rows["direction"] == sign) & (rows["recalibrate"] == "none")
    return str(rows.loc[chosen, "universe"].iloc[0])


def tables(record: Record) -> dict[str, pd.DataFrame]:
    """Invented numbers with the columns that the room of the biases writes."""
    drift = [
        {
            **{"arm": "foundation", "seed": "all", "body": "shared", "universe": universe(record, name, sign)},
            **{"nuisance": name, "strength": float(sign), "throw": 0, "events_lost": 0, "matched": 0.99, "new": 0.02},
            **{"layer": layer, "features": 8, "events": 256, "drift": 0.1 * (i + 1) ** 0.5, "drift2": 0.01 * (i + 1)},
            **{"drift2_lo": 0.0 if i < 3 else 0.005 * i, "drift2_hi": 0.02 * (i + 1), "shrinkage": 0.1, "cka": 0.98},
            **{
                "cka_lo": 0.97,
                "cka_hi": 0.99,
                "mmd2": 1e-3,
                "mmd_p": 0.01,
                "auc": 0.6 if layer == "layer 1" else np.nan,
            },
            **{"auc_lo": 0.55, "auc_hi": 0.65, "auc_p": 0.01},
        }
        for i, (name, sign) in enumerate(SHIFTS)
        for layer in LAYERS
    ]
    harm = [
        ("foundation", seed, "shared", layer, task, rho, 0.2, rho - 0.3, min(1.0, rho + 0.2), 8, 4)
        for seed in (0, 1)
        for layer in LAYERS
        for task, rho in (("energy", 0.8), ("flavour", 0.1))
    ]
    explained = [
        {
            **{"arm": "foundation", "seed": seed, "route": route, "task": task, "explained": value, "events": 105},
            **{"explained_lo": value - 0.04, "explained_hi": value + 0.03, "reason": ""},
        }
        for seed in (0, 1)
        for route, value in zip(ROUTES, (0.01, 0.76), strict=True)
        for task in ("covariance matrix", "all", "energy")
    ]
    reason = {"arm": "foundation", "seed": 0, "route": "", "task": "segmentation", "events": 0, "reason": "has voxels"}
    points = [
        (
            "foundation",
            seed,
            route,
            "energy",
            f"u{i}",
            name,
            float(sign),
            0,
            sign * 2.0 * i,
            0.1,
            sign * 1.8 * i,
            0.1,
            0.05,
        )
        for seed in (0, 1)
        for route in ROUTES
        for i, (name, sign) in enumerate(SHIFTS)
    ]
    return {
        "drift": pd.DataFrame(drift, columns=list(TABLE_COLUMNS)),
        "drift_harm": pd.DataFrame(harm, columns=list(HARM_COLUMNS)),
        "mechanism": pd.DataFrame([*explained, reason], columns=list(MECHANISM_COLUMNS)),
        "mechanism_points": pd.DataFrame(points, columns=list(POINT_COLUMNS)),
    }


def drawn(folder: Path, without: tuple[str, ...] = ()) -> Section:
    for name, table in tables(Record.load(folder)).items():
        write_table(folder / table_path(name), table.iloc[:0] if name in without else table)
    return drift_section(Record.load(folder))


@pytest.fixture(scope="module")
def section(module_synthetic: Callable[..., Path]) -> Section:
    return drawn(module_synthetic())


def test_the_answer_comes_first_and_has_the_numbers(section: Section) -> None:
    answer = section.blocks[0]
    assert isinstance(answer, Text)
    assert answer.listed
    largest, told, mechanism = answer.lines
    assert "threshold_level +1σ moves the features that heads read last by most, 0.28 standard deviations" in largest
    assert "5 of 8 shifts" in largest
    assert "for energy is the rank correlation" in told
    assert "not for flavour" in told
    assert "(energy)" in mechanism
    assert "0.01 [−0.03, 0.04] (seed 0)" in mechanism
    assert "0.76 [0.72, 0.79] (seed 1)" in mechanism
    assert "Not for scratch and classic" in mechanism


def test_there_is_a_figure_for_each_question_and_a_reason_where_there_is_no_number(section: Section) -> None:
    pictures = [block for block in section.blocks if isinstance(block, Picture)]
    assert [picture.files[0] for picture in pictures] == [
        "csv/drift.csv",
        "csv/drift_harm.csv",
        "csv/mechanism_points.csv",
    ]
    (sheet,) = [block for block in section.blocks if isinstance(block, Sheet)]
    assert len(sheet.rows) == len(SHIFTS)
    last = section.blocks[-1]
    assert isinstance(last, Text)
    assert last.lines == ("foundation, segmentation: has voxels.",)


def test_a_run_without_these_tables_says_so_in_one_line(record: Record) -> None:
    section = drift_section(record)
    assert len(section.blocks) == 1
    (text,) = section.blocks
    assert isinstance(text, Text)
    assert text.lines[0].startswith("Not measured")


def test_parts_that_are_missing_are_left_out(synthetic: Callable[..., Path]) -> None:
    """Few nuisances give no ranks; arms without a shared body no mechanism."""
    section = drawn(synthetic(), ("drift_harm", "mechanism", "mechanism_points"))
    assert [type(block) for block in section.blocks] == [Text, Picture, Sheet]
    answer = section.blocks[0]
    assert isinstance(answer, Text)
    assert "not ranked against harm" in answer.lines[1]
    assert "Not for foundation, scratch and classic" in answer.lines[2]
