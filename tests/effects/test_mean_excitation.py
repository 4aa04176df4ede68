"""Energy loss in argon, and what another mean excitation energy does to it."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.detector import Stream
from shiftlab.detector.oracle import ORACLES
from shifts.charge.energy_loss import MUON_MASS, bethe
from shifts.charge.mean_excitation import MeanExcitation, loss_ratio

TABLE = Path(__file__).parent.parent / "oracles" / "lar_dedx.csv"


def real(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_energy_loss_meets_larsoft():
    """Muons from 0.1 to 10 GeV/c and protons, with the density effect: every row of LArSoft's Eloss."""
    with TABLE.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    columns = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    for difference in ORACLES.get("lar_dedx")().compare(columns):
        assert difference.met, difference
        assert difference.rows == len(rows)


def test_the_minimum_of_the_energy_loss():
    """A muon loses least, 2.096 MeV/cm at 1.391105 g/cm3, near 0.35 GeV/c."""
    momentum = torch.linspace(200.0, 600.0, 401, dtype=torch.float64)
    loss = bethe(momentum, MUON_MASS, 1.391105)
    assert float(loss.min()) == pytest.approx(2.096, abs=1e-3)
    assert 330 < float(momentum[loss.argmin()]) < 370


def test_from_188_to_203_electronvolt():
    """0.8% less energy of a muon, more of slower particles; as the formula itself says at fixed density effect."""
    assert float(loss_ratio(real(2.1), 1.396, 203.0)) - 1 == pytest.approx(-0.0077, abs=3e-4)
    momentum = real(30.0, 60.0, 120.0, 300.0)
    loss = bethe(momentum, MUON_MASS, 1.396)
    expected = bethe(momentum, MUON_MASS, 1.396, 203.0) / loss
    torch.testing.assert_close(loss_ratio(loss, 1.396, 203.0), expected, rtol=1e-4, atol=0.0)


@given(dedx=st.floats(0.0, 200.0), excitation=st.floats(150.0, 250.0))
def test_more_excitation_means_less_loss(dedx, excitation):
    """The ratio falls with I, is 1 at 188 eV bit for bit, and stays near 1 at any step, point or dense."""
    ratio = float(loss_ratio(real(dedx), 1.396, excitation))
    assert (ratio < 1) == (excitation > 188.0) or excitation == pytest.approx(188.0, abs=1e-9)
    assert float(loss_ratio(real(dedx), 1.396, 188.0)) == 1.0
    assert abs(ratio - 1) < 0.25 * abs(math.log(excitation / 188.0)) + 1e-12


def test_charge_and_energy_follow_each_other(bare, deposits):
    charge = bare.prepare(deposits).charge
    after = MeanExcitation().apply(charge, {"energy": 203.0}, Stream(1, "mean_excitation"))
    ratio = after.energy / charge.energy
    torch.testing.assert_close(after.electrons / charge.electrons, ratio, rtol=1e-12, atol=0.0)
    moving = charge.dedx > 0
    torch.testing.assert_close((after.dedx / charge.dedx)[moving], ratio[moving], rtol=1e-12, atol=0.0)
    assert float(ratio.max()) < 0.9935
