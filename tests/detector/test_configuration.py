"""Detectors from configuration: the shipped file is the default, and each mistake is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from shiftlab.detector import ConfigError, Detector, detector
from shiftlab.errors import UnknownNameError

FILE = Path(__file__).parents[2] / "configs" / "detector" / "pixel_lar.yaml"


def config() -> dict:
    return OmegaConf.to_container(OmegaConf.load(FILE))


def test_the_shipped_file_is_the_default_detector():
    assert Detector.from_config(config()).to_dict() == detector("pixel_lar").to_dict()


def test_an_unknown_detector_has_a_nearest_name():
    with pytest.raises(UnknownNameError, match="pixel_lar"):
        detector("pixel_larr")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("geometri", {}, "geometry"),
        ("geometry.pich", 0.3, "pitch"),
        ("geometry.pitch", "wide", "detector.geometry.pitch"),
        ("geometry.chip", 2.5, "whole number"),
        ("geometry.size", 5.0, "three numbers"),
        ("diffusion.sideways", 1.0, "transverse"),
        ("seed", "one", "detector.seed"),
        ("effects", ["gain"], "must map"),
        ("effects.gainn", {}, "gain"),
        ("effects.gain.scal", 1.0, "scale"),
        ("effects.gain.scale", {"nominal": 1.0, "sgma": 0.1}, "sigma"),
        ("effects.gain.scale", 3.0, r"detector.effects.gain.scale: .*outside \[0.5, 1.5\]"),
        ("effects.gain.scale", {"sigma": "x"}, "not a number"),
        ("effects.gain.scale", {"bounds": [0.5]}, "two numbers"),
        ("effects.recombination.model", "box", "modified_box"),
        ("effects.threshold.level", 1000.0, "4 times the noise"),
    ],
)
def test_each_mistake_is_named(path, value, message):
    wrong = config()
    *parents, last = path.split(".")
    place = wrong
    for name in parents:
        place = place[name]
    place[last] = value
    with pytest.raises(ConfigError, match=message):
        Detector.from_config(wrong)


def test_a_model_is_chosen_by_name_and_brings_its_own_nuisances():
    """With Birks as the nominal model, its A and k are uncertain and the box's constants are not."""
    changed = config()
    changed["effects"]["recombination"]["model"] = "birks"
    names = {nuisance.name for nuisance in Detector.from_config(changed).nuisances}
    assert {"recombination_birks_a", "recombination_birks_k"} < names
    assert not {"recombination_alpha", "recombination_beta", "recombination_model"} & names


def test_a_zero_sigma_takes_a_nuisance_away():
    changed = config()
    changed["effects"]["gain"]["scale"]["sigma"] = 0.0
    assert "gain_scale" not in {nuisance.name for nuisance in Detector.from_config(changed).nuisances}


def test_a_refusal_of_double_counting_can_be_copied_to_allow_it():
    """It names every pair at once, and keeps those that the file allows: a setting replaces the whole list."""
    wrong = config()
    wrong["effects"]["w_value"] = {}
    with pytest.raises(ConfigError, match="w_value_w and gain_scale are both uncertain, but both move") as refused:
        Detector.from_config(wrong)
    setting = str(refused.value).split("'")[-2]
    key, _, pairs = setting.partition("=")
    assert key == "detector.allow_double_counting"
    assert set(wrong["allow_double_counting"]) < set(OmegaConf.from_dotlist([setting]).detector.allow_double_counting)
    wrong["allow_double_counting"] = pairs.strip("[]").split(",")
    assert Detector.from_config(wrong).nuisances
