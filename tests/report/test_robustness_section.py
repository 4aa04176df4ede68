"""The section on robustness answers first, keeps correlation apart, and says what a small run cannot give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from shiftlab.bias import Mean, bias
from shiftlab.report.blocks import Picture, Section, Sheet, Text
from shiftlab.report.record import Record, table_path, write_table
from shiftlab.report.robustness_figures import most_harmful
from shiftlab.report.robustness_section import leaderboard_lines, robustness_section
from shiftlab.responses import Responses

TASKS = ("flavour", "energy")
SIZE = {"foundation": 0.2, "scratch": 0.4, "classic": 0.21}
EVENTS = 200


def _store(arms: Sequence[str], seeds: int, strengths: Sequence[float], joint: int) -> Responses:
    """Two nuisances, "gain" that moves all tasks and "noise" a fifth of it; each arm has its size."""
    rng = np.random.default_rng(0)
    names, group, value = ["nominal"], ["nominal"], [[0.0, 0.0]]
    for k, nuisance in enumerate(("gain", "noise")):
        for strength in strengths:
            names.append(f"{nuisance}{strength:+g}")
            group.append("unisim")
            value.append([strength if k == place else 0.0 for place in range(2)])
    for number in range(joint):
        z = rng.standard_normal(2)
        for sign in (1.0, -1.0):
            names.append(f"joint{number}{sign:+g}")
            group.append("multisim")
            value.append((sign * z).tolist())
    step = np.array(value) @ [1.0, 0.2]
    datasets = {}
    for task in TASKS:
        size = np.array([[SIZE[arm] * (1.0 + 0.02 * seed) for seed in range(seeds)] for arm in arms])
        spread = 1.0 + 0.3 * rng.standard_normal(EVENTS)
        outputs = rng.standard_normal(EVENTS) + size[:, :, None, None] * step[:, None] * spread
        count = np.arange(EVENTS, dtype=np.int64)
        datasets[task] = xr.Dataset(
            {
                "output": (("arm", "seed", "universe", "event", "output"), outputs[..., None]),
                "observable": (("arm", "seed", "universe", "event"), outputs),
                "selected": (("arm", "seed", "universe", "event"), np.ones(outputs.shape, dtype=np.bool_)),
                "truth": (("event", "truth_column"), np.zeros((EVENTS, 1))),
                "evaluated": (("event",), np.ones(EVENTS, dtype=np.bool_)),
            },
            coords={
                "arm": list(arms),
                "seed": np.arange(seeds, dtype=np.int64),
                "universe": names,
                "event": count,
                "nuisance": ["gain", "noise"],
                "vertex_uid": (("event",), count),
                "weight": (("event",), np.ones(EVENTS)),
                "sample": (("event",), ["numu_cc"] * EVENTS),
                "group": (("universe",), group),
                "throw": (("universe",), np.zeros(len(names), dtype=np.int64)),
                "recalibrate": (("universe",), ["none"] * len(names)),
                "nuisance_value": (("universe", "nuisance"), np.array(value)),
            },
            attrs={"statistic": "mean", "unit": "", "observable_label": "output"},
        )
    return Responses(datasets, {})


@pytest.fixture
def record(synthetic: Callable[..., Path]) -> Callable[..., Record]:
    """Return a function that writes a synthetic record with true tables of the arms' comparison, and reads it."""

    def written(
        arms: tuple[str, ...] = tuple(SIZE),
        seeds: int = 2,
        strengths: Sequence[float] = (-1.0, 1.0),
        joint: int = 4,
    ) -> Record:
        folder = synthetic(arms, tuple(range(seeds)))
        found = bias(_store(arms, seeds, strengths, joint), tasks={task: Mean() for task in TASKS}, replicas=30)
        for name, table in found.comparison.items():
            write_table(folder / table_path(name), table)
        return Record.load(folder)

    return written


def _words(section: Section) -> str:
    return " ".join(line for block in section.blocks if isinstance(block, Text) for line in block.lines)


def _board(section: Section) -> Sheet:
    return next(block for block in section.blocks if isinstance(block, Sheet))


def test_the_first_sentence_is_the_answer_and_correlation_stands_apart(record: Callable[..., Record]) -> None:
    section = robustness_section(record())
    lines = leaderboard_lines(record())
    assert lines[0].startswith("foundation moves least: ")
    assert any(line.startswith("Correlation is another matter: mean ρ") for line in lines)
    assert any("no loss per event to match arms on" in line for line in lines)
    assert "no claim is made about the ways of training" in lines[-1]
    board = _board(section)
    assert [row[1][0] for row in board.rows] == ["foundation", "classic", "scratch"]
    assert board.columns.index("moves by / data error") < board.columns.index("mean ρ (pairs)")
    assert board.rows[2][0][0].startswith("3 [")
    assert sum(isinstance(block, Picture) for block in section.blocks) == 2


def test_two_strengths_test_no_fit_and_eight_do(record: Callable[..., Record]) -> None:
    plain, curves = (
        robustness_section(record()),
        robustness_section(record(strengths=(-2.0, -1.0, -0.5, 0.5, 1.0, 2.0))),
    )
    captions = [[b.caption for b in section.blocks if isinstance(b, Picture)][1] for section in (plain, curves)]
    assert "the lines test nothing" in captions[0]
    assert "to 6 strengths" in captions[1]
    numbers = next(b for b in curves.blocks if isinstance(b, Sheet) and b.folded == "Scores of every task")
    assert {row[2][0] for row in numbers.rows} == {"±1σ", "±2σ"}


def test_the_most_harmful_nuisance_is_that_of_the_largest_bias(record: Callable[..., Record]) -> None:
    assert most_harmful(record().of("response_curves"), TASKS) == {"flavour": "gain", "energy": "gain"}


def test_one_arm_of_one_seed_without_joint_universes_says_what_it_cannot_give(record: Callable[..., Record]) -> None:
    section = robustness_section(record(("foundation",), 1, joint=0))
    words = _words(section)
    assert "One arm: its results move by" in words
    assert "one seed" in words
    assert "over events alone" in words
    assert "nan" not in words
    assert len(_board(section).rows) == 1


def test_a_run_without_these_tables_has_a_section_that_says_so(synthetic: Callable[..., Path]) -> None:
    (block,) = robustness_section(Record.load(synthetic())).blocks
    assert isinstance(block, Text)
    assert "arms cannot be ranked" in block.lines[0]
