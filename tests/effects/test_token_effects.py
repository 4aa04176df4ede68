"""Shifts of reconstructed tokens: every derived number follows, and nothing else moves."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shiftlab.detector import Stream, effects
from shiftlab.detector.scintillator.event_globals import RECOIL
from shiftlab.detector.scintillator.token_kinematics import (
    four_momentum,
    is_kind,
    matched_muons,
    visible_energy,
    without_floor,
)
from shiftlab.errors import ConfigError, DataError
from shiftlab.events import read_tokens
from shiftlab.events.minerva_ml.columns import GLOBALS
from shiftlab.events.tokens import Tokens, in_units
from shifts.tokens.attribution import FAMILIES, recoil_share, share_of
from shifts.tokens.beam_angle import turned
from shifts.tokens.muon import MUON_MASS
from shifts.tokens.tracking_efficiency import matching_error


@pytest.fixture(scope="module")
def minerva_tokens() -> Tokens:
    """The first 250 events of the shipped sample of MINERvA-like tokens."""
    return read_tokens(Path(__file__).parents[2] / "studies" / "samples" / "minerva_like_tokens.h5").take(range(250))


some = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def shifted(name: str, tokens: Tokens, **values: float) -> Tokens:
    """The tokens after one effect at these physical values, else nominal."""
    effect = effects().get(name)()
    nominal = {parameter.name: parameter.nominal for parameter in effect.parameters}
    return effect.apply(tokens, {**nominal, **values}, Stream(1, name))


def glob(tokens: Tokens, name: str) -> torch.Tensor:
    return tokens.globals[:, GLOBALS.index(name)].double()


def recoil(tokens: Tokens) -> torch.Tensor:
    return glob(tokens, "log_hadron_recoil").exp() - 1e-5


def pure(tokens: Tokens, family: str) -> Tokens:
    """Tokens whose truth says that each belongs wholly to the family of its kind, blobs to showers."""
    own = {"em": ("photon", "blob", "blob_aggregate"), "proton": ("prong_13",), "meson": ("prong_8",)}
    share = is_kind(tokens, *own.get(family, ())).double()
    return replace(tokens, truth={f"fraction_{family}": share})


# M1 to M5: response


@some
@given(scale=st.floats(0.8, 1.25))
def test_em_scale_adds_its_logarithm_to_photons(minerva_tokens, scale):
    """log E and log pT grow by ln(1 + e), eta and phi stay, and the two photons' mass is exactly (1 + e) larger."""
    after = shifted("em_response", minerva_tokens, scale=scale)
    photon = is_kind(minerva_tokens, "photon")
    for name in ("log_E", "log_pT"):
        grown = (after.column(name) - minerva_tokens.column(name))[photon].double()
        torch.testing.assert_close(grown, torch.full_like(grown, math.log(scale)), rtol=0, atol=2e-6)
    for name in ("eta", "phi", "t", "log_dEdx"):
        assert torch.equal(after.column(name)[photon], minerva_tokens.column(name)[photon])
    mass, old = glob(after, "photon_pair_mass"), glob(minerva_tokens, "photon_pair_mass")
    pair = minerva_tokens.global_valid[:, GLOBALS.index("photon_pair_mass")]
    assert int(pair.sum()) > 20
    torch.testing.assert_close(mass[pair], scale * old[pair], rtol=3e-5, atol=0.05)
    assert torch.equal(after.global_valid, minerva_tokens.global_valid)


@some
@given(scale=st.floats(0.85, 1.15))
def test_recoil_moves_by_the_mean_response(minerva_tokens, scale):
    """Summed over particles, the shifts of the recoil are E_rec times the weighted mean of their responses."""
    change = torch.zeros(len(minerva_tokens), dtype=torch.float64)
    mean = torch.zeros_like(change)
    for number, family in enumerate(FAMILIES):
        name = f"{family}_response"
        own = 1.0 + (scale - 1.0) * (number + 1) / 5
        after = shifted(name, minerva_tokens, scale=own)
        change += recoil(after) - recoil(minerva_tokens)
        shares = {parameter.name: parameter.nominal for parameter in effects().get(name)().parameters}
        mean += (own - 1.0) * recoil_share(minerva_tokens, share_of(minerva_tokens, family, name, shares))
    torch.testing.assert_close(change, recoil(minerva_tokens) * mean, rtol=1e-3, atol=0.02)


def test_passive_recoil_follows_and_the_outer_detector_does_not(minerva_tokens):
    """MAT-MINERvA shifts the inner detector's recoil only; the sum of both follows."""
    after = shifted("proton_response", minerva_tokens, scale=1.1)
    inner, outer, both = (
        (glob(after, f"log_passive_recoil{end}").exp() - 1e-3) * 1e4 for end in ("_inner", "_outer", "")
    )
    torch.testing.assert_close(inner, recoil(after), rtol=2e-5, atol=0.02)
    torch.testing.assert_close(both, inner + outer, rtol=2e-5, atol=0.02)
    place = GLOBALS.index("log_passive_recoil_outer")
    assert torch.equal(after.globals[:, place], minerva_tokens.globals[:, place])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_moves_only_what_it_may(minerva_tokens, family):
    """Muons, fuzz, isolated blobs, counts and flags keep their bits; sums of each kind follow its tokens."""
    after = shifted(f"{family}_response", minerva_tokens, scale=1.1)
    for name in ("log_muon_fuzz", "log_isolated_blobs", "n_michel", "has_muon", "n_charged_pion_prongs"):
        place = GLOBALS.index(name)
        assert torch.equal(after.globals[:, place], minerva_tokens.globals[:, place])
    muons = matched_muons(minerva_tokens)
    assert torch.equal(after.features[matched_muons(after)], minerva_tokens.features[muons])
    for kind in range(2, 8):
        one = torch.zeros(len(after), dtype=torch.float64)
        rows = after.particle == kind
        one.index_add_(0, after.event_index[rows], after.column("log_E")[rows].double().exp())
        torch.testing.assert_close(after.globals[:, 8 + kind].double(), (one + 1e-3).log(), rtol=1e-6, atol=1e-6)


def test_a_prong_keeps_its_mass(minerva_tokens):
    """What lights the detector is kinetic energy: E = m + T (1 + e), p on the mass shell of the same mass."""
    after = shifted("proton_response", minerva_tokens, scale=1.05)
    rows = is_kind(minerva_tokens, "prong_13")
    lone = (
        rows & (torch.bincount(minerva_tokens.event_index[rows], minlength=len(after)) == 1)[minerva_tokens.event_index]
    )
    old, mass = visible_energy(minerva_tokens)
    slow = lone & (old > 5)
    same = is_kind(after, "prong_13")
    same &= (torch.bincount(after.event_index[same], minlength=len(after)) == 1)[after.event_index]
    new, after_mass = (part[same] for part in visible_energy(after))
    assert int(slow.sum()) > 50
    torch.testing.assert_close(after_mass[old[lone] > 5], mass[slow], rtol=2e-4, atol=0)
    torch.testing.assert_close(new[old[lone] > 5], 1.05 * old[slow], rtol=2e-3, atol=0)


@some
@given(one=st.floats(0.9, 1.1), two=st.floats(0.9, 1.1), family=st.sampled_from(["em", "proton", "meson"]))
def test_scales_of_whole_tokens_multiply_and_can_be_undone(minerva_tokens, one, two, family):
    """a then b is a b, and a then 1/a is nothing, for tokens that are of one family; the recoil included."""
    tokens, name = pure(minerva_tokens, family), f"{family}_response"
    twice = shifted(name, shifted(name, tokens, scale=one), scale=two)
    close(twice, shifted(name, tokens, scale=one * two))
    close(shifted(name, shifted(name, tokens, scale=one), scale=1 / one), tokens)


def close(one: Tokens, other: Tokens) -> None:
    assert torch.equal(one.offsets, other.offsets)
    torch.testing.assert_close(one.features, other.features, rtol=1e-5, atol=5e-5)
    measured = one.global_valid & other.global_valid
    torch.testing.assert_close(one.globals[measured], other.globals[measured], rtol=1e-4, atol=2e-4)


def test_michel_electrons_follow_the_tag_alone(minerva_tokens):
    """The blobs' shares of all families leave out what Michel electrons are, 11% of the toy's blobs."""
    whole = sum(effects().get(f"{family}_response")().parameter("blob_share").nominal for family in FAMILIES)
    assert whole == pytest.approx(0.89, abs=0.005)


def test_truth_of_a_token_takes_the_place_of_the_mixture(minerva_tokens):
    """A blob that truth calls a shower scales whole, one that it does not call so stays bit for bit."""
    truth = torch.zeros(len(minerva_tokens.particle), dtype=torch.float64)
    blobs = torch.nonzero(is_kind(minerva_tokens, "blob")).squeeze(1)
    truth[blobs[0]] = 1.0
    after = shifted("em_response", replace(minerva_tokens, truth={"fraction_em": truth}), scale=1.0001)
    changed = torch.nonzero((after.features != minerva_tokens.features).any(dim=1)).squeeze(1)
    assert changed.tolist() == [int(blobs[0])]
    for wrong in (1.5, math.nan):
        with pytest.raises(DataError, match=r"effect em_response.*fraction_em.*from 0 to 1"):
            shifted("em_response", replace(minerva_tokens, truth={"fraction_em": truth * wrong}), scale=1.1)


def test_without_truth_and_kinds_a_response_is_refused(minerva_tokens):
    """The message names what is missing, and nothing is changed."""
    nameless = replace(minerva_tokens, kinds=("particle",), particle=torch.zeros_like(minerva_tokens.particle))
    with pytest.raises(DataError, match=r"effect em_response.*kinds.*these have particle"):
        shifted("em_response", nameless, scale=1.1)
    with pytest.raises(DataError, match="michel_efficiency needs the global n_michel"):
        shifted(
            "michel_efficiency",
            replace(
                minerva_tokens,
                globals=minerva_tokens.globals[:, :0],
                global_columns=(),
                global_units=(),
                global_valid=minerva_tokens.global_valid[:, :0],
            ),
            scale=1.025,
        )


# M7 to M10: the muon and the beam


@some
@given(offset=st.floats(-150, 150), scale=st.floats(0.9, 1.1))
def test_muon_momentum_is_additive_and_on_the_mass_shell(minerva_tokens, offset, scale):
    """|p| becomes scale |p| + offset in the same direction, E follows, and so does the prong that repeats the muon."""
    after = shifted("muon_momentum", minerva_tokens, offset=offset, scale=scale)
    muon, moved = is_kind(minerva_tokens, "muon"), is_kind(after, "muon")
    old, new = four_momentum(minerva_tokens), four_momentum(after)
    size = old.momentum.norm(dim=1)[muon]
    found = new.momentum.norm(dim=1)[moved]
    torch.testing.assert_close(found, scale * size + offset, rtol=3e-6, atol=0)
    torch.testing.assert_close(new.energy[moved], (found**2 + MUON_MASS**2).sqrt(), rtol=3e-6, atol=0)
    for name in ("eta", "phi"):
        assert torch.equal(after.column(name)[moved], minerva_tokens.column(name)[muon])
    assert int(matched_muons(after).sum()) == 2 * int(moved.sum())
    assert torch.equal(recoil(after), recoil(minerva_tokens))


def test_offsets_add_and_scales_multiply(minerva_tokens):
    close(
        shifted("muon_momentum", shifted("muon_momentum", minerva_tokens, offset=50.0), offset=-80.0),
        shifted("muon_momentum", minerva_tokens, offset=-30.0),
    )
    close(shifted("muon_momentum", shifted("muon_momentum", minerva_tokens, scale=1.1), scale=1 / 1.1), minerva_tokens)


def test_a_muon_cannot_lose_more_than_it_has(minerva_tokens):
    slow = minerva_tokens.features.clone()
    muon = is_kind(minerva_tokens, "muon")
    slow[muon, 2] = math.log(10.0)
    slow[muon, 0] = 0.0
    with pytest.raises(DataError, match=r"muon_momentum: event \d+.*must stay positive"):
        shifted("muon_momentum", replace(minerva_tokens, features=slow), offset=-50.0)


def test_all_of_the_error_taken_away_is_the_truth(minerva_tokens):
    """At a fraction of 1 the momentum is the true one, its size by M9 and its direction by M10."""
    muon = is_kind(minerva_tokens, "muon")
    truth = minerva_tokens.events.truth
    true = torch.stack([truth[f"muon_momentum_{axis}"] for axis in "xyz"], dim=1)[minerva_tokens.event_index[muon]]
    sized = shifted("muon_resolution", minerva_tokens, fraction=1.0)
    found = four_momentum(sized).momentum[is_kind(sized, "muon")]
    torch.testing.assert_close(found.norm(dim=1), true.norm(dim=1), rtol=3e-6, atol=0)
    both = shifted("muon_angle", sized, x=1.0, y=1.0)
    found = four_momentum(both).momentum[is_kind(both, "muon")]
    torch.testing.assert_close(found, true, rtol=1e-4, atol=0.02)
    assert torch.equal(both.column("log_E"), sized.column("log_E"))


def test_the_muon_resolution_needs_truth(minerva_tokens):
    bare = replace(minerva_tokens, events=replace(minerva_tokens.events, truth={}))
    for name, value in (("muon_resolution", {"fraction": 0.1}), ("muon_angle", {"x": 0.1})):
        with pytest.raises(DataError, match=f"effect {name} needs the truth muon_momentum_x"):
            shifted(name, bare, **value)
        assert torch.equal(shifted(name, bare).features, bare.features)


@some
@given(x=st.floats(-10, 10), y=st.floats(-10, 10))
def test_a_turn_of_the_beam_keeps_momenta_energies_and_masses(minerva_tokens, x, y):
    after = shifted("beam_angle", minerva_tokens, x=x, y=y)
    old, new = four_momentum(minerva_tokens), four_momentum(after)
    torch.testing.assert_close(new.momentum.norm(dim=1), old.momentum.norm(dim=1), rtol=1e-5, atol=1e-6)
    assert torch.equal(after.column("log_E"), minerva_tokens.column("log_E"))
    mass = glob(after, "photon_pair_mass")
    torch.testing.assert_close(mass, glob(minerva_tokens, "photon_pair_mass"), rtol=1e-3, atol=0.1)
    vectors = torch.tensor([[1.0, 2.0, 30.0]], dtype=torch.float64)
    one, two = (torch.tensor([angle / 1000], dtype=torch.float64) for angle in (x, y))
    zero = torch.zeros_like(one)
    torch.testing.assert_close(turned(turned(vectors, one, zero), two, zero), turned(vectors, one + two, zero))
    back = turned(turned(turned(vectors, one, two), zero, -two), -one, zero)
    torch.testing.assert_close(back, vectors, rtol=1e-12, atol=1e-12)


def test_the_beam_angle_is_that_of_a_track_along_it(minerva_tokens):
    """A muon straight ahead gets the slope tan(1 mrad) in x."""
    beam = torch.tensor([[0.0, 0.0, 1000.0]], dtype=torch.float64)
    angle = torch.tensor([1e-3], dtype=torch.float64)
    moved = turned(beam, angle, torch.zeros_like(angle))[0]
    assert float(moved[0] / moved[2]) == pytest.approx(math.tan(1e-3), rel=1e-12)
    assert float(moved[1]) == 0.0


# M11 to M13: weights


@some
@given(scale=st.floats(0.8, 1.2))
def test_target_mass_is_a_pure_normalisation(minerva_tokens, scale):
    after = shifted("target_mass", minerva_tokens, scale=scale)
    assert torch.equal(after.events.weight, minerva_tokens.events.weight * scale)
    assert torch.equal(after.features, minerva_tokens.features)


def test_matching_error_is_that_of_its_source():
    """At 0 degrees sqrt(0.01^2 + 0.00921^2); beyond 40 degrees that of 40."""
    found = matching_error(torch.tensor([0.0, 20.0, 40.0, 80.0], dtype=torch.float64)).tolist()
    assert found[0] == pytest.approx(math.hypot(0.01, 0.00921), rel=1e-9)
    assert found[1] == pytest.approx(math.hypot(0.01, 1 - 0.97044962), rel=1e-6)
    assert found[2] == found[3] == pytest.approx(math.hypot(0.01, 1 - 0.8924393), rel=1e-5)


@some
@given(size=st.floats(-5, 5))
def test_tracking_efficiency_weighs_events_with_a_muon(minerva_tokens, size):
    """Mean weight is 1 + n times the mean error; events without a muon keep theirs, and none is negative."""
    after = shifted("tracking_efficiency", minerva_tokens, matching=size).events.weight
    has = glob(minerva_tokens, "has_muon") > 0
    assert torch.equal(after[~has], minerva_tokens.events.weight[~has])
    assert bool((after >= 0).all())
    unit = shifted("tracking_efficiency", minerva_tokens, matching=1.0).events.weight
    torch.testing.assert_close(after - minerva_tokens.events.weight, size * (unit - minerva_tokens.events.weight))
    assert bool((unit[has] > 1.013).all() and (unit[has] < 1.11).all())


def test_michel_weight_is_that_of_the_tagged(minerva_tokens):
    after = shifted("michel_efficiency", minerva_tokens, scale=1.025).events.weight
    tagged = glob(minerva_tokens, "n_michel") > 0
    share = float(tagged.double().mean())
    assert 0.2 < share < 0.8
    assert float(after.mean() / minerva_tokens.events.weight.mean()) == pytest.approx(1 + 0.025 * share, rel=1e-9)
    assert torch.equal(after[~tagged], minerva_tokens.events.weight[~tagged])


# M14 to M16


@some
@given(scale=st.floats(0.8, 1.2))
def test_prong_dedx_scales_below_its_cap(minerva_tokens, scale):
    """dE/dx, not its logarithm with the floor, times the scale; photons, blanks and energies stay."""
    after = shifted("prong_dedx", minerva_tokens, scale=scale)
    prong = is_kind(minerva_tokens, "prong_3", "prong_8", "prong_13")
    old, new = (part.column("log_dEdx").double().exp() - 0.1 for part in (minerva_tokens, after))
    torch.testing.assert_close(new[prong], (old[prong] * scale).clamp(max=100.0), rtol=2e-6, atol=1e-6)
    assert torch.equal(new[~prong], old[~prong])
    assert torch.equal(after.globals, minerva_tokens.globals)
    if float(old[prong].max()) * max(scale, 1.0) < 100.0:
        again = shifted("prong_dedx", after, scale=1 / scale)
        torch.testing.assert_close(again.features, minerva_tokens.features, rtol=1e-5, atol=1e-5)


def test_prong_dedx_leaves_sentinels_and_cap(minerva_tokens):
    row = int(torch.nonzero(is_kind(minerva_tokens, "prong_8"))[0])
    other = int(torch.nonzero(is_kind(minerva_tokens, "prong_13"))[0])
    valid, features = minerva_tokens.valid.clone(), minerva_tokens.features.clone()
    valid[row, 4], features[row, 4] = False, 0.0
    features[other, 4] = math.log(100.1)
    after = shifted("prong_dedx", replace(minerva_tokens, valid=valid, features=features), scale=1.05)
    assert float(after.features[row, 4]) == 0.0
    assert float(after.features[other, 4]) == pytest.approx(math.log(100.1), abs=1e-6)


@some
@given(low=st.floats(1.0, 10.0), high=st.floats(1.0, 30.0))
def test_a_higher_threshold_keeps_a_part_of_a_lower_one(minerva_tokens, low, high):
    """No blob below it is left, all others keep their bits; max composes; the recoil, which sums clusters, stays."""
    after = shifted("blob_threshold", minerva_tokens, energy=high)
    blob, before = (is_kind(part, "blob", "blob_aggregate") for part in (after, minerva_tokens))
    if high > 1.0:
        assert float(without_floor(after, "log_E")[blob].min()) >= high
    assert torch.equal(after.features[~blob], minerva_tokens.features[~before])
    kept = before & (without_floor(minerva_tokens, "log_E") >= high)
    assert high == 1.0 or torch.equal(after.features[blob], minerva_tokens.features[kept])
    twice = shifted("blob_threshold", shifted("blob_threshold", minerva_tokens, energy=low), energy=high)
    whole = shifted("blob_threshold", minerva_tokens, energy=max(low, high))
    assert torch.equal(twice.features, whole.features)
    torch.testing.assert_close(twice.globals, whole.globals, rtol=1e-6, atol=1e-6)
    assert torch.equal(recoil(after), recoil(minerva_tokens))


@some
@given(distance=st.floats(0.0, 500.0))
def test_merging_keeps_the_energy(minerva_tokens, distance):
    """Energy sums of blobs stay; each blob is massless and points from the origin to its place."""
    after = shifted("blob_merge", minerva_tokens, distance=distance)
    for name in ("log_E_blob", "log_hadron_recoil", "log_E_prong_8"):
        torch.testing.assert_close(glob(after, name), glob(minerva_tokens, name), rtol=1e-5, atol=1e-5)
    assert len(after.particle) <= len(minerva_tokens.particle)
    blob = is_kind(after, "blob")
    momentum, energy = four_momentum(after)
    place = torch.stack([after.column(axis).double() for axis in "xyz"], dim=1)
    towards = energy[:, None] * place / place.norm(dim=1, keepdim=True).clamp(min=1e-9)
    torch.testing.assert_close(momentum[blob], towards[blob], rtol=1e-4, atol=1e-3)


def test_merged_blobs_are_apart_and_in_order(minerva_tokens):
    after = shifted("blob_merge", minerva_tokens, distance=200.0)
    assert len(after.particle) < 0.8 * len(minerva_tokens.particle)
    energy, event, blob = after.column("log_E"), after.event_index, is_kind(after, "blob")
    assert bool(((energy[blob][1:] <= energy[blob][:-1]) | (event[blob][1:] != event[blob][:-1])).all())


@some
@given(low=st.floats(0.0, 0.5), high=st.floats(0.5, 1.0))
def test_dropped_blobs_nest(minerva_tokens, low, high):
    few, many = (shifted("blob_drop", minerva_tokens, probability=value) for value in (high, low))
    rows = [set(map(tuple, part.features.tolist())) for part in (few, many, minerva_tokens)]
    assert rows[0] <= rows[1] <= rows[2]
    total = int(is_kind(minerva_tokens, "blob").sum())
    lost = total - int(is_kind(many, "blob").sum())
    assert abs(lost - low * total) <= 5 * math.sqrt(total * low * (1 - low)) + 1


def test_all_blobs_lost_leaves_the_event(minerva_tokens):
    after = shifted("blob_drop", minerva_tokens, probability=1.0)
    assert not bool(is_kind(after, "blob").any())
    assert len(after) == len(minerva_tokens)
    after.check("lost")


@some
@given(x=st.floats(-100, 100), y=st.floats(-100, 100), z=st.floats(-100, 100))
def test_places_translate(minerva_tokens, x, y, z):
    """Every place moves by the same vector, and back; energies and |p| stay; blobs point to where they are."""
    after = shifted("vertex_offset", minerva_tokens, x=x, y=y, z=z)
    for axis, value in (("x", x), ("y", y), ("z", z)):
        has = minerva_tokens.valid[:, minerva_tokens.columns.index(axis)]
        moved = 1e4 * (after.column(axis) - minerva_tokens.column(axis)).double()
        torch.testing.assert_close(moved[has], torch.full_like(moved[has], value), rtol=0, atol=2e-3)
        assert bool((after.column(axis)[~has] == 0).all())
    assert torch.equal(after.column("log_E"), minerva_tokens.column("log_E"))
    close(shifted("vertex_offset", after, x=-x, y=-y, z=-z), minerva_tokens)


@some
@given(offset=st.floats(-500, 500))
def test_times_translate(minerva_tokens, offset):
    after = shifted("token_time_offset", minerva_tokens, offset=offset)
    moved = 1e4 * (after.column("t") - minerva_tokens.column("t")).double()
    torch.testing.assert_close(moved, torch.full_like(moved, offset), rtol=0, atol=1e-3)
    assert torch.equal(after.globals, minerva_tokens.globals)


# Units


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("em_response", {"scale": 1.03}),
        ("meson_response", {"scale": 0.95}),
        ("muon_momentum", {"offset": 31.95}),
        ("beam_angle", {"x": 1.0}),
        ("blob_threshold", {"energy": 5.0}),
        ("blob_merge", {"distance": 100.0}),
        ("vertex_offset", {"z": 5.0}),
    ],
)
def test_gev_and_mev_give_the_same_physics(minerva_tokens, name, values):
    """Thresholds, masses and floors are in MeV whatever unit the columns have."""
    there = shifted(name, in_units(minerva_tokens, "GeV"), **values)
    here = in_units(shifted(name, minerva_tokens, **values), "GeV")
    assert there.units == here.units
    assert torch.equal(there.particle, here.particle)
    torch.testing.assert_close(there.features, here.features, rtol=2e-6, atol=4e-6)
    torch.testing.assert_close(there.globals, here.globals, rtol=2e-5, atol=4e-6)


def test_another_unit_is_refused(minerva_tokens):
    odd = replace(minerva_tokens, units=(*minerva_tokens.units[:3], "log(keV)", *minerva_tokens.units[4:]))
    with pytest.raises(DataError, match=r"em_response: log_E of the tokens is in 'log\(keV\)'"):
        shifted("em_response", odd, scale=1.1)


def test_bounds_hold():
    for name, parameter, value in (("em_response", "scale", -0.1), ("blob_threshold", "energy", 0.5)):
        with pytest.raises(ConfigError, match=parameter):
            effects().get(name)().parameter(parameter).check(value)


def test_the_recoil_kinds_are_those_of_the_globals():
    assert RECOIL == (1, 2, 4, 5, 6, 7)
