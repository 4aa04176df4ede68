"""A training that is killed, however and wherever, ends with the weights of one that was not."""

import importlib.util
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from shiftlab.arms.objectives import objectives
from shiftlab.arms.training import Deadline, Run, presentations, train
from shiftlab.arms.training.curves import Curve
from shiftlab.arms.training.networks import seeded
from shiftlab.errors import DataError, RunError

PROGRAM = Path(__file__).with_name("small_training.py")
spec = importlib.util.spec_from_file_location("small_training", PROGRAM)
small = importlib.util.module_from_spec(spec)
spec.loader.exec_module(small)


@pytest.fixture(autouse=True)
def one_thread():
    """Sums over threads may come in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The training that nobody stopped."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole")
    module, losses = small.fit(folder)
    torch.set_num_threads(threads)
    return module.state_dict(), losses, Curve.load(folder / "curve.csv").points


def same(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


def start(folder, *words):
    return subprocess.Popen([sys.executable, PROGRAM, folder, *words], stdout=subprocess.PIPE, text=True)


def test_the_small_training_learns_and_moves_what_it_should(whole):
    state, losses, _ = whole
    fresh = small.Student().state_dict()
    assert losses[-1] < 0.5 * losses[0]
    assert state["steps"] > 0
    assert not torch.equal(state["teacher.0.weight"], state["body.0.weight"])
    assert not torch.equal(state["seldom.weight"], fresh["seldom.weight"])


def test_sigkill_in_the_middle_gives_the_same_bytes(whole, tmp_path):
    points = (1, 8, small.STEPS - 1)
    ended, _ = start(tmp_path, "--kill-at", *map(str, points)).communicate(timeout=300)
    assert json.loads(ended) == {str(at): -signal.SIGKILL for at in points}
    for at in points:
        with safe_open(tmp_path / str(at) / "state", framework="pt") as file:
            assert file.metadata()["identity"] == "x"
        module, losses = small.fit(tmp_path / str(at))
        assert same(module.state_dict(), whole[0])
        assert losses == whole[1]


@pytest.mark.slow
def test_sigkill_at_any_moment_gives_the_same_bytes(whole, tmp_path):
    """The state is written after every step here, so that many kills fall into a write."""
    process = start(tmp_path)
    state = tmp_path / "run" / "state"
    while not state.exists():
        assert process.poll() is None
        time.sleep(0.001)
    time.sleep(random.random() * 0.1)
    process.kill()
    process.communicate()
    assert process.returncode in (-signal.SIGKILL, 0)
    module, _ = small.fit(tmp_path / "run")
    assert same(module.state_dict(), whole[0])


@given(st.lists(st.integers(1, small.STEPS - 1), min_size=1, max_size=4))
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_number_of_stops_gives_the_same_bytes_and_curve(whole, tmp_path_factory, stops):
    class StopError(Exception):
        pass

    folder = tmp_path_factory.mktemp("stopped")
    for stop in stops:
        left = [stop]

        def tell(loss, left=left):
            left[0] -= 1
            if not left[0]:
                raise StopError

        try:
            small.fit(folder, tell=tell)
        except StopError:
            continue
    module, losses = small.fit(folder)
    assert same(module.state_dict(), whole[0])
    assert losses == whole[1]
    points = Curve.load(folder / "curve.csv").points
    assert points.drop(columns="wall_s").equals(whole[2].drop(columns="wall_s"))
    assert points["wall_s"].is_monotonic_increasing


IMAGES = [name for name in objectives().names() if objectives().get(name).input == "images"]


@pytest.mark.parametrize("name", IMAGES)
def test_pre_training_goes_on_with_the_same_bits_whatever_the_objective_keeps(name, lesson, recipe, tmp_path):
    """Teachers, centres, queues and counters: what an objective carries from step to step must be in its state."""

    class StopError(Exception):
        pass

    def taught(folder, stop=-1):
        with seeded(0):
            model = objectives().get(name)(recipe.fresh_body(lesson.contract))
        told = []

        def tell(loss):
            told.append(loss)
            if len(told) == stop:
                raise StopError

        def loss(rows, generator):
            return model(lesson.batch(rows, generator).patches, generator)

        batches = presentations(lesson.seen, lesson.size, 48, 8, 0)
        run = Run("body", 0, folder / "state", "x", every=0.0, tell=tell)
        keys = lesson.image.events.key
        train(run, model, batches, loss, recipe, peak=3e-3, keys=keys, after_step=model.after_step)
        return model.state_dict()

    whole = taught(tmp_path / "whole")
    with pytest.raises(StopError):
        taught(tmp_path / "torn", stop=3)
    assert same(taught(tmp_path / "torn"), whole)


def test_the_time_limit_keeps_the_state(whole, tmp_path):
    with pytest.raises(RunError, match="time limit"):
        small.fit(tmp_path, deadline=Deadline(0.0))
    module, _ = small.fit(tmp_path)
    assert same(module.state_dict(), whole[0])


@pytest.mark.parametrize("damage", [lambda raw: raw[: len(raw) // 2], lambda raw: b""])
def test_a_damaged_state_is_refused_and_kept(tmp_path, damage):
    small.fit(tmp_path)
    path = tmp_path / "state"
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(RunError, match="damaged"):
        small.fit(tmp_path)
    assert path.read_bytes() == before


def test_a_gradient_that_is_not_finite_stops_before_the_weights_move(tmp_path):
    with pytest.raises(DataError, match=r"gradient is (nan|inf) at step 4, events \[5\d\d, "):
        small.fit(tmp_path, spoil=4)
    with safe_open(tmp_path / "state", framework="pt") as file:
        assert all(torch.isfinite(file.get_tensor(name)).all() for name in file.keys())  # noqa: SIM118
