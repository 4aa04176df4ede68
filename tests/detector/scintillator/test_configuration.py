"""The configuration file is the default detector, and every wrong key or value is named."""

import pytest
from omegaconf import OmegaConf

from shiftlab.config import config_dir
from shiftlab.detector import ScintillatorDetector, scintillator_detector
from shiftlab.errors import ConfigError


def test_the_shipped_file_is_the_default_detector():
    shipped = OmegaConf.to_container(OmegaConf.load(config_dir() / "detector" / "minerva_like.yaml"))
    assert ScintillatorDetector.from_config(shipped).to_dict() == scintillator_detector().to_dict()


def test_given_values_replace_the_defaults():
    made = ScintillatorDetector.from_config({"response": {"light_yield": 5}, "toy": {"position": [0, 0, 1]}, "seed": 3})
    assert made.response.light_yield == 5.0
    assert made.toy.position == (0.0, 0.0, 1.0)
    assert made.seed == 3
    assert made.geometry == scintillator_detector().geometry


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"respons": {}}, "Did you mean 'response'"),
        ({"response": {"birk": 1}}, "key of detector.response 'birk'. Did you mean 'birks'"),
        ({"response": {"birks": "much"}}, "detector.response.birks = 'much' is not a number"),
        ({"response": {"light_yield": 0}}, "detector.response.light_yield = 0.0; it must be positive"),
        ({"response": {"threshold": 1.5}}, "not a whole number"),
        ({"response": {"threshold": 0}}, "at least one photoelectron"),
        ({"geometry": {"strips": 4}}, "detector.geometry.strips = 4; it must be odd"),
        ({"geometry": {"views": 3}}, "must be a word"),
        ({"geometry": {"axis": [1.0]}}, "must be 2 numbers"),
        ({"toy": {"spill": [9, 1]}}, "its first time must not be after its last"),
        ({"toy": {"blob_gap": "nan"}}, "must be finite"),
        ({"toy": {"prong_planes": 0}}, "it must be at least 1"),
        ({"toy": 3}, "must be a mapping"),
    ],
)
def test_what_is_not_allowed_is_named(given, words):
    with pytest.raises(ConfigError, match=words):
        ScintillatorDetector.from_config(given)
