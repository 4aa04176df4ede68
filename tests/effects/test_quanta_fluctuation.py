"""Fluctuations of charge: mean, variance, limits and draws that belong to a deposit of an event, not to a batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.detector import ConfigError, Detector, Geometry, Stream, Universe, effects
from shiftlab.units import ELECTRONS_PER_MEV
from shifts.charge.quanta_fluctuation import QuantaFluctuation, charge_variance

NOMINAL = {"strength": 1.0, "fano": 0.1115}


@pytest.fixture(scope="module")
def many(small, deposits):
    """One event of 40000 equal deposits, 70% of whose charge has escaped."""
    rows = 40_000
    offsets = torch.tensor([0, rows])
    one = deposits.take([0])
    equal = replace(
        one,
        offsets=offsets,
        position=torch.full((rows, 3), 20.0),
        energy=torch.full((rows,), 0.2),
        length=torch.full((rows,), 0.1),
        semantic=one.semantic[:1].expand(rows),
        particle=one.particle[:1].expand(rows),
    )
    charge = Detector("bare", small, ()).prepare(equal).charge
    return charge.with_electrons(0.7 * charge.electrons)


def fluctuated(charge, **values):
    return QuantaFluctuation().apply(charge, {**NOMINAL, **values}, Stream(5, "quanta_fluctuation")).electrons


@pytest.mark.parametrize(("fano", "escaping"), [(0.1115, 0.7), (0.0, 0.7), (0.5, 1.0), (0.1115, 0.05)])
def test_mean_and_variance(many, fano, escaping):
    """The mean stays; the variance is N R (1 - R) + R^2 F N, to three standard errors of 40000 deposits."""
    ions = many.energy * ELECTRONS_PER_MEV
    charge = many.with_electrons(escaping * ions)
    change = fluctuated(charge, fano=fano) - charge.electrons
    wanted = float(charge_variance(ions[0], torch.tensor(escaping, dtype=torch.float64), fano))
    assert abs(float(change.mean())) < 3 * (wanted / len(change)) ** 0.5
    assert float(change.var()) == pytest.approx(wanted, rel=3 * (2 / len(change)) ** 0.5)


def test_a_muon_step_fluctuates_by_half_a_percent(many):
    """3 mm of a muon: 0.63 MeV, 18,820 electrons, +- 0.45%: below every other spread of the image."""
    ions = torch.tensor(0.63 * ELECTRONS_PER_MEV, dtype=torch.float64)
    fraction = torch.tensor(0.705, dtype=torch.float64)
    relative = float(charge_variance(ions, fraction, 0.1115).sqrt() / (ions * fraction))
    assert relative == pytest.approx(0.0045, abs=1e-4)


def test_where_nothing_recombines_only_fano_is_left(many):
    """R = 1 and F = 0: no fluctuation at all."""
    whole = many.with_electrons(many.energy * ELECTRONS_PER_MEV)
    assert torch.equal(fluctuated(whole, fano=0.0), whole.electrons)


@given(low=st.floats(0.01, 3.0), high=st.floats(0.01, 3.0))
def test_strength_multiplies_fixed_draws(many, low, high):
    """The change is proportional to the strength, deposit by deposit: universes share their random numbers."""
    one, two = (fluctuated(many, strength=value) - many.electrons for value in (low, high))
    torch.testing.assert_close(one * high, two * low, rtol=1e-9, atol=1e-6)


def test_no_charge_becomes_negative(many):
    """Deposits of one electron: cut on both sides alike, so that the mean stays."""
    tiny = replace(many, energy=torch.full_like(many.energy, 1.0 / ELECTRONS_PER_MEV))
    tiny = tiny.with_electrons(torch.full_like(many.energy, 0.7))
    after = fluctuated(tiny, strength=3.0)
    assert bool((after >= 0).all())
    assert float(after.mean()) == pytest.approx(0.7, abs=0.02)
    none = replace(many, energy=torch.zeros_like(many.energy)).with_electrons(torch.zeros_like(many.energy))
    assert not bool(fluctuated(none).any())


def test_a_deposit_keeps_its_draw(bare, deposits):
    """Draws are keyed by event and number in the event: in another batch, and with charge from elsewhere, the same."""
    charge = bare.prepare(deposits).charge
    whole = fluctuated(charge.with_electrons(0.7 * charge.electrons))
    for event in (0, 3):
        alone = bare.prepare(deposits.take([event])).charge
        assert torch.equal(fluctuated(alone.with_electrons(0.7 * alone.electrons)), whole[charge.event == event])
    change = whole / (0.7 * charge.electrons) - 1
    first, other = change[charge.event == 0][:40], change[charge.event == 4][:40]
    assert not bool((first == other).any())


def chain(*names: str, strength: float = 0.0) -> Detector:
    """A small detector of some effects, with the nominal strength of fluctuations."""
    made = {name: effects().get(name)() for name in names}
    if "quanta_fluctuation" in made:
        known = replace(QuantaFluctuation().parameter("strength"), nominal=strength)
        made["quanta_fluctuation"] = QuantaFluctuation({"strength": known})
    return Detector("fluctuating", Geometry(size=(48.0, 48.0, 48.0)), tuple(made.values()))


def test_it_acts_after_recombination_however_it_is_listed(deposits):
    """It must know which part of the ion pairs escaped."""
    turned = chain("quanta_fluctuation", "recombination", strength=1.0)
    assert [effect.name for effect in turned.effects] == ["recombination", "quanta_fluctuation"]
    straight = chain("recombination", "quanta_fluctuation", strength=1.0)
    assert torch.equal(turned.image(deposits).charge, straight.image(deposits).charge)


def test_by_default_it_is_one_nuisance_from_nothing(deposits):
    """Nominal images do not have it; +1 sigma is nature's; the Fano factor waits until there is something to vary."""
    detector = chain("recombination", "quanta_fluctuation")
    assert [n.name for n in detector.nuisances if n.effect == "quanta_fluctuation"] == ["quanta_fluctuation_strength"]
    assert torch.equal(detector.image(deposits).charge, chain("recombination").image(deposits).charge)
    up = detector.image(deposits, Universe("up", (("quanta_fluctuation_strength", 1.0),)))
    spread = float((up.charge / detector.image(deposits).charge - 1).std())
    assert 0.002 < spread < 0.05
    known = chain("recombination", "quanta_fluctuation", strength=1.0)
    assert "quanta_fluctuation_fano" in [n.name for n in known.nuisances]


def test_a_file_with_electrons_has_its_own_fluctuations(deposits):
    """They cannot be taken off again, so a nominal amount is refused; a shift on top of them is not."""
    own = replace(deposits, electrons=0.7 * deposits.energy * ELECTRONS_PER_MEV)
    with pytest.raises(ConfigError, match="more than multiply"):
        chain("recombination", "quanta_fluctuation", strength=1.0).prepare(own)
    detector = chain("recombination", "quanta_fluctuation")
    assert len(detector.image(own, Universe("up", (("quanta_fluctuation_strength", 1.0),)))) == len(deposits)
