"""Marks beside a bias: q-values of a whole table, significance, and what is limited by simulation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import erfcinv

from shiftlab.bias import Mean, bias
from shiftlab.bias.tables import q_values


def test_q_values_are_those_of_benjamini_and_hochberg() -> None:
    """Their 1995 example: 15 p-values, of which four are rejected at a false discovery rate of 5%."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590]
    size = np.sqrt(2.0) * erfcinv(np.array([*p, 1.0]))
    q = q_values(size, np.ones(15))
    assert (q <= 0.05).sum() == 4
    assert q[0] == pytest.approx(0.0015, rel=1e-6)
    assert q[3] == pytest.approx(0.0095 * 15 / 4, rel=1e-6)


def test_a_shift_without_error_is_certain_and_no_shift_is_none() -> None:
    assert q_values(np.array([0.5, 0.0]), np.zeros(2)).tolist() == [0.0, 1.0]


def test_a_null_effect_is_marked_as_limited_by_simulation(toys: Any) -> None:
    """Migration with mean zero: two thirds of such cells are MC-limited, hardly any survive multiplicity."""
    names = [f"n{k}" for k in range(60)]
    rows = [toys.nominal, *toys.unisims(names)]
    outputs = np.random.default_rng(0).standard_normal((1, 1, 121, 200))
    outputs[:, :, 1:] = outputs[:, :, :1] + 0.1 * outputs[:, :, 1:]
    result = bias(SimpleNamespace(datasets={"t": toys.dataset(outputs[..., None], rows)}), tasks={"t": Mean()})
    assert 0.55 < result.table["mc_limited"].mean() < 0.8
    assert result.table["significance"].mean() < 0.12
    assert (result.table["q_value"] < 0.05).mean() < 0.03
    assert not (result.table["mc_limited"] & result.table["significance"]).any()
