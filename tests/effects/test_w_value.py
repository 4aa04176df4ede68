"""W value: charge scales as 23.6 eV over W, for every deposit alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shiftlab.detector import ConfigError, Detector, Geometry, Stream, Universe, effects
from shiftlab.events import read
from shiftlab.units import W_ION_EV
from shifts.charge.recombination_laws import photons

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
    detector = Detector("bare", Geometry(), made, allow_double_counting=("recombination_alpha+w_value_w",))
    nominal = detector.image(deposits)
    moved = detector.image(deposits, Universe("w", (("w_value_w", shift),)))
    ratio = float(moved.charge.double().sum() / nominal.charge.double().sum())
    assert ratio == pytest.approx(W_ION_EV / (W_ION_EV + 0.4 * shift), rel=1e-6)


def test_with_the_gain_it_double_counts():
    """Both move all charge by one factor: no fit tells them apart."""
    chain = (effects().get("w_value")(), effects().get("gain")())
    with pytest.raises(ConfigError, match="w_value_w and gain_scale are both uncertain, but both move all charge"):
        Detector("both", Geometry(), chain)
    assert Detector("both", Geometry(), chain, allow_double_counting=("gain_scale+w_value_w",)).nuisances


def test_charge_and_light_scale_together(bare, deposits):
    """With light recomputed, N_e + N_ph = 1.21 E / W at any W."""
    charge = bare.prepare(deposits).charge
    recombination, w_value = effects().get("recombination")(), effects().get("w_value")()
    values = {p.name: p.nominal for p in recombination.parameters}
    escaped = recombination.apply(charge, values, Stream(1, "recombination"))
    for w in (19.5, W_ION_EV, 25.0):
        electrons = w_value.apply(escaped, {"w": w}, Stream(1, "w_value")).electrons
        quanta = electrons + photons(charge.energy, electrons, w)
        torch.testing.assert_close(quanta, charge.energy * 1.21e6 / w, rtol=1e-12, atol=0.0)
        torch.testing.assert_close(electrons, escaped.electrons * W_ION_EV / w, rtol=1e-12, atol=0.0)
