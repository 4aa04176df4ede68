"""``shiftlab impacts``: refits, one-sided nuisances along their profile, components and groups that add up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shiftlab import cli
from shiftlab.fit.likelihood import fit, from_workspace, observed

Spec = dict[str, Any]
Capture = pytest.CaptureFixture[str]


def _spec(events: float = 1e6, size: float = 0.01) -> Spec:
    """One channel of three bins: a yield, a shape, and noise that raises the first bin whichever its sign."""
    background = np.array([0.5, 0.3, 0.2]) * events
    raised = (background + size * events * np.array([1.0, 0.0, 0.0])).tolist()
    tilt = size * events * np.array([1.0, 0.0, -1.0])
    modifiers = [
        {"name": "gain", "type": "normsys", "data": {"hi": 1.0 + size, "lo": 1.0 - size}},
        {
            "name": "tilt",
            "type": "histosys",
            "data": {"hi_data": (background + tilt).tolist(), "lo_data": (background - tilt).tolist()},
        },
        {"name": "noise", "type": "histosys", "data": {"hi_data": raised, "lo_data": raised}},
        {"name": "mc", "type": "staterror", "data": (1e-3 * background).tolist()},
    ]
    signal = {"name": "mu", "type": "normfactor", "data": None}
    samples = [
        {"name": "signal", "data": (background * [0.1, 0.2, 0.4]).tolist(), "modifiers": [signal]},
        {"name": "background", "data": background.tolist(), "modifiers": modifiers},
    ]
    total = (background * [1.1, 1.2, 1.4]).tolist()
    return {
        "version": "1.0.0",
        "channels": [{"name": "SR", "samples": samples}],
        "observations": [{"name": "SR", "data": total}],
        "measurements": [{"name": "fit", "config": {"poi": "mu", "parameters": []}}],
    }


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("impacts") / "w.json"
    path.write_text(json.dumps(_spec()))
    return path


def run(capsys: Capture, *words: str | Path) -> Spec:
    assert cli.main(["impacts", *map(str, words), "--json"]) == 0
    found: Spec = json.loads(capsys.readouterr().out)
    return found


def test_refits_equal_the_closed_form_in_the_gaussian_limit(tmp_path: Path, capsys: Capture) -> None:
    """A million events, odd shifts of 1%: C_mk / sqrt(C_kk) is what a refit gives, to 1% of the largest."""
    spec = _spec()
    del spec["channels"][0]["samples"][1]["modifiers"][2]
    file = tmp_path / "w.json"
    file.write_text(json.dumps(spec))
    odd = pd.DataFrame(run(capsys, file)["impacts"])
    assert set(odd["how"]) == {"refit"}
    assert set(odd["name"]) == {"gain", "tilt", "mc[0]", "mc[1]", "mc[2]"}
    largest = odd["postfit"].abs().max()
    np.testing.assert_allclose(odd["up"], odd["postfit"], atol=0.01 * largest)
    np.testing.assert_allclose(odd["down"], -odd["postfit"], atol=0.01 * largest)
    assert list(odd["impact"]) == sorted(odd["impact"], reverse=True)


def test_a_one_sided_nuisance_is_read_where_its_profile_rises_by_one(file: Path, capsys: Capture) -> None:
    """Its slope at the best fit is zero; both ends of its interval move mu, and the same way."""
    found = run(capsys, file)
    noise = pd.DataFrame(found["impacts"]).set_index("name").loc["noise"]
    assert (noise["how"], noise["one_sided"]) == ("profile", True)
    assert abs(noise["postfit"]) < 1e-6
    assert noise["up"] == pytest.approx(noise["down"], rel=1e-3)
    spec = _spec()
    model = from_workspace(spec)
    best, tried = fit(model, observed(spec, model)), np.linspace(0.02, 3.0, 150)
    fits = [fit(model, observed(spec, model), fixed={"noise": value}) for value in tried]
    rise = np.array([one.goodness - best.goodness for one in fits])
    end = np.interp(1.0, rise, [one.value("mu") - best.value("mu") for one in fits])
    assert noise["up"] == pytest.approx(end, rel=0.02)


def test_components_and_groups_add_up_to_the_variance(file: Path, capsys: Capture) -> None:
    """Pinto et al.: squares of all components sum to the variance; a group's to that of its members."""
    found = run(capsys, file, "--group", "all=gain,tilt,noise", "--group", "mc=mc*")
    parts = pd.DataFrame(found["components"]).set_index("component")["sigma"]
    assert abs(found["sum_check"]) < 1e-9
    three = parts[["data statistics", "MC statistics", "systematics"]]
    assert (three**2).sum() == pytest.approx(found["poi"]["error"] ** 2, rel=1e-3)
    groups = pd.DataFrame(found["groups"]).set_index("group")["quadrature"]
    assert groups["all"] == pytest.approx(parts["systematics"], rel=1e-9)
    assert groups["mc"] == pytest.approx(parts["MC statistics"], rel=1e-9)


def test_only_the_largest_are_refitted_and_shown(file: Path, capsys: Capture) -> None:
    table = pd.DataFrame(run(capsys, file, "--top", "1")["impacts"])
    assert (table["how"] == "refit").sum() == 1
    assert (table["how"] == "profile").sum() == 1
    cli.main(["impacts", str(file), "--top", "1"])
    assert "and 5 smaller ones (--top 0 shows all)" in capsys.readouterr().out


def test_prefit_impacts_move_by_one_prior_sigma(file: Path, capsys: Capture) -> None:
    table = pd.DataFrame(run(capsys, file, "--prefit")["impacts"]).set_index("name")
    model = from_workspace(_spec())
    data = observed(_spec(), model)
    moved = fit(model, data, fixed={"gain": 1.0}).value("mu") - fit(model, data).value("mu")
    assert table["up"]["gain"] == pytest.approx(moved, rel=1e-4)


def test_tables_and_the_figure_are_written(file: Path, tmp_path: Path, capsys: Capture) -> None:
    found = run(capsys, file, "--out", tmp_path, "--group", "all=*")
    assert json.loads((tmp_path / "impacts.json").read_text()) == found
    assert list(pd.read_csv(tmp_path / "impacts.csv")["name"]) == [row["name"] for row in found["impacts"]]
    assert (tmp_path / "pulls_impacts.png").read_bytes().startswith(b"\x89PNG")
    assert {"components.csv", "groups.csv", "parameters.csv"} <= {one.name for one in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("--fix", "mu"), "'mu' is held, so nothing can move it"),
        (("--group", "gain"), "NAME=PATTERN,PATTERN is wanted"),
        (("--group", "a=gian"), "no constrained parameter is called 'gian'"),
        (("--top", "-1"), "a number of nuisances is wanted"),
    ],
)
def test_words_that_make_no_sense_are_refused(file: Path, words: tuple[str, ...], wanted: str, capsys: Capture) -> None:
    assert cli.main(["impacts", str(file), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert wanted in line
