"""The command line as a user meets it: separate processes, one-line refusals, exit code 2."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shiftlab import cli
from shiftlab.config import locate
from shiftlab.errors import RunError


def shiftlab(*words: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "shiftlab.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def test_help_comes_within_half_a_second():
    times = []
    for _ in range(3):
        start = time.perf_counter()
        assert "run a study" in shiftlab("--help").stdout
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5


def test_the_console_script_is_this_command_line():
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="shiftlab")
    assert script.load() is cli.main


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("effects", {"gain", "noise", "recombination", "dead_channels", "lifetime"}),
        ("arms", {"foundation", "scratch", "classic"}),
        ("tasks", {"segmentation", "electron_gamma", "flavour", "energy"}),
        ("studies", {"demo"}),
        ("readers", set()),
    ],
)
def test_a_listing_is_json_with_names(capsys, kind, expected):
    assert cli.main(["list", kind, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert expected <= {row["name"] for row in rows}
    assert cli.main(["list", kind]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(rows)


def test_an_effect_is_listed_with_prior_unit_source_and_confidence(capsys):
    cli.main(["list", "effects", "--json"])
    parameters = {
        one["nuisance"]: one for effect in json.loads(capsys.readouterr().out) for one in effect.get("parameters", ())
    }
    for nuisance in ("gain_scale", "recombination_alpha", "lifetime_tau"):
        assert parameters[nuisance]["sigma"] > 0
        assert parameters[nuisance]["source"]
        assert parameters[nuisance]["confidence"] in {"A", "B", "C"}


def test_a_refusal_is_one_line_and_nothing_is_written(tmp_path):
    done = shiftlab("run", "study=dmo", folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "shiftlab: unknown study 'dmo'. Did you mean 'demo'? Allowed: demo, minerva, wires.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys) -> Callable[..., list[str]]:
    """Run in an empty folder what must be refused, and return the lines of the refusal."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def refuse(*words: str | Path) -> list[str]:
        assert cli.main([str(word) for word in words]) == 2
        written = capsys.readouterr()
        assert written.out == ""
        assert list(folder.iterdir()) == []
        return written.err.splitlines()

    return refuse


def test_several_mistakes_are_named_together(refused):
    lines = refused("run", "study=demo", "repicas=5", "data.evaluation=gone.h5", "chunk=0")
    assert len(lines) == 2
    assert "Did you mean 'replicas'" in lines[0]
    assert "chunk: 0 is given" in lines[1]


def test_debug_shows_the_traceback(refused):
    lines = refused("run", "study=dmo", "--debug")
    assert lines[0].startswith("Traceback")
    assert lines[-1].startswith("shiftlab: unknown study 'dmo'.")


def test_an_unknown_effect_is_answered_with_the_nearest(refused):
    (line,) = refused("show", "effect", "gian")
    assert "Did you mean 'gain'?" in line


def test_a_file_that_is_not_hdf5_is_refused(refused, tmp_path):
    broken = tmp_path / "broken.h5"
    broken.write_text("not HDF5")
    (line,) = refused("show", "event", broken, "0")
    assert "broken.h5" in line


def test_an_event_that_the_file_does_not_have_is_refused(refused):
    (line,) = refused("show", "event", locate("studies/samples/lar_evaluation.h5"), "1000000")
    assert "event 1000000 is asked for; it has events 0 to" in line


def test_a_folder_without_a_run_is_refused(refused, tmp_path):
    (line,) = refused("report", tmp_path)
    assert str(tmp_path) in line


def test_words_may_stand_before_and_after_options(monkeypatch):
    given = cli._read(["run", "study=demo", "--fresh", "replicas=5"])
    assert given.words == ["study=demo", "replicas=5"]


def test_an_unknown_option_is_refused():
    done = shiftlab("run", "study=demo", "--frehs")
    assert done.returncode == 2
    assert "--frehs" in done.stderr


@pytest.fixture
def demo_words(tmp_path, monkeypatch) -> list[str]:
    """A study on files that exist, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample.h5").touch()
    return ["study=demo", "data.evaluation=sample.h5", f"arms.checkpoints={tmp_path}"]


def test_a_run_prints_the_report_last_and_leaves_no_file_of_hydra(demo_words, tmp_path, monkeypatch, capsys):
    seen = []

    def run_one(job):
        seen.append(job)
        return tmp_path / "report.html"

    monkeypatch.setattr(cli.study, "_run_one", run_one)
    assert cli.main(["run", *demo_words, "replicas=50", "--fresh"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "report.html")
    (job,) = seen
    assert job.study.replicas == 50
    assert job.fresh
    assert job.root == tmp_path / "outputs"
    assert [path.name for path in tmp_path.iterdir()] == ["sample.h5"]


def test_a_sweep_runs_every_point_of_the_outer_grid(demo_words, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(cli.study, "_run_one", lambda job: seen.append((job.study.arms.names, job.study.data.limit)))
    assert cli.main(["run", "-m", *demo_words, "arms=classic,scratch", "data.limit=5,6"]) == 0
    assert seen == [(("classic",), 5), (("classic",), 6), (("scratch",), 5), (("scratch",), 6)]


def test_a_job_that_is_refused_exits_with_2_after_the_others_have_run(demo_words, monkeypatch, capsys):
    seen = []

    def run_one(job):
        seen.append(job.study.data.limit)
        if job.study.data.limit == 5:
            raise RunError("outputs/demo: another run is at work here.")
        return Path("report.html")

    monkeypatch.setattr(cli.study, "_run_one", run_one)
    assert cli.main(["run", "-m", *demo_words, "data.limit=5,6"]) == 2
    assert seen == [5, 6]
    assert "another run is at work" in capsys.readouterr().err


def test_training_needs_a_training_sample(refused):
    assert "data.train: missing; training needs a sample, which `make samples` makes." in "".join(
        refused("train", "study=demo")
    )


def test_retraining_within_a_run_needs_a_training_sample(demo_words, capsys):
    assert cli.main(["run", *demo_words, "retrain=true"]) == 2
    assert "data.train: missing" in capsys.readouterr().err
