"""A study gives every promised file; started again it does nothing; killed and started again it gives equal bytes."""

import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import pandas as pd
import pytest
import torch

from shiftlab.bias import bias
from shiftlab.errors import DataError, RunError
from shiftlab.responses import Responses
from shiftlab.run import report_folder, run_study, steps

PROGRAM = Path(__file__).with_name("small_study.py")


@pytest.fixture(scope="module")
def finished(ingredients, tmp_path_factory):
    """The folder of a finished run."""
    root = tmp_path_factory.mktemp("finished")
    run_study(small_study(ingredients), root=root)
    return root / "small" / "latest"


@pytest.fixture
def no_figures(monkeypatch):
    """Runs that write no report, as the program does."""
    monkeypatch.setattr(steps, "report", lambda *values, **named: values[3].write_text("no figures\n"))


def small_study(folder):
    spec = importlib.util.spec_from_file_location("loose_small_study", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.small_study(folder)


def start(ingredients, root, workers=1):
    words = [sys.executable, "-W", "error", str(PROGRAM), str(ingredients), str(root), str(workers)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, env=environment)


def contents(folder):
    """Bytes of every file but the lock, which holds a process id."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def assert_same_bytes(folder, finished):
    """Every file of a run without figures is that of the finished run."""
    found, expected = contents(folder), contents(finished)
    assert {"bias.csv", "correlation.csv", "responses.h5", "summary.json"} <= set(found)
    assert {name for name in found if name != "report.html" and found[name] != expected[name]} == set()


def test_a_run_folder_holds_every_promised_file(finished):
    names = set(contents(finished))
    promised = {"report.html", "summary.json", "responses.h5", "bias.csv", "correlation.csv", "identity.json", "done"}
    workspaces = {f"sums-{seed}/workspace{kind}.json" for seed in (0, 1) for kind in ("", ".meta")}
    assert promised | workspaces <= names
    assert any(name.startswith("csv/") for name in names)
    assert not any("shards" in name or name.endswith(".part") for name in names)


def test_tables_have_the_promised_columns(finished):
    bias = pd.read_csv(finished / "bias.csv")
    wanted = ["arm", "seed", "task", "statistic", "unit", "nuisance", "direction", "bias", "bias_error"]
    assert [name for name in bias if name in wanted] == wanted
    assert set(bias["recalibrate"]) == {"none", "mip"}
    correlation = pd.read_csv(finished / "correlation.csv")
    assert {"arm", "task_a", "task_b", "rho", "lo", "hi"} <= set(correlation)


def test_the_summary_says_which_study_and_identity_it_is(finished):
    summary = json.loads((finished / "summary.json").read_text())
    identity = json.loads((finished / "identity.json").read_text())
    assert summary["study"] == "small"
    assert summary["identity"] == identity["digest"]
    assert finished.resolve().name == identity["digest"][:12]
    assert set(summary["fit"]) == {"none", "mip"}


def test_responses_carry_the_universes_of_the_plan(finished):
    responses = Responses.load(finished / "responses.h5")
    assert responses.universes[0] == "nominal"
    assert "injected_mip" in responses.universes
    with h5py.File(finished / "responses.h5") as file:
        assert set(file) == {"electron_gamma", "energy", "flavour"}


def test_biases_read_piece_by_piece_from_the_file_are_those_of_all_events_in_memory(plan, finished, tmp_path):
    responses = Responses.load(finished / "responses.h5")
    bias(responses, replicas=plan.replicas, seed=plan.seed, exposure=plan.exposure).save(tmp_path)
    for name in ("correlation.csv", "csv/covariance.csv", "csv/closure.csv", "csv/performance.csv", "csv/maps.csv"):
        assert (tmp_path / name).read_bytes() == (finished / name).read_bytes()
    own, found = (pd.read_csv(folder / "bias.csv") for folder in (tmp_path, finished))
    fitted = ["parameter_shift", "parameter_error"]  # filled in by the fit
    pd.testing.assert_frame_equal(own.drop(columns=fitted), found.drop(columns=fitted), check_exact=True)


def test_the_same_command_again_does_nothing(plan, finished):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name != ".lock"}
    report = run_study(plan, root=finished.parents[1])
    assert report == finished.resolve() / "report.html"
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_fresh_runs_the_study_again_and_gives_the_same_bytes(plan, finished, tmp_path, no_figures):
    run_study(plan, root=tmp_path)
    (tmp_path / "small" / "latest" / "bias.csv").write_text("arm\n")
    run_study(plan, root=tmp_path, fresh=True)
    assert_same_bytes(tmp_path / "small" / "latest", finished)


def test_two_workers_give_the_bytes_of_one(ingredients, finished, tmp_path):
    with start(ingredients, tmp_path, workers=2) as process:
        assert process.wait() == 0
    folder = tmp_path / "small" / "latest"
    assert (folder / "bias.csv").read_bytes() == (finished / "bias.csv").read_bytes()


def test_a_run_that_is_killed_at_random_moments_ends_with_the_same_bytes(ingredients, finished, tmp_path):
    """SIGKILL after a random number of units, and once while the last steps are at work."""
    moments = random.Random(7)
    units = 12 * 13
    stops = sorted(moments.randrange(1, units) for _ in range(2))
    for stop in [*stops, None]:
        process = start(ingredients, tmp_path)
        with process:
            while process.poll() is None and not reached(tmp_path / "small", stop):
                time.sleep(0.002)
            time.sleep(moments.uniform(0.0, 0.05))
            process.kill()
        assert process.returncode == -9
        assert not list(tmp_path.rglob("done"))
    with start(ingredients, tmp_path) as process:
        assert process.wait() == 0
    folder = tmp_path / "small" / "latest"
    assert_same_bytes(folder, finished)


def reached(root, stop):
    """Whether so many units are there, or, for None, the responses."""
    if stop is None:
        return any(root.glob("*/responses.h5"))
    return len(list(root.glob("*/shards/chunk*.npz"))) >= stop


def test_a_finished_report_can_be_written_again(finished):
    before = (finished / "report.html").read_bytes()
    assert report_folder(finished).read_bytes() == before


def test_the_report_of_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError):
        report_folder(tmp_path)


def test_a_sample_that_is_no_hdf5_file_leaves_no_run_half_written(plan, tmp_path):
    broken = tmp_path / "broken.h5"
    broken.write_text("not HDF5")
    with pytest.raises(DataError, match=r"broken\.h5"):
        run_study(replace(plan, data=replace(plan.data, evaluation=broken)), root=tmp_path)
    assert not list(tmp_path.rglob("bias.csv"))
    assert not list(tmp_path.rglob("done"))
