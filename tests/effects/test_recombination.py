"""Recombination: numbers of independent codes, limits, and the declared rule for faint and point-like steps."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.detector import ConfigError, Detector, Geometry, Stream, Universe, detector, effects
from shiftlab.detector.oracle import ORACLES
from shifts.charge.recombination import Recombination
from shifts.charge.recombination_laws import (
    birks,
    birks_inverse,
    doke_birks,
    ellipsoid_box,
    emb_beta,
    emb_inverse,
    modified_box,
    modified_box_inverse,
    photons,
)

TESTS = Path(__file__).parent.parent
ARGON = (0.5, 1.396)
EMB = (0.904, 0.204, 1.25)
LAWS = ("modified_box", "birks", "emb", "doke_birks")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(line for line in stream if not line.startswith("#")))


def column(table: list[dict[str, str]], name: str) -> torch.Tensor:
    return torch.tensor([float(row[name]) for row in table], dtype=torch.float64)


def real(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("name", ["recombination", "recombination_inverse", "doke_birks_nest", "nest_er_yields"])
def test_numbers_of_public_codes_are_met(name):
    """JAXTPC, larnd-sim-jax, GAMPixPy, SPINE, LArSoft and NEST: every row of every column to 1e-6."""
    table = rows(TESTS / "oracles" / f"{name}.csv")
    columns = {key: np.array([row[key] for row in table]) for key in table[0]}
    for difference in ORACLES.get(name)().compare(columns):
        assert difference.met, difference
        assert difference.rows == len(table)


@pytest.mark.parametrize(
    ("law", "constants", "name"),
    [(modified_box, (0.93, 0.207), "n_electrons_box"), (birks, (0.8, 0.0486), "n_electrons_birks")],
)
def test_electrons_meet_larndsim(law, constants, name):
    """2000 steps of a real sample: within the one electron that larnd-sim's truncation takes."""
    table = rows(TESTS / "data" / "larndsim_quench_drift.csv")
    electrons = column(table, "dE") * 1e6 / 23.6 * law(column(table, "dEdx"), *constants, 0.5, 1.38)
    lost = electrons - column(table, name)
    # larnd-sim works in float32, which moves the point of truncation a little.
    assert float(lost.min()) > -0.2
    assert float(lost.max()) < 1.02


@pytest.mark.parametrize(
    ("law", "at_mip", "dense"),
    [
        (lambda dedx: birks(dedx, 0.8, 0.0486, *ARGON), 0.697948, 0.471622),
        (lambda dedx: modified_box(dedx, 0.93, 0.212, *ARGON), 0.705036, 0.453724),
        (lambda dedx: ellipsoid_box(dedx, *EMB, torch.zeros_like(dedx), *ARGON), 0.679803, 0.459170),
        (lambda dedx: ellipsoid_box(dedx, *EMB, torch.ones_like(dedx), *ARGON), 0.669372, 0.415167),
    ],
    ids=["birks", "modified_box", "emb_across", "emb_along"],
)
def test_anchors(law, at_mip, dense):
    """At 2.1 and 10 MeV/cm, 0.5 kV/cm and 1.396 g/cm3: catches every unit mistake."""
    assert law(real(2.1, 10.0)).tolist() == pytest.approx([at_mip, dense], abs=1e-6)


def test_charge_and_light_of_a_minimum_ionising_step():
    """29874 electrons and 21397 photons per MeV by the box; with the light, no recombination changes the sum."""
    for fraction in (modified_box(real(2.1), 0.93, 0.212, *ARGON), doke_birks(real(2.1), *ARGON)):
        electrons = fraction * 1e6 / 23.6
        assert float(electrons + photons(real(1.0), electrons)) == pytest.approx(51271.2, abs=0.05)
    electrons = modified_box(real(2.1), 0.93, 0.212, *ARGON) * 1e6 / 23.6
    assert float(electrons) == pytest.approx(29874.4, abs=0.05)
    assert float(photons(real(1.0), electrons)) == pytest.approx(21396.8, abs=0.05)


def test_doke_birks_keeps_a_fifth_more_of_a_muon():
    """0.840185 at 1.393 g/cm3: 20% above the other laws; never negative, however dense."""
    assert float(doke_birks(real(2.1), 0.5, 1.393)) == pytest.approx(0.840185, abs=1e-6)
    assert float(doke_birks(real(1e6), 0.5, 1.43)) == 0.0


@given(dedx=st.floats(0.3, 60.0), cosine=st.floats(0.0, 1.0))
def test_the_ellipsoid_with_r_of_one_is_the_box(dedx, cosine):
    """Bit for bit, at any angle; with R above 1 a step along the field loses more charge than one across it."""
    same = ellipsoid_box(real(dedx), 0.904, 0.204, 1.0, real(cosine), *ARGON)
    assert torch.equal(same, modified_box(real(dedx), 0.904, 0.204, *ARGON))
    assert float(emb_beta(0.204, 1.25, real(cosine))) <= float(emb_beta(0.204, 1.25, real(1.0)))
    assert float(emb_beta(0.204, 1.25, real(1.0))) == pytest.approx(0.204 * 1.25)


def test_the_ellipsoid_against_the_box():
    """-3.6% (across the field) and -5.1% (along) for muons; +1.2% and -8.5% at 10 MeV/cm."""
    box = modified_box(real(2.1, 10.0), 0.93, 0.212, *ARGON)
    across, along = (ellipsoid_box(real(2.1, 10.0), *EMB, real(c, c), *ARGON) / box - 1 for c in (0.0, 1.0))
    assert across.tolist() == pytest.approx([-0.036, 0.012], abs=6e-4)
    assert along.tolist() == pytest.approx([-0.051, -0.085], abs=6e-4)


@given(
    dedx=st.floats(0.5, 50.0),
    efield=st.floats(0.2, 1.0),
    a=st.floats(0.6, 1.0),
    alpha=st.floats(0.85, 1.1),
    cosine=st.floats(0.0, 1.0),
)
def test_inverses_return_the_energy_loss(dedx, efield, a, alpha, cosine):
    """dQ/dx of each law, put into its inverse, is the dE/dx again wherever charge escapes."""
    start, argon, angle = real(dedx), (efield, 1.396), real(cosine)
    charge = start * birks(start, a, 0.0486, *argon) * (1e6 / 23.6)
    torch.testing.assert_close(birks_inverse(charge, a, 0.0486, *argon), start, rtol=1e-11, atol=0.0)
    charge = start * modified_box(start, alpha, 0.212, *argon) * (1e6 / 23.6)
    if float(charge) > 0:
        torch.testing.assert_close(modified_box_inverse(charge, alpha, 0.212, *argon), start, rtol=1e-10, atol=0.0)
    charge = start * ellipsoid_box(start, alpha, *EMB[1:], angle, *argon) * (1e6 / 23.6)
    if float(charge) > 0:
        back = emb_inverse(charge, alpha, *EMB[1:], angle, *argon)
        torch.testing.assert_close(back, start, rtol=1e-10, atol=0.0)


def test_charge_that_no_energy_loss_gives_is_refused():
    """Birks' pole at A rho E / (k W) = 486,852 electrons/cm; negative and missing charge."""
    pole = 0.8 * 1.396 * 0.5 / (0.0486 * 23.6e-6)
    for charge in (pole, 2 * pole):
        with pytest.raises(ConfigError, match="less than 486852 electrons/cm"):
            birks_inverse(real(1e4, charge), 0.8, 0.0486, *ARGON)
    assert float(birks_inverse(real(0.999 * pole), 0.8, 0.0486, *ARGON)) > 1e3
    for bad in (-1.0, math.nan):
        for inverse in (birks_inverse, modified_box_inverse):
            with pytest.raises(ConfigError, match="has no dE/dx"):
                inverse(real(bad), 0.9, 0.1, *ARGON)
    with pytest.raises(ConfigError, match="alpha above 1"):
        modified_box_inverse(real(10.0), 1.1, 0.212, *ARGON)


def test_calibration_takes_a_muon_at_the_mean_angle():
    """R(2.1 MeV/cm): 0.705 by the box; by the ellipsoid between its values along and across the field."""
    geometry = Geometry()
    nominal = {p.name: p.nominal for p in Recombination.parameters}
    argon, times = geometry.medium((4.0, 8.8)), geometry.layer_times()
    response = Recombination().response(argon, times, nominal)
    assert torch.allclose(response, real(0.70504), atol=5e-6)
    response = Recombination().response(argon, times, {**nominal, "model": 2.0})
    assert 0.669372 < float(response[0]) < 0.679803


def test_box_is_never_negative():
    """Below (1 - alpha) rho E / beta, 0.230 MeV/cm (ellipsoid across the field: 0.328), the bare law is negative."""
    fraction = modified_box(real(1e-6, 0.1, 0.2304, 0.2306), 0.93, 0.212, *ARGON)
    assert (fraction[:3] == 0).all()
    assert fraction[3] > 0
    fraction = ellipsoid_box(real(0.1, 0.3284, 0.3286), *EMB, torch.zeros(3, dtype=torch.float64), *ARGON)
    assert (fraction[:2] == 0).all()
    assert fraction[2] > 0


@pytest.fixture
def slanted(bare, deposits):
    """Charge whose steps have directions."""
    charge = bare.prepare(deposits).charge
    generator = torch.Generator().manual_seed(1)
    return replace(charge, cosine=torch.rand(len(charge.energy), generator=generator, dtype=torch.float64))


@pytest.mark.parametrize("model", range(4), ids=LAWS)
def test_points_and_faint_steps_recombine_like_one_mev_per_cm(slanted, model):
    """Declared rule, for every law: dE/dx below 1 MeV/cm, and dx = 0, take the fraction at 1 MeV/cm."""
    effect = Recombination()
    values = {p.name: p.nominal for p in effect.parameters} | {"model": float(model)}
    after = effect.apply(slanted, values, Stream(1, "recombination"))
    one = replace(slanted, dedx=torch.ones_like(slanted.dedx))
    expected = effect.apply(one, values, Stream(1, "recombination"))
    faint = slanted.dedx <= 1.0
    assert bool((slanted.dedx == 0).any())
    assert bool((faint & (slanted.dedx > 0)).any())
    assert bool((~faint).any())
    assert torch.equal(after.electrons[faint], expected.electrons[faint])
    assert bool((after.electrons[~faint] != expected.electrons[~faint]).all())
    assert bool((after.electrons > 0).all())


def test_each_event_may_have_its_own_law(slanted):
    """A tensor of models (event,) gives each event the bits of its own law."""
    effect = Recombination()
    values = {p.name: p.nominal for p in effect.parameters}
    several = effect.apply(slanted, {**values, "model": real(0, 1, 2, 3, 2)}, Stream(1, "recombination"))
    for event, model in enumerate((0.0, 1.0, 2.0, 3.0, 2.0)):
        alone = effect.apply(slanted, {**values, "model": model}, Stream(1, "recombination"))
        mine = slanted.event == event
        assert torch.equal(several.electrons[mine], alone.electrons[mine])


@pytest.mark.parametrize("model", range(4), ids=LAWS)
def test_recombination_is_undone(slanted, model):
    """Charge over fraction, by each law; where nothing escapes it says so."""
    effect, stream = Recombination(), Stream(1, "recombination")
    values = {p.name: p.nominal for p in effect.parameters} | {"model": float(model)}
    back = effect.invert(effect.apply(slanted, values, stream), values, stream)
    torch.testing.assert_close(back.electrons, slanted.electrons, rtol=1e-12, atol=0.0)
    strong = replace(slanted, medium=replace(slanted.medium, efield=5.0))
    if model in (0, 2):
        with pytest.raises(ConfigError, match="no electron escapes"):
            effect.invert(strong, values, stream)


@pytest.mark.parametrize("name", ["emb_alpha", "emb_beta90", "emb_r"])
def test_gradients_of_the_ellipsoid(slanted, name):
    """Derivatives of its parameters are those of finite differences; alpha frees charge, beta and R take it."""
    effect = Recombination()
    nominal = {p.name: p.nominal for p in effect.parameters} | {"model": 2.0}
    here = nominal[name]
    value = torch.tensor(here, dtype=torch.float64, requires_grad=True)
    total = effect.apply(slanted, {**nominal, name: value}, Stream(1, "recombination")).electrons.sum()
    (gradient,) = torch.autograd.grad(total, value)
    up, down = (
        float(effect.apply(slanted, {**nominal, name: here + step}, Stream(1, "r")).electrons.sum())
        for step in (1e-5, -1e-5)
    )
    assert float(gradient) == pytest.approx((up - down) / 2e-5, rel=1e-5)
    assert (float(gradient) > 0) == (name == "emb_alpha")


def test_more_alpha_moves_muons_more_than_protons():
    """One sigma of alpha is +2.8% at 2.1 MeV/cm and +0.4% at 10 MeV/cm; beta is the other way round."""
    nominal = modified_box(real(2.1, 10.0), 0.93, 0.212, *ARGON)
    alpha = modified_box(real(2.1, 10.0), 0.95, 0.212, *ARGON) / nominal - 1
    beta = modified_box(real(2.1, 10.0), 0.93, 0.214, *ARGON) / nominal - 1
    assert alpha.tolist() == pytest.approx([0.028, 0.0037], abs=5e-4)
    assert abs(float(beta[0])) < abs(float(beta[1]))


def test_after_a_muon_calibration_alpha_moves_protons():
    """One sigma of alpha, with the muon's charge restored, is -2.4% at 10 MeV/cm."""
    ratio = modified_box(real(2.1, 10.0), 0.95, 0.212, *ARGON) / modified_box(real(2.1, 10.0), 0.93, 0.212, *ARGON)
    assert float(ratio[1] / ratio[0] - 1) == pytest.approx(-0.024, abs=5e-4)


def test_one_sigma_of_beta90():
    """0.1% for muons, 1.7% at 10 MeV/cm, 2.1% at 20 MeV/cm."""
    dedx, across = real(2.1, 10.0, 20.0), torch.zeros(3, dtype=torch.float64)
    ratio = ellipsoid_box(dedx, 0.904, 0.212, 1.25, across, *ARGON) / ellipsoid_box(dedx, *EMB, across, *ARGON)
    assert (1 - ratio).tolist() == pytest.approx([0.001, 0.017, 0.021], abs=7e-4)


@pytest.mark.parametrize("quantity", ["field", "density"])
def test_slopes_with_field_and_density(quantity):
    """d ln R / d ln E = d ln R / d ln rho = +0.095 for muons and +0.444 at 10 MeV/cm."""
    step = 1e-4
    field, density = (1 + step, 1.0) if quantity == "field" else (1.0, 1 + step)
    up = modified_box(real(2.1, 10.0), 0.93, 0.212, 0.5 * field, 1.396 * density)
    slope = torch.log(up / modified_box(real(2.1, 10.0), 0.93, 0.212, *ARGON)) / math.log1p(step)
    assert slope.tolist() == pytest.approx([0.0953, 0.4444], abs=2e-4)


def test_the_other_model_is_one_discrete_step(deposits):
    """The universe with ``recombination_model`` = 1 recombines by Birks' law, 1% below the box for muons."""
    chamber = detector("pixel_lar")
    other = Universe("birks", (("recombination_model", 1.0),))
    ratio = chamber.image(deposits, other).charge.sum() / chamber.image(deposits).charge.sum()
    assert 0.9 < float(ratio) < 1.1
    assert float(ratio) != 1.0


@pytest.mark.parametrize(("model", "name"), [(0, "alpha"), (1, "birks_a"), (2, "emb_alpha")])
def test_with_the_gain_it_double_counts(model, name):
    """After a calibration with muons one residual is left of gain times recombination: both need a word."""
    made = Recombination({"model": replace(Recombination().parameter("model"), nominal=float(model))})
    chain = (made, effects().get("gain")())
    with pytest.raises(ConfigError, match=rf"recombination_{name} and gain_scale are both uncertain"):
        Detector("both", Geometry(), chain)
    pair = f"gain_scale+recombination_{name}"
    assert len(Detector("both", Geometry(), chain, allow_double_counting=(pair,)).effects) == 2
