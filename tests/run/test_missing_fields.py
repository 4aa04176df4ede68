"""A study whose events lack what a nuisance needs stops before any work, and says which keys leave it out."""

from dataclasses import replace
from pathlib import Path

import pytest

from shiftlab.detector import Detector
from shiftlab.errors import ConfigError
from shiftlab.run import run_study
from shiftlab.run.ingredients import make_universes, read_events, refuse_universes

EVENT = Path(__file__).parents[1] / "data" / "pilarnet_event.h5"
KEYS = "detector.effects.recombination.alpha.sigma=0 detector.effects.recombination.beta.sigma=0"


@pytest.fixture
def without_lengths(plan):
    """The small study on an event of PILArNet-M, whose file has no dx."""
    return replace(plan, data=replace(plan.data, evaluation=EVENT, muons=EVENT))


def test_joint_universes_are_refused_before_any_arm_is_loaded(without_lengths, tmp_path):
    lost = replace(without_lengths, arms=replace(without_lengths.arms, checkpoints=tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"'joint_00' displaces recombination_alpha, .*needs dedx") as error:
        run_study(replace(lost, retrain=False), root=tmp_path, progress=False)
    assert str(error.value).endswith(KEYS)


def test_the_keys_of_the_message_are_the_cure(without_lengths):
    recombination = {"alpha": {"sigma": 0.0}, "beta": {"sigma": 0.0}}
    cured = {
        **without_lengths.detector,
        "effects": {**without_lengths.detector["effects"], "recombination": recombination},
    }
    study = replace(without_lengths, detector=cured)
    detector = Detector.from_config(study.detector)
    events, muons = read_events(study)
    universes = make_universes(study, detector)
    refuse_universes(detector, universes, events, muons)
    assert any(universe.group == "multisim" for universe in universes)
    assert detector.refused(events) == ()


def test_a_recalibration_asks_the_muons_too(plan, without_lengths):
    """Events with lengths, muons without: only what is recalibrated with them is refused."""
    events, _ = read_events(plan)
    _, muons = read_events(without_lengths)
    wanted = replace(plan.universes, only=("recombination_alpha",), joint=0, mip=())
    plain = make_universes(
        replace(plan, universes=wanted, injected={}), detector := Detector.from_config(plan.detector)
    )
    refuse_universes(detector, plain, events, muons)
    mip = make_universes(
        replace(plan, universes=replace(wanted, mip=("recombination_alpha",)), injected={}),
        detector,
    )
    with pytest.raises(ConfigError, match="recombination_alpha-1_mip"):
        refuse_universes(detector, mip, events, muons)
