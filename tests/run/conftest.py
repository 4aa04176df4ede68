"""A small study: tracks in a sample file, checkpoints of a simple arm, and a plan that uses them."""

import importlib.util
from pathlib import Path

import pytest

from shiftlab.arms import arms
from shiftlab.detector import Geometry
from shiftlab.events import concatenate
from shiftlab.events.sample import write_sample

HERE = Path(__file__).parent


def loose(path):
    """Import a file that belongs to no package."""
    spec = importlib.util.spec_from_file_location(f"loose_{path.parent.name}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tracks():
    """The maker of straight tracks that the tests of the responses use."""
    return loose(HERE.parent / "responses" / "conftest.py").tracks


@pytest.fixture(scope="session")
def ingredients(tracks, tmp_path_factory):
    """The folder of the sample file and the checkpoints."""
    folder = tmp_path_factory.mktemp("ingredients")
    sample = concatenate([tracks(90), tracks(20, first=10_000, sample="calibration_muon")])
    write_sample(folder / "sample.h5", sample.keep(Geometry().inside(sample.position)), {"made_by": "tests"})
    loose(HERE / "small_study.py").small_study(folder)
    for seed in (0, 1):
        arms().get("sums")(seed).save(folder / "checkpoints")
    return folder


@pytest.fixture
def plan(ingredients):
    """A study of two nuisances, one joint pair and one injected universe."""
    return loose(HERE / "small_study.py").small_study(ingredients)
