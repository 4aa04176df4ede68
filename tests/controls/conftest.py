"""Tracks in the demo detector and the simple arms of the loose file in tests/responses, shared by the controls."""

import importlib.util
from pathlib import Path

import pytest

from shiftlab.arms import arms
from shiftlab.detector import detector
from shiftlab.tasks import tasks

ROOM = Path(__file__).parents[1] / "responses"


@pytest.fixture(scope="session")
def tracks():
    """The maker of straight tracks that the tests of the responses use."""
    spec = importlib.util.spec_from_file_location("tracks_of_responses", ROOM / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.tracks


@pytest.fixture(scope="session")
def plugin():
    """The loose file with arms and a task, registered."""
    for registry in (arms(), tasks()):
        registry.add_file(ROOM / "sums_arm.py")
    return ROOM / "sums_arm.py"


@pytest.fixture(scope="session")
def pixel_lar():
    return detector("pixel_lar")
