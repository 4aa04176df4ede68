"""Leaderboards of finished runs: those of several are that of one run with all arms; runs that differ are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shiftlab import cli
from shiftlab.bias import Mean, bias
from shiftlab.errors import DataError, RunError
from shiftlab.report.board import board_lines, leaderboard_of
from shiftlab.responses import Responses

ARMS = {"near": 0.2, "middle": 0.3, "far": 0.4}


@pytest.fixture(scope="module")
def make(toys: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that writes the folder of a run of some arms and gives its path."""

    def written(
        name: str,
        arms: tuple[str, ...],
        *,
        events: int = 300,
        tasks: tuple[str, ...] = ("t", "u"),
        nuisances: tuple[str, ...] = ("a", "b"),
        replicas: int = 30,
        sigma: float = 0.02,
        threshold: float = 3000.0,
        seeds: int = 2,
    ) -> Path:
        folder = tmp_path_factory.mktemp("runs") / name
        rows = [toys.nominal, *toys.unisims(list(nuisances))]
        steps = np.array([sum(row.value.values()) for row in rows])
        data = {}
        for number, task in enumerate(tasks):
            base = np.random.default_rng(number).standard_normal(events)
            own = [[ARMS[arm] * (1.0 + 0.1 * seed) for seed in range(seeds)] for arm in arms]
            answer = 1.0 + 0.3 * np.random.default_rng(10 + number).standard_normal(events)
            outputs = base + np.array(own)[:, :, None, None] * steps[:, None] * answer
            data[task] = toys.dataset(outputs[..., None], rows, arms=arms, seeds=range(seeds))
        bias(Responses(data, {}), tasks={task: Mean() for task in tasks}, replicas=replicas).save(folder)
        prior = {"nominal": 1.0, "minus_1sigma": 1.0 - sigma, "plus_1sigma": 1.0 + sigma}
        pd.DataFrame([{"name": n, **prior} for n in nuisances]).to_csv(folder / "csv" / "nuisances.csv", index=False)
        study = {"detector": {"effects": {"threshold": {"level": threshold}}}, "selection": {}, "most_tokens": None}
        (folder / "identity.json").write_text(json.dumps({"identity": {"study": study}}))
        (folder / "report.json").write_text("{}")
        return folder

    return written


@pytest.fixture(scope="module")
def whole(make: Callable[..., Path]) -> Path:
    return make("whole", tuple(ARMS))


def test_several_runs_are_ranked_as_one_run_with_all_their_arms(make: Callable[..., Path], whole: Path) -> None:
    """Replicas share their event weights over runs; only the unit, that of the first run, can be another."""
    one, other = make("one", ("near", "far")), make("other", ("middle",))
    together, expected = leaderboard_of([one, other]), leaderboard_of([whole])
    assert together["arm"].tolist() == expected["arm"].tolist() == ["near", "middle", "far"]
    assert together["run"].tolist() == ["one", "other", "one"]
    assert together["unit_of"].unique().tolist() == ["one"]
    scores = [name for name in expected if name.startswith(("score", "mean", "worst"))]
    np.testing.assert_allclose(together[scores].astype(float), expected[scores].astype(float), rtol=1e-6)
    ranks = [name for name in expected if name.startswith("rank")]
    assert together[ranks].to_numpy().tolist() == expected[ranks].to_numpy().tolist()


def test_one_run_prints_the_table_that_it_wrote(whole: Path) -> None:
    table, written = leaderboard_of([whole]), pd.read_csv(whole / "csv" / "leaderboard.csv")
    names = [name for name in written if pd.api.types.is_numeric_dtype(table[name])]
    np.testing.assert_allclose(table[names].astype(float), written[names].astype(float), rtol=1e-6)
    assert table["rho"].notna().all()
    lines = board_lines(table)
    assert lines[0].startswith("Ordered by how far a result moves")
    assert [line.split()[2] for line in lines[4:7]] == ["near", "middle", "far"]
    assert lines[-1] == "near, middle, far: no claim: 2 seeds, 5 are needed"


def test_arms_of_one_name_are_told_apart_by_their_run_and_share_ranks(make: Callable[..., Path], whole: Path) -> None:
    table = leaderboard_of([whole, make("again", ("near",))])
    assert table["arm"].tolist()[:2] == ["near@whole", "near@again"]
    assert table.loc[:1, "rank"].tolist() == [1, 1]


def test_arms_of_different_numbers_of_seeds_are_ranked(make: Callable[..., Path], whole: Path) -> None:
    table = leaderboard_of([whole, make("more", ("near",), seeds=5)]).set_index("arm")
    assert table.loc["near@more", "flag"] == ""
    assert table.loc["near@whole", "flag"] != ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": ("t",)}, "task 'u' only in whole"),
        ({"events": 299}, "is 'mean, 300 events' in whole, 'mean, 299 events' in other"),
        ({"nuisances": ("a",)}, r"universe 'b\+1_throw0', 'b-1_throw0' only in whole"),
        ({"replicas": 20}, "'30 replicas, seed 0' in whole, '20 replicas, seed 0' in other"),
        ({"sigma": 0.03}, r"nuisance 'a' has nominal, -1 and \+1 sigma \[1.0, 0.98, 1.02\] in whole"),
        ({"threshold": 2000.0}, "detector.effects.threshold.level is 3000.0 in whole, 2000.0 in other"),
    ],
)
def test_runs_that_differ_are_refused_by_name(
    make: Callable[..., Path], whole: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        leaderboard_of([whole, make("other", ("near",), **change)])


def test_the_same_run_twice_and_other_folders_are_refused(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is given twice"):
        leaderboard_of([whole, whole])
    with pytest.raises(RunError, match=r"holds no report\.json"):
        leaderboard_of([tmp_path])
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(RunError, match="wrote no tables for a leaderboard"):
        leaderboard_of([tmp_path])


def test_the_command_prints_text_or_json(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "leaderboard", str(whole)]) == 0
    assert "near" in capsys.readouterr().out
    assert cli.main(["show", "leaderboard", str(whole), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["arm"] for row in rows] == ["near", "middle", "far"]
    assert rows[0]["rank"] == 1
    assert cli.main(["show", "leaderboard", str(whole / "csv")]) == 2
    assert "not the folder of a finished run" in capsys.readouterr().err
