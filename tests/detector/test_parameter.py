"""Priors: from displacement to physical value, within the bounds."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.detector import ConfigError, Parameter

LINEAR = Parameter("level", 3000.0, 60.0, "e", (0.0, 20000.0))
LOG = Parameter("tau", 6000.0, 0.05, "us", (400.0, math.inf), identity=math.inf, scale="log")
CHOICE = Parameter("model", 0.0, 0.0, "1", (0.0, 1.0), choices=("box", "birks"))


@pytest.mark.parametrize("parameter", [LINEAR, LOG, CHOICE])
def test_no_displacement_is_nominal_to_the_bit(parameter):
    assert parameter.value(0.0) == parameter.nominal
    assert parameter.value(-0.0) == parameter.nominal


@given(st.floats(-5, 5))
def test_linear_and_log_scales(nuisance):
    assert LINEAR.value(nuisance) == pytest.approx(3000.0 + 60.0 * nuisance)
    assert LOG.value(nuisance) == pytest.approx(6000.0 * 1.05**nuisance)


@pytest.mark.parametrize("parameter", [LINEAR, LOG, Parameter("f", 0.003, 0.001, "1", (0.0, 1.0))])
def test_the_limit_is_the_last_displacement_inside(parameter):
    limit = parameter.limit()
    parameter.value(limit)
    parameter.value(-limit)
    with pytest.raises(ConfigError):
        parameter.value(-1.01 * limit)


def test_a_value_outside_names_itself_its_unit_and_the_bounds():
    with pytest.raises(ConfigError, match=r"takes level to -600 e, outside \[0, 20000\]; allowed: -50 to 283.3 sigma"):
        LINEAR.value(-60.0)
    with pytest.raises(ConfigError, match=r"takes tau to .* us, .*; allowed: -55.5 to inf sigma"):
        LOG.value(-60.0)
    with pytest.raises(ConfigError, match=r"model = 2 is outside \[0, 1\]"):
        CHOICE.value(2.0)
    with pytest.raises(ConfigError, match="level"):
        LINEAR.check(math.nan)


def test_a_choice_takes_whole_steps_only():
    assert CHOICE.value(1.0) == 1.0
    for step in (0.5, 2.0, -1.0):
        with pytest.raises(ConfigError, match="model"):
            CHOICE.value(step)


def test_a_prior_that_contradicts_itself_is_refused():
    with pytest.raises(ConfigError, match="nominal"):
        Parameter("f", 2.0, 0.1, "1", (0.0, 1.0))
    with pytest.raises(ConfigError, match="sigma"):
        Parameter("f", 0.5, -0.1, "1", (0.0, 1.0))


def test_records_are_plain_json():
    assert json.loads(json.dumps(LOG.to_dict(), allow_nan=False))["bounds"] == [400.0, "inf"]
