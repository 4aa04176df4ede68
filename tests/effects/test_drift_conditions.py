"""Field, velocity, time zero and diffusion of the drift: what each moves, by how much, and what it leaves alone."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.detector import NOMINAL, ConfigError, Detector, Geometry, Stream, Universe, effects
from shiftlab.events.deposits import Deposits, EventTable
from shifts.transport.mobility import diffusion_constants, drift_velocity

STREAM = Stream(1, "any")
CONDITIONS = ("drift_field", "drift_velocity", "time_offset", "diffusion_longitudinal", "diffusion_transverse")


@pytest.fixture(scope="module")
def charge(small, deposits):
    """Charge of all kinds of events in nominal argon."""
    return Detector("plain", small, ()).prepare(deposits).charge


@pytest.fixture(scope="module")
def chamber(small):
    """Recombination, lifetime and all conditions."""
    kinds = [effects().get(name)() for name in ("recombination", "lifetime", *CONDITIONS)]
    return Detector("drift", small, tuple(kinds), allow_double_counting=("drift_field_scale+drift_velocity_scale",))


def conditioned(charge, effect, **values):
    return effects().get(effect)().apply(charge, values, STREAM)


def test_nominal_is_the_detector_without_them(charge, chamber, deposits):
    """At nominal no condition changes a bit of charge, place or medium."""
    for name in CONDITIONS:
        effect = effects().get(name)()
        after = effect.apply(charge, {p.name: p.nominal for p in effect.parameters}, STREAM)
        assert after.medium == charge.medium
    without = Detector("plain", chamber.geometry, tuple(e for e in chamber.effects if e.name not in CONDITIONS))
    assert torch.equal(without.image(deposits).charge, chamber.image(deposits).charge)
    assert not chamber.moves(NOMINAL)


@pytest.mark.parametrize(("dedx", "expected"), [(2.1, 0.09), (10.0, 0.44)])
def test_more_charge_escapes_in_a_stronger_field(charge, dedx, expected):
    """d ln R / d ln E is +0.09 for a minimum-ionising step and +0.44 at 10 MeV/cm, through recombination."""
    recombination = effects().get("recombination")()
    values = {p.name: p.nominal for p in recombination.parameters}
    step = replace(charge, dedx=torch.full_like(charge.dedx, dedx), electrons=torch.ones_like(charge.electrons))
    kept = [
        float(recombination.apply(conditioned(step, "drift_field", scale=scale), values, STREAM).electrons[0])
        for scale in (0.99, 1.01)
    ]
    assert math.log(kept[1] / kept[0]) / math.log(1.01 / 0.99) == pytest.approx(expected, abs=0.006)


def test_the_field_moves_velocity_and_diffusion_too(charge):
    """d ln v / d ln E is about 0.47 (0.50 in this parametrisation); D_L and D_T follow theirs; scales multiply."""
    high, low = (conditioned(charge, "drift_field", scale=scale).medium for scale in (1.01, 0.99))
    by_field = math.log(high.drift_velocity / low.drift_velocity) / math.log(1.01 / 0.99)
    assert by_field == pytest.approx(0.47, abs=0.035)
    assert high.drift_velocity / 0.1563 == pytest.approx(float(drift_velocity(0.505, 87) / drift_velocity(0.5, 87)))
    for found, start, constants in zip(high.diffusion, (4.0, 8.8), range(2), strict=True):
        ratio = diffusion_constants(0.505, 87.0)[constants] / diffusion_constants(0.5, 87.0)[constants]
        assert found / start == pytest.approx(float(ratio))
    twice = conditioned(conditioned(charge, "drift_field", scale=1.05), "drift_field", scale=0.98).medium
    once = conditioned(charge, "drift_field", scale=1.05 * 0.98).medium
    assert twice.drift_velocity == pytest.approx(once.drift_velocity, rel=1e-14)


@given(st.floats(0.85, 1.15))
def test_the_drift_coordinate_scales_by_assumed_over_true_velocity(charge, scale):
    """The anode is a fixed point; y, z and charge stay; the drift takes longer as the velocity falls."""
    after = conditioned(charge, "drift_velocity", scale=scale)
    x = charge.position[:, 0].to(torch.float64)
    torch.testing.assert_close(after.arrival, x / scale, rtol=1e-13, atol=0)
    torch.testing.assert_close(after.drift_time, charge.drift_time / scale, rtol=1e-13, atol=0)
    assert torch.equal(after.position, charge.position)
    assert torch.equal(after.electrons, charge.electrons)
    anode = replace(after, position=torch.zeros_like(after.position))
    assert not bool(anode.arrival.any())


@given(st.floats(0.1, 0.2), st.floats(-10.0, 10.0))
def test_at_the_assumed_velocity_charge_seems_where_it_is(charge, velocity, offset):
    """At any nominal velocity, to the last bit; an offset moves all charge by velocity times offset."""
    geometry = replace(charge.geometry, drift_velocity=velocity)
    own = replace(charge, geometry=geometry, medium=geometry.medium((4.0, 8.8)))
    assert torch.equal(own.arrival, charge.position[:, 0].to(torch.float64))
    late = conditioned(own, "time_offset", offset=offset)
    torch.testing.assert_close(late.arrival - own.arrival, torch.full_like(own.arrival, velocity * offset))
    assert torch.equal(late.drift_time, own.drift_time)


def test_half_a_microsecond_is_nearly_a_millimetre(charge):
    """0.5 us at 0.1563 cm/us is 0.078 cm; offsets add, and come back."""
    late = conditioned(charge, "time_offset", offset=0.5)
    assert float((late.arrival - charge.arrival).mean()) == pytest.approx(0.08, abs=0.002)
    back = conditioned(late, "time_offset", offset=-0.5)
    assert back.medium.offset == 0.0


def test_diffusion_priors_meet_the_measured_intervals():
    """Along: 4.0 +- 0.3. Across: the log width of 7.5 to 12.0, about 8.8; up to 10 and 16.3 cm2/s are allowed."""
    along = effects().get("diffusion_longitudinal")().parameter("scale")
    across = effects().get("diffusion_transverse")().parameter("scale")
    assert [4.0 * along.value(n) for n in (-1.0, 1.0)] == pytest.approx([3.7, 4.3])
    low, high = (8.8 * across.value(n) for n in (-1.0, 1.0))
    assert low * high == pytest.approx(8.8**2)
    assert high / low == pytest.approx(12.0 / 7.5, rel=2e-3)
    assert 4.0 * along.bounds[1] == pytest.approx(10.0)
    assert 8.8 * across.bounds[1] == pytest.approx(16.3, abs=0.05)


@pytest.mark.parametrize("direction", ["longitudinal", "transverse"])
def test_a_detector_without_diffusion_cannot_have_more_of_it(small, direction):
    """A scale of 0 cm2/s would be a nuisance that does nothing: refused as the detector is made."""
    with pytest.raises(ConfigError, match=rf"diffusion\.{direction} is 0"):
        Detector("dry", small, (effects().get(f"diffusion_{direction}")(),), diffusion=(0.0, 0.0))


def test_field_and_velocity_double_count(small):
    """Uncertain together they are refused, naming both; one pair may be allowed."""
    both = tuple(effects().get(name)() for name in ("drift_field", "drift_velocity"))
    with pytest.raises(ConfigError, match=r"drift_velocity_scale and drift_field_scale are both uncertain"):
        Detector("twice", small, both)
    warm = (effects().get("argon_temperature")(), effects().get("drift_velocity")())
    with pytest.raises(ConfigError, match="argon_temperature_shift"):
        Detector("twice", small, warm)


@pytest.mark.parametrize(
    ("nuisance", "displacement"),
    [("drift_velocity_scale", -5.0), ("time_offset_offset", 4.0), ("drift_field_scale", 3.0)],
)
def test_exact_recalibration_knows_the_drift_time_of_a_layer(nuisance, displacement):
    """With its own constants a universe's energies are nominal again, though its charge drifts for longer.

    A layer of cells is a time of arrival, so charge in it has drifted for that time less the offset, at any velocity.
    """
    geometry = Geometry(size=(230.4, 4.8, 4.8))
    short = effects().get("lifetime")({"tau": replace(effects().get("lifetime").parameters[0], nominal=1000.0)})
    kinds = (effects().get("recombination")(), short, *(effects().get(name)() for name in CONDITIONS[:3]))
    detector = Detector("long", geometry, kinds, diffusion=(0.0, 0.0), allow_double_counting=True)
    deposits = _mips()
    nominal = float(detector.image(deposits).energy.sum())
    shift = Universe("own", ((nuisance, displacement),), recalibrate="exact")
    assert float(detector.image(deposits, shift).energy.sum()) == pytest.approx(nominal, rel=2e-3)


def _mips():
    """One event: minimum-ionising steps of 1 mm from 10 cm to 200 cm of drift."""
    x = torch.arange(10.0, 200.0, 0.1)
    whole, real = torch.ones(1, dtype=torch.int64), torch.ones(1, dtype=torch.float64)
    table = EventTable(whole, whole, real, ("muon",), {"visible_energy": real}, whole.to(torch.bool))
    return Deposits(
        offsets=torch.tensor([0, len(x)]),
        position=torch.stack([x, torch.full_like(x, 2.45), torch.full_like(x, 2.45)], dim=1),
        energy=torch.full_like(x, 0.21),
        length=torch.full_like(x, 0.1),
        semantic=torch.ones(len(x), dtype=torch.int8),
        particle=torch.full((len(x),), 2, dtype=torch.int8),
        events=table,
    )


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_are_undone(charge, name):
    """The argon before comes back to rounding, from either side; a constant that was scaled to 0 is lost."""
    effect = effects().get(name)()
    (parameter,) = effect.parameters
    for displacement in (-1.5, 1.5):
        values = {parameter.name: parameter.value(displacement)}
        there = effect.apply(charge, values, STREAM)
        assert there.medium != charge.medium
        back = effect.invert(there, values, STREAM).medium
        for field in fields(back):
            expected = getattr(charge.medium, field.name)
            assert getattr(back, field.name) == pytest.approx(expected, rel=1e-13, abs=1e-13), field.name
    if name == "diffusion_longitudinal":
        with pytest.raises(ConfigError, match="cannot be undone at scale 0"):
            effect.invert(charge, {"scale": 0.0}, STREAM)
