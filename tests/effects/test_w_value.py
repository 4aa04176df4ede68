"""W value: charge scales as 23.6 eV over W, for every deposit alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shiftlab.detector import Detector, Geometry, Universe, effects
from shiftlab.events import read
from shiftlab.units import W_ION_EV

DATA = Path(__file__).parent.parent / "data"


@pytest.mark.parametrize("shift", [-2.0, 1.0])
@pytest.mark.parametrize("own_charge", [False, True])
def test_charge_scales_with_the_inverse_of_w(shift, own_charge):
    """Also for files that bring the electrons of their own simulation."""
    deposits = read(DATA / "pilarnet_event.h5")
    deposits = replace(deposits, length=torch.full_like(deposits.length, 0.3), missing=())
    if own_charge:
        deposits = replace(deposits, electrons=deposits.energy * 25_000.0)
    made = (effects().get("recombination")(), effects().get("w_value")())
    detector = Detector("bare", Geometry(), made)
    nominal = detector.image(deposits)
    moved = detector.image(deposits, Universe("w", (("w_value_w", shift),)))
    ratio = float(moved.charge.double().sum() / nominal.charge.double().sum())
    assert ratio == pytest.approx(W_ION_EV / (W_ION_EV + 0.4 * shift), rel=1e-6)
