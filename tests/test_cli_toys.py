"""``shiftlab toys``: coverage of a fit that is right, what a stop loses, and the goodness of fit of the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shiftlab import cli
from shiftlab.fit import toy_blocks

Spec = dict[str, Any]
Capture = pytest.CaptureFixture[str]


def _spec(data: list[float]) -> Spec:
    background = [400.0, 600.0, 500.0]
    modifiers = [
        {"name": "gain", "type": "normsys", "data": {"hi": 1.05, "lo": 0.95}},
        {"name": "mc", "type": "staterror", "data": [8.0, 10.0, 9.0]},
    ]
    signal = {"name": "mu", "type": "normfactor", "data": None}
    samples = [
        {"name": "signal", "data": [20.0, 80.0, 200.0], "modifiers": [signal]},
        {"name": "background", "data": background, "modifiers": modifiers},
    ]
    return {
        "version": "1.0.0",
        "channels": [{"name": "SR", "samples": samples}],
        "observations": [{"name": "SR", "data": data}],
        "measurements": [{"name": "fit", "config": {"poi": "mu", "parameters": []}}],
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "w.json"
    path.write_text(json.dumps(_spec([430.0, 700.0, 660.0])))
    return path


def run(capsys: Capture, *words: str | Path) -> Spec:
    assert cli.main(["toys", *map(str, words), "--json"]) == 0
    found: Spec = json.loads(capsys.readouterr().out)
    return found


def test_intervals_cover_and_the_goodness_of_fit_is_a_chi2(file: Path, capsys: Capture) -> None:
    """Many events, so the asymptotic numbers hold: 1000 toys agree with them within 4 binomial errors."""
    found = run(capsys, file, "--toys", "1000", "--seed", "3")
    assert found["status"] == {"converged": 1000, "at bound": 0, "failed": 0}
    for one in found["coverage"]:
        assert one["toys"] == 1000
        assert one["coverage"] == pytest.approx(
            one["level"], abs=4.0 * np.sqrt(one["level"] * (1 - one["level"]) / 1e3)
        )
        assert one["error"] == pytest.approx(np.sqrt(one["coverage"] * (1 - one["coverage"]) / 1e3))
    assert found["pull_width"] == pytest.approx(1.0, abs=0.1)
    fit = found["goodness"]
    assert fit["ndf"] == 2
    assert 0.01 < fit["p_value_chi2"] < 0.99
    assert fit["p_value_toys"] == pytest.approx(fit["p_value_chi2"], abs=4.0 * fit["p_value_error"])


def test_data_that_no_toy_matches_give_an_upper_limit(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "w.json"
    path.write_text(json.dumps(_spec([600.0, 400.0, 800.0])))
    cli.main(["toys", str(path), "--toys", "250"])
    assert "as bad in none, so less than 1.2 % (95% upper limit) of the toys" in capsys.readouterr().out


def test_a_stopped_series_goes_on_and_a_longer_one_begins_with_it(
    file: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the second block: the first is kept, not made again, and the end is that of one go."""
    real, made = toy_blocks.toys, []

    def stopped(*given: Any, **words: Any) -> Any:
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(1)
        return real(*given, **words)

    words = (file, "--toys", "300", "--seed", "5")
    monkeypatch.setattr(toy_blocks, "toys", stopped)
    assert cli.main(["toys", *map(str, words), "--out", str(tmp_path / "a")]) == 130
    assert not (tmp_path / "a" / "toys.csv").exists()
    count: list[int] = []
    monkeypatch.setattr(toy_blocks, "toys", lambda *g, **w: (count.append(1), real(*g, **w))[1])
    resumed = run(capsys, *words, "--out", tmp_path / "a")
    assert len(count) == 1
    straight = run(capsys, *words, "--out", tmp_path / "b")
    assert resumed == straight
    assert (tmp_path / "a" / "toys.csv").read_bytes() == (tmp_path / "b" / "toys.csv").read_bytes()
    assert len(pd.read_csv(tmp_path / "a" / "toys.csv")) == 300
    assert (tmp_path / "a" / "toys.png").read_bytes().startswith(b"\x89PNG")
    run(capsys, file, "--toys", "400", "--seed", "5", "--out", tmp_path / "b")
    first, second = (pd.read_csv(tmp_path / one / "toys.csv") for one in "ab")
    pd.testing.assert_frame_equal(first, second[:300])


def test_toys_of_another_identity_are_not_mixed(file: Path, tmp_path: Path, capsys: Capture) -> None:
    words = ["toys", str(file), "--toys", "10", "--out", str(tmp_path / "a")]
    assert cli.main(words) == 0
    assert cli.main([*words, "--seed", "1"]) == 2
    assert "it differs in seed. --fresh discards it." in capsys.readouterr().err
    assert cli.main([*words, "--seed", "1", "--fresh"]) == 0


def test_the_truth_is_what_is_asked_for(file: Path, capsys: Capture) -> None:
    assert run(capsys, file, "--toys", "5", "--set", "mu=2")["truth"] == 2.0
    assert run(capsys, file, "--toys", "5", "--at", "nominal")["truth"] == 1.0
    assert run(capsys, file, "--toys", "5")["truth"] == pytest.approx(0.77, abs=0.1)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("--toys", "0"), "at least one is needed"),
        (("--seed", "-1"), "it must not be negative"),
        (("--set", "mu=x"), "NAME=VALUE with a number is wanted"),
        (("--set", "gian=1"), "Did you mean 'gain'?"),
        (("--set", "mu=11"), "'mu' must be from 0 to 10"),
        (("--fix", "mu"), "no interval of it can be tested"),
    ],
)
def test_words_that_make_no_sense_are_refused(file: Path, words: tuple[str, ...], wanted: str, capsys: Capture) -> None:
    assert cli.main(["toys", str(file), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert wanted in line
