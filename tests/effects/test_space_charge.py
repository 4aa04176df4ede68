"""Space charge: places and fields of the toy and of a map, what is conserved, and the way back."""

from __future__ import annotations

import math
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.detector import ConfigError, Detector, Geometry, Stream, Universe, effects
from shiftlab.errors import DataError, UnknownNameError
from shifts.charge.recombination import modified_box
from shifts.transport.space_charge import SpaceCharge, toy_displacement, toy_field

STREAM = Stream(1, "space_charge")
TOY = {"scale": 1.0, "strength": 0.05}
STRENGTH = st.floats(0.001, 0.5)


@pytest.fixture(scope="module")
def charge(small, deposits):
    """Charge of all kinds of events where it was set free."""
    return Detector("plain", small, ()).prepare(deposits).charge


def write_map(path, displacement, field, upper=(48.0, 48.0, 48.0)):
    with h5py.File(path, "w") as file:
        file["lower"], file["upper"] = (0.0, 0.0, 0.0), upper
        for name, values, unit in (("displacement", displacement, "cm"), ("field", field, "1")):
            file[name] = values
            file[name].attrs["units"] = unit
    return str(path)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The toy of a drift of 48 cm on 481 planes, with a pull along y that grows with the drift."""
    x = torch.linspace(0.0, 48.0, 481, dtype=torch.float64)
    displacement, field = np.zeros((481, 2, 2, 3)), np.zeros((481, 2, 2, 3))
    displacement[..., 0] = toy_displacement(x, 48.0, 0.05)[:, None, None]
    displacement[..., 1] = 0.01 * x[:, None, None]
    field[..., 0] = toy_field(x, 48.0, 0.05)[:, None, None]
    field[..., 1] = 0.3
    return write_map(tmp_path_factory.mktemp("map") / "toy.h5", displacement, field)


@given(STRENGTH, st.floats(10.0, 400.0))
def test_the_voltage_and_the_anode_stay(strength, length):
    """The integral of E over the gap is E0 L, and charge at the anode stays where it is."""
    edges = torch.linspace(0.0, length, 1001, dtype=torch.float64)
    middle = 0.5 * (edges[1:] + edges[:-1])
    assert float((1.0 + toy_field(middle, length, strength)).mean()) == pytest.approx(1.0, abs=1e-12)
    assert float(toy_displacement(edges[:1], length, strength)) == 0.0


@given(STRENGTH)
def test_the_toy_takes_the_time_of_its_field(strength):
    """d(x + dx)/dx = E0 / E(x): a slice of the drift takes longer where the field is weaker."""
    x = torch.linspace(1.0, 99.0, 50, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(toy_displacement(x, 100.0, strength).sum(), x)
    torch.testing.assert_close(1.0 + slope, 1.0 / (1.0 + toy_field(x.detach(), 100.0, strength)), rtol=1e-9, atol=0)


def test_mid_gap_moves_by_the_anchor_value():
    """1.29329 cm at 50 cm of 100 cm and 5%."""
    assert float(toy_displacement(torch.tensor([50.0]), 100.0, 0.05)) == pytest.approx(1.29329, abs=1e-5)


@given(st.floats(-1.0, 1.0))
def test_places_and_field_change_in_proportion(charge, scale):
    """r' = r + s d(r) and |E|' = |E0 + s dE(r)|; charge is conserved, and the medium stays."""
    after = SpaceCharge().apply(charge, {**TOY, "scale": scale}, STREAM)
    assert torch.equal(after.electrons, charge.electrons)
    assert after.medium == charge.medium
    assert torch.equal(after.position[:, 1:], charge.position[:, 1:])
    if scale == 0:
        assert after.local_field is None
        return
    x = charge.position[:, 0].double()
    moved = after.position[:, 0].double() - x
    torch.testing.assert_close(moved, scale * toy_displacement(x, 48.0, 0.05), rtol=0, atol=4e-6)
    torch.testing.assert_close(after.local_field, 1.0 + scale * toy_field(x, 48.0, 0.05), rtol=1e-12, atol=0)


def test_recombination_sees_the_local_field(charge):
    """Each step's charge is that of the box model at its own field; 5% more field keeps 0.45% more of a muon's."""
    after = SpaceCharge().apply(charge, TOY, STREAM)
    recombination = effects().get("recombination")()
    values = {p.name: p.nominal for p in recombination.parameters}
    kept = recombination.apply(after, values, STREAM).electrons
    dedx = torch.clamp(charge.dedx, min=1.0)
    field = 0.5 * (1.0 + toy_field(charge.position[:, 0], 48.0, 0.05))
    torch.testing.assert_close(kept, charge.electrons * modified_box(dedx, 0.93, 0.212, field, 1.396))
    plain, more = (float(modified_box(torch.tensor(2.1).double(), 0.93, 0.212, e, 1.396)) for e in (0.5, 0.525))
    assert math.log(more / plain) / math.log(1.05) == pytest.approx(0.09, abs=0.005)


def test_a_map_of_the_toy_is_the_toy(charge, path):
    """On a fine grid, to 1e-5 cm; a field across the drift adds in quadrature."""
    own = SpaceCharge(files={"map": path})
    found, toy = own.apply(charge, TOY, STREAM), SpaceCharge().apply(charge, TOY, STREAM)
    torch.testing.assert_close(found.position[:, 0], toy.position[:, 0], rtol=0, atol=1.5e-5)
    pull = 0.01 * charge.position[:, 0]
    torch.testing.assert_close(found.position[:, 1] - charge.position[:, 1], pull, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.local_field, torch.hypot(toy.local_field, torch.tensor(0.3).double()))


@pytest.mark.parametrize("mapped", [False, True])
def test_the_way_back(charge, path, mapped):
    """Places of ionisation are found again from where charge seems to come from, to a micron."""
    effect = SpaceCharge(files={"map": path} if mapped else None)
    for scale in (-1.0, 0.2, 1.0):
        values = {**TOY, "scale": scale}
        seen = effect.apply(charge, values, STREAM)
        back = effect.invert(seen, values, STREAM)
        torch.testing.assert_close(back.position, charge.position, rtol=0, atol=1e-5)
        torch.testing.assert_close(back.local_field, torch.ones_like(back.local_field), rtol=0, atol=1e-6)


def test_a_map_that_folds_is_not_undone(charge, tmp_path):
    displacement = np.zeros((3, 2, 2, 3))
    displacement[1, ..., 0] = 30.0
    folded = SpaceCharge(files={"map": write_map(tmp_path / "fold.h5", displacement, 0 * displacement)})
    with pytest.raises(ConfigError, match=r"fold\.h5, times 1, is not invertible"):
        folded.invert(charge, TOY, STREAM)


def test_a_field_against_the_drift_is_refused(charge, tmp_path):
    """0.6 of the drift field is a map; twice it is none."""
    field = np.full((2, 2, 2, 3), 0.6)
    strong = SpaceCharge(files={"map": write_map(tmp_path / "strong.h5", 0 * field, field)})
    strong.apply(charge, TOY, STREAM)
    with pytest.raises(ConfigError, match=r"changes by 1\.2 of the drift field"):
        strong.apply(charge, {**TOY, "scale": 2.0}, STREAM)


def configured(path, **scale):
    return {
        "geometry": {"size": [48.0, 48.0, 48.0]},
        "effects": {"space_charge": {"map": path, "scale": scale}},
    }


def test_a_configuration_names_the_map(path, deposits):
    """Its digest is in the record, and another map, or none, makes events anew."""
    detector = Detector.from_config(configured(path, nominal=1.0, bounds=[0.0, 2.0]))
    (effect,) = detector.effects
    assert detector.to_dict()["effects"]["space_charge"]["files"] == {"map": effect.map.digest}
    assert "files" not in Detector("d", detector.geometry, (SpaceCharge(),)).to_dict()["effects"]["space_charge"]
    prepared = detector.prepare(deposits)
    without = Detector("toy", detector.geometry, (SpaceCharge({"scale": effect.parameter("scale")}),))
    with pytest.raises(ConfigError, match="other nominal conditions"):
        without.image(prepared)


def test_a_bad_configuration_is_refused(path, small):
    """Before any event is read: no file, no text, another key, or a map of another detector."""
    with pytest.raises(DataError, match="no such field map"):
        Detector.from_config(configured("none.h5"))
    with pytest.raises(ConfigError, match=r"space_charge\.map = 3 must be the path"):
        Detector.from_config(configured(3))
    with pytest.raises(UnknownNameError, match="mapp"):
        Detector.from_config({"effects": {"space_charge": {"mapp": path}}})
    with pytest.raises(UnknownNameError, match="file of effect space_charge"):
        SpaceCharge(files={"field": path})
    wide = replace(small, size=(48.0, 48.0, 60.0))
    with pytest.raises(ConfigError, match=r"toy\.h5 covers .*\[0, 48\] cm.*detector.*\[0, 60\] cm"):
        Detector("wide", wide, (SpaceCharge(files={"map": path}),))


def test_charge_beyond_the_read_out_is_lost(deposits):
    """Steps that seem to lie behind the cathode are not collected; all others keep every electron."""
    geometry = Geometry(size=(48.0, 48.0, 48.0))
    strong = {"strength": replace(SpaceCharge.parameters[1], nominal=0.5)}
    detector = Detector("strong", geometry, (SpaceCharge(strong),), diffusion=(0.0, 0.0))
    universe = Universe("full", (("space_charge_scale", 5.0),))
    prepared = detector.prepare(deposits)
    seen = detector.positions(prepared, universe)
    inside = geometry.inside(seen)
    assert 0 < int((~inside).sum()) < len(inside)
    image = detector.image(prepared, universe)
    per_event = torch.zeros(5, dtype=torch.float64).index_add_(0, image.event_index, image.charge.double())
    kept = torch.where(inside, prepared.charge.electrons, 0.0)
    expected = torch.zeros(5, dtype=torch.float64).index_add_(0, prepared.charge.event, kept)
    torch.testing.assert_close(per_event, expected, rtol=1e-6, atol=0.1)
