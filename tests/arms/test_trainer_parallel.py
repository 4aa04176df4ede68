"""Processes that train together give the network that one process gives, up to the order of sums."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from shiftlab.arms.training.curves import Curve
from shiftlab.arms.training.processes import Processes
from shiftlab.errors import ConfigError

PROGRAM = Path(__file__).with_name("small_training.py")
spec = importlib.util.spec_from_file_location("small_training", PROGRAM)
small = importlib.util.module_from_spec(spec)
spec.loader.exec_module(small)
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


def torchrun(processes, *words):
    command = [*TORCHRUN, str(processes), PROGRAM, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def same(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two trainings by two processes, one after another."""
    folder = tmp_path_factory.mktemp("two")
    done = torchrun(2, folder, "--pieces", 2, "--runs", "run", "again")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same training by one process."""
    folder = tmp_path_factory.mktemp("alone")
    module, losses = small.fit(folder, pieces=2)
    return module.state_dict(), losses, Curve.load(folder / "curve.csv").points


def test_two_processes_train_the_network_of_one(two, alone):
    state, losses, _ = alone
    found = load_file(two / "run.0")
    for name, value in state.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=name)
    with safe_open(two / "run.0", framework="pt") as file:
        assert json.loads(file.metadata()["losses"]) == pytest.approx(losses, rel=1e-5)


def test_all_ranks_hold_the_same_bytes_and_so_does_another_run(two):
    first = load_file(two / "run.0")
    assert same(first, load_file(two / "run.1"))
    assert same(first, load_file(two / "again.0"))


def test_the_curve_of_two_processes_counts_the_work_of_both(two, alone):
    found, expected = Curve.load(two / "run" / "curve.csv").points, alone[2]
    for column in ("step", "samples", "tokens", "flops", "epoch", "learning_rate"):
        assert found[column].tolist() == pytest.approx(expected[column].tolist()), column
    assert json.loads((two / "run" / "curve.json").read_text())["processes"] == 2


def test_pieces_weigh_by_what_their_loss_is_a_mean_over(tmp_path, alone):
    """Without draws, two pieces of unlike token counts give the gradient of the whole batch."""
    pieces, whole = (small.plain_gradient_step(tmp_path / str(count), count) for count in (2, 1))
    torch.testing.assert_close(pieces, whole, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_a_killed_rank_ends_all_and_the_next_call_gives_the_same_bytes(two, tmp_path):
    done = torchrun(2, tmp_path, "--pieces", 2, "--kill-at", 9)
    assert done.returncode != 0
    assert not (tmp_path / "run.0").exists()
    with safe_open(tmp_path / "run" / "state", framework="pt") as file:
        assert len(json.loads(file.metadata()["progress"])["losses"]) >= 8
    done = torchrun(2, tmp_path, "--pieces", 2)
    assert done.returncode == 0, done.stderr
    assert same(load_file(tmp_path / "run.0"), load_file(two / "run.0"))


@pytest.mark.slow
def test_a_loss_that_one_rank_finds_not_finite_stops_all_and_names_its_events(tmp_path):
    done = torchrun(2, tmp_path, "--pieces", 2, "--break-at", 5)
    assert done.returncode != 0
    found = re.findall(r"DataError: small: the loss is nan at step 5, events (\[.*\])", done.stderr)
    assert len(found) >= 1  # torchrun may end the other rank before it has spoken,
    assert len(set(found)) == 1  # but both say the same
    assert len(json.loads(found[0])) == small.BATCH // 2


@pytest.mark.slow
def test_pieces_that_do_not_go_round_are_refused(tmp_path):
    done = torchrun(2, tmp_path, "--pieces", 3)
    assert done.returncode != 0
    assert "give a multiple of 2" in done.stderr


def test_pieces_are_dealt_round_the_processes():
    assert [list(Processes(rank, 2).own(4)) for rank in (0, 1)] == [[0, 2], [1, 3]]
    with pytest.raises(ConfigError, match="multiple of 2"):
        Processes(0, 2).own(1)
