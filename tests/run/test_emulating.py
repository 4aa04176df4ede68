"""Emulated universes of a finished run by the command line: closure is printed first, and decides what is written."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from shiftlab import bias
from shiftlab.arms import load_arms
from shiftlab.cli import main
from shiftlab.config import compose_emulation
from shiftlab.detector.recorder import recorder
from shiftlab.errors import ConfigError, DataError
from shiftlab.events import read
from shiftlab.plan import UniversePlan
from shiftlab.provenance import digest_file
from shiftlab.responses import Responses, respond
from shiftlab.run.ingredients import digest_folder, make_universes
from shiftlab.tasks import named_tasks
from shiftlab.templates import templates

HERE = Path(__file__).parent
IDLE = {"recombination": ("alpha", "beta"), "noise": ("enc",), "gain": ("spread",), "threshold": ("level",)}


def loose(path):
    """Import a file that belongs to no package."""
    spec = importlib.util.spec_from_file_location(f"loose_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(ingredients, tmp_path_factory):
    """A finished run of a detector with two uncertain parameters, and six joint universes."""
    plan = loose(HERE / "small_study.py").small_study(ingredients)
    effects = {name: {key: {"sigma": 0.0} for key in IDLE.get(name, ())} for name in plan.detector["effects"]}
    study = replace(plan, detector={**plan.detector, "effects": effects}, universes=UniversePlan(joint=6))
    detector = recorder(study.detector, study.seed)
    folder = tmp_path_factory.mktemp("finished")
    respond(
        read(study.data.evaluation),
        detector,
        make_universes(study, detector),
        load_arms(study.arms.checkpoints, study.arms.names, study.arms.seeds),
        tasks=named_tasks(study.tasks),
        folder=folder,
        progress=False,
    )
    known = {"evaluation": digest_file(study.data.evaluation), "checkpoints": digest_folder(study.arms.checkpoints)}
    (folder / "identity.json").write_text(json.dumps({"identity": {"study": study.identity(), **known}}))
    (folder / "done").write_text("{}")
    return folder


@pytest.fixture
def finished(made, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def test_the_command_prints_the_closure_and_writes_a_store_that_says_what_is_emulated(finished, capsys):
    words = ["universes=multisim", "universes.joint=16", "universes.scramblings=1", "tasks=[energy]", "replicas=20"]
    assert main(["emulate", str(finished), *words]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[1].split()[:6] == ["arm", "seed", "task", "joint", "noise", "alone"]
    assert told.count("within 15%") == 2  # two seeds
    assert "responses.h5: 16 emulated universes" in told
    store = Responses.load(finished / "emulated" / "responses.h5")
    assert len(store.emulated) == 16
    assert store.attrs["emulated"]["settings"]["form"] == "quadratic"
    assert pd.read_csv(finished / "emulated" / "csv" / "emulation.csv")["closes"].all()
    table = pd.read_csv(finished / "emulated" / "bias.csv")
    assert table["universe"].str.startswith("emulated_").sum() == 2 * 16
    found = bias(store, replicas=10)
    assert found.emulated == store.emulated
    assert found.summary()["emulated_universes"] == 16
    with pytest.raises(DataError, match="emulated"):
        templates(store)


def test_what_does_not_close_is_refused_with_its_table_and_nothing_else_is_written(finished, capsys):
    assert main(["emulate", str(finished), "emulation.limit=0.0001", "tasks=[energy]"]) == 2
    told = capsys.readouterr()
    assert told.out.count("\n") == 1 + 1 + 2
    assert "task 'energy'" in told.err
    assert "within 0%" in told.err
    assert "emulation.limit" in told.err
    assert [path.name for path in (finished / "emulated").rglob("*") if path.is_file()] == ["emulation.csv"]


def test_a_folder_that_is_no_finished_run_is_refused(finished, tmp_path, capsys):
    (finished / "done").unlink()
    assert main(["emulate", str(finished)]) == 2
    assert "not the folder of a finished run" in capsys.readouterr().err


def test_only_some_nuisances_are_displaced_where_only_says_so(finished, capsys):
    words = ["universes.joint=4", "universes.scramblings=1", "universes.only=[gain_scale]", "tasks=[energy]"]
    assert main(["emulate", str(finished), *words, "replicas=10"]) == 0
    data = Responses.load(finished / "emulated" / "responses.h5").task("energy")
    moved = data["nuisance_value"].sel(universe=data["emulated"].values)
    assert (moved.sel(nuisance="gain_scale") != 0).all()
    assert (moved.sel(nuisance="lifetime_tau") == 0).all()
    assert main(["emulate", str(finished), "universes.only=[gian]", "tasks=[energy]"]) == 2
    assert "no nuisance 'gian'" in capsys.readouterr().err


def test_gradients_are_of_what_the_run_evaluated_and_say_what_has_none(finished, ingredients, capsys):
    words = [f"evaluation={ingredients / 'sample.h5'}", f"checkpoints={ingredients / 'checkpoints'}", "gradients=true"]
    assert main(["emulate", str(finished), *words]) == 2
    assert (
        "no arm and task of the run can be differentiated: arm 'sums' is made of no networks" in capsys.readouterr().err
    )
    other = finished / "responses.h5"
    assert main(["emulate", str(finished), f"evaluation={other}", *words[1:]]) == 2
    assert "is not what the run in" in capsys.readouterr().err
    assert main(["emulate", str(finished), *words[1:]]) == 2
    assert "evaluation: missing" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["auto", "quadratic", "interpolated"])
def test_every_file_of_the_group_composes(form):
    assert compose_emulation([f"emulation={form}"]).emulation.form == form


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("emulation=cubic", "'cubic'"),
        ("emulation.limits=0.1", "emulation.limits: no such key. Did you mean 'emulation.limit'"),
        ("emulation.limit=-1", "emulation.limit = -1"),
        ("universes.strengths=[1.0]", "universes.strengths: it is that of the run"),
        ("universes.joint=0", "at least 1 is wanted"),
        ("plugins=[none.py]", "plugins"),
        ("seed", "key=value is wanted"),
    ],
)
def test_mistakes_are_named(word, message):
    with pytest.raises(ConfigError) as caught:
        compose_emulation([word])
    assert message in str(caught.value)
