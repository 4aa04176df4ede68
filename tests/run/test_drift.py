"""Drift of a real network in a run, and the same numbers for a run that is finished."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from shiftlab.arms import load_arms
from shiftlab.bias import bias
from shiftlab.cli import main
from shiftlab.config import compose_study, detector_config
from shiftlab.detector.recorder import recorder
from shiftlab.errors import ConfigError, RunError
from shiftlab.plan import ArmPlan, DriftPlan
from shiftlab.responses import RESPONSES, open_responses, respond
from shiftlab.run import drift
from shiftlab.run.folder import open_run
from shiftlab.run.ingredients import identity, make_universes, read_events

CHECKPOINTS = Path(__file__).parents[2] / "studies" / "checkpoints" / "demo"
TABLES = ("drift", "drift_harm", "mechanism", "mechanism_points")


@pytest.fixture
def study(plan):
    """The small study on the shared body that ships."""
    return replace(
        plan,
        detector=detector_config("pixel_lar"),
        arms=ArmPlan(("foundation",), (0, 1), CHECKPOINTS),
        data=replace(plan.data, limit=12),
        tasks=("energy", "flavour"),
        universes=replace(plan.universes, only=("gain_scale", "lifetime_tau"), throws={}, joint=0, mip=()),
        drift=DriftPlan(events=30),
        injected={},
        chunk=64,
    )


@pytest.fixture
def finished(study, tmp_path, monkeypatch):
    """A run's folder without templates, fits and page, which have tests of their own."""
    monkeypatch.setattr(drift, "report_from_folder", lambda folder: folder / "report.html")
    events, _ = read_events(study)
    detector = recorder(study.detector, study.seed)
    universes = make_universes(study, detector)
    arms = load_arms(CHECKPOINTS, study.arms.names, study.arms.seeds)
    with open_run(tmp_path, study.name, identity(study, "cpu")) as folder:
        respond(events, detector, universes, arms, tasks=study.tasks, folder=folder.path, chunk=64, progress=False)
        with open_responses(folder.path / RESPONSES) as stored:
            biases = bias(stored, replicas=study.replicas, seed=study.seed, exposure=study.exposure)
        biases.save(folder.path)
        made = drift.measure_drift(
            *(study, folder.path, events, {}, detector, universes, arms), device="cpu", progress=False
        )
        assert made == folder.path / "features.nc"
        folder.finish()
        return folder.path


def tables(folder: Path) -> dict[str, str]:
    return {name: (folder / "csv" / f"{name}.csv").read_text() for name in TABLES}


def test_a_run_looks_inside_its_networks_and_a_finished_run_gives_the_same(study, finished):
    """The shared body of both seeds once, without the trees; done again, the bytes are the same."""
    folder = finished
    table = pd.read_csv(folder / "csv" / "drift.csv")
    assert set(table["arm"]) == {"foundation"}
    assert set(table["seed"]) == {"all"}
    assert set(table["nuisance"]) == {"gain_scale", "lifetime_tau"}
    mechanism = pd.read_csv(folder / "csv" / "mechanism.csv")
    assert set(mechanism["seed"]) == {0, 1}
    energy = mechanism[mechanism["task"] == "energy"].set_index("route")["explained"]
    # An energy is the summed energy times what the head says: scaled charge is nothing that features make.
    assert energy["features"].max() < 0.5 < energy["features and inputs beside"].min()
    before = tables(folder), (folder / "features.nc").read_bytes()
    for name in TABLES:
        (folder / "csv" / f"{name}.csv").unlink()
    assert drift.drift_of_run(study, folder, progress=False) == folder / "report.html"
    assert (tables(folder), (folder / "features.nc").read_bytes()) == before
    with pytest.raises(ConfigError, match=r"not the study of the run: study.data.limit was 12, and 11 is given"):
        drift.drift_of_run(replace(study, data=replace(study.data, limit=11)), folder)


def test_drift_changes_the_identity_of_a_run_only_where_it_is_measured(study):
    assert "drift" not in replace(study, drift=DriftPlan()).identity()
    assert study.identity()["drift"] == {"events": 30, "arms": None, "trees": "last"}


def test_the_demo_measures_drift_and_words_switch_it_off():
    assert compose_study(["study=demo"]).study.drift == DriftPlan(256, None, "last")
    assert compose_study(["study=demo", "drift=none"]).study.drift.events == 0
    with pytest.raises(ConfigError, match=r"drift.arms: arm 'classic' has no network.*\n.*'finetuned'"):
        compose_study(["study=demo", "drift.arms=[classic,finetuned]"])


def test_a_folder_that_is_no_run_is_named(tmp_path, capsys):
    with pytest.raises(RunError, match=r"holds no identity\.json"):
        drift.recorded_study(tmp_path)
    assert main(["drift", str(tmp_path)]) == 2
    assert "it is not the folder of a finished run" in capsys.readouterr().err
