"""The hadronic model takes whole vertices from a paired file; everything that both files share stays bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.detector import (
    NOMINAL,
    STAGES,
    ConfigError,
    Detector,
    Effect,
    Geometry,
    Parameter,
    Stream,
    Universe,
    effects,
    multisim,
    unisim,
)
from shiftlab.errors import DataError, UnknownNameError
from shiftlab.events import Deposits, read_pair
from shiftlab.tasks import truth_in
from shifts.generation.hadronic_model import HadronicModel, taken

DATA = Path(__file__).parents[1] / "data"
NAME = "hadronic_model_model"


def universe(strength: float, **others: float) -> Universe:
    return Universe("varied", ((NAME, strength), *others.items()))


def of_event(image, event):
    rows = image.event_index == event
    return image.cell[rows], image.charge[rows], image.energy[rows]


@pytest.fixture(scope="module")
def detector() -> Detector:
    """A small detector with noise, a frozen gain map and a threshold, besides the variation."""
    chain = ("hadronic_model", "lifetime", "noise", "gain", "threshold")
    own = tuple(effects().get(name)() for name in chain)
    return Detector("varied", Geometry(size=(48.0, 48.0, 48.0)), own, allow_double_counting=True)


@pytest.fixture(scope="module")
def twin(deposits: Deposits) -> Deposits:
    """The same events; event 0 has lost its second half to another interaction, event 4 has half the energy."""
    kept = deposits.keep((deposits.event_index != 0) | (torch.arange(len(deposits.energy)) < 150))
    energy = torch.where(kept.event_index == 4, 0.5 * kept.energy, kept.energy)
    return replace(kept, energy=energy)


@pytest.fixture(scope="module")
def prepared(detector, deposits, twin):
    return detector.prepare(deposits, {"hadronic_model": twin})


def test_it_says_what_it_is():
    assert effects().get("hadronic_model") is HadronicModel
    assert HadronicModel.stage == STAGES[0] == "generate"
    assert HadronicModel.catalogue == ("GEN1",)
    (parameter,) = HadronicModel.parameters
    assert parameter.source
    assert parameter.doc.endswith(".")
    assert not parameter.two_sided


def test_one_sigma_is_the_paired_file_and_nothing_else(detector, prepared, twin):
    """The image of the universe is that of the paired file in the nominal detector, bit for bit."""
    varied, alone = detector.image(prepared, universe(1.0)), detector.image(twin)
    assert torch.equal(varied.cell, alone.cell)
    assert torch.equal(varied.energy, alone.energy)


def test_nominal_never_reads_the_paired_file(detector, deposits):
    def read() -> Deposits:
        raise AssertionError("the paired file was read")

    prepared = detector.prepare(deposits, {"hadronic_model": read})
    for where in (NOMINAL, Universe("gain", (("gain_scale", 1.0),)), universe(0.0, gain_scale=-1.0)):
        one, other = detector.image(prepared, where), detector.image(deposits, where)
        assert torch.equal(one.energy, other.energy)
    with pytest.raises(AssertionError, match="was read"):
        detector.image(prepared, universe(1.0))


def test_equal_charge_has_equal_noise(detector, prepared):
    """Events that the models carry alike have the same bits; in the others, cells away from the difference do, too."""
    nominal, varied = detector.image(prepared), detector.image(prepared, universe(1.0))
    for event in (1, 2, 3):
        for one, other in zip(of_event(nominal, event), of_event(varied, event), strict=True):
            assert torch.equal(one, other)
    cells, _, energy = of_event(nominal, 0)
    found, _, other = of_event(varied, 0)
    same = torch.isin(found, cells)
    place = torch.searchsorted(cells, found[same])
    equal = energy[place] == other[same]
    assert int(equal.sum()) > 100
    assert len(found) < 0.7 * len(cells)


def test_it_combines_with_the_detector(detector, prepared, twin):
    """A joint universe is the paired file in the displaced detector, also where a frozen map is thrown."""
    where = replace(universe(1.0, gain_scale=1.0, gain_spread=1.0, noise_enc=-1.0), throw=3)
    alone = replace(where, nuisances=tuple(one for one in where.nuisances if one[0] != NAME))
    assert torch.equal(detector.image(prepared, where).energy, detector.image(twin, alone).energy)


def test_labels_are_those_of_the_twin(detector, prepared, twin):
    varied = truth_in(detector, prepared, universe(1.0))
    alone = truth_in(detector, detector.prepare(twin), NOMINAL)
    assert torch.equal(varied.cell, alone.cell)
    assert torch.equal(varied.energy, alone.energy)


def test_a_mixture_has_each_event_whole(detector, deposits, prepared, twin):
    """Every event of a fractional strength is the nominal or the paired one, as its vertex was drawn."""
    half = detector.image(prepared, universe(0.5))
    both = detector.image(prepared), detector.image(twin)
    stream = Stream(detector.seed, "hadronic_model")
    chosen = taken(deposits.events.vertex, 0.5, stream)
    assert 0 < int(chosen.sum()) < 5
    for event, other in enumerate(chosen.tolist()):
        for one, expected in zip(of_event(half, event), of_event(both[other], event), strict=True):
            assert torch.equal(one, expected)
    generated = detector.generated(prepared, universe(0.5))
    assert torch.equal(generated.events.key, deposits.events.key)


@given(low=st.floats(0.0, 1.0), high=st.floats(0.0, 1.0))
@settings(max_examples=30, deadline=None)
def test_a_larger_share_takes_the_vertices_of_a_smaller_one(low, high):
    """Shares nest, 0 takes none and 1 all; the number taken is binomial."""
    vertex = torch.arange(4000) * 7919
    stream = Stream(1, "hadronic_model", throw=5)
    low, high = min(low, high), max(low, high)
    small, large = taken(vertex, low, stream), taken(vertex, high, Stream(1, "hadronic_model"))
    assert bool((large | ~small).all())
    assert abs(float(large.double().mean()) - high) < 5.0 * 0.5 / 4000**0.5
    assert not bool(taken(vertex, 0.0, stream).any())
    assert bool(taken(vertex, 1.0, stream).all())


def test_events_of_one_vertex_are_taken_together():
    assert len(taken(torch.full((9,), 123), 0.5, Stream(1, "hadronic_model")).unique()) == 1


def test_values_per_event_take_their_own_events(prepared, detector):
    values = {"model": torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0], dtype=torch.float64)}
    stream = Stream(detector.seed, "hadronic_model")
    mixed = HadronicModel().apply(prepared, values, stream)
    assert torch.equal(mixed.deposits.offsets.diff(), prepared.deposits.offsets.diff())
    assert not torch.equal(mixed.deposits.energy, prepared.deposits.energy)


def test_unisims_have_the_one_side_that_there_is(detector):
    names = [one.name for one in unisim(detector) if "hadronic" in one.name]
    assert names == [f"{NAME}+1"]
    assert all(0.0 <= one.value(NAME) <= 1.0 for one in multisim(detector, 32, seed=2))


def test_joint_universes_can_be_recorded(detector, prepared):
    for where in multisim(detector, 4, seed=2):
        assert len(detector.image(prepared, where)) == 5


def test_without_the_paired_file_the_universe_is_refused_and_says_what_to_set(detector, deposits):
    with pytest.raises(ConfigError, match=r"data.variations.hadronic_model=FILE"):
        detector.image(deposits, universe(1.0))
    with pytest.raises(ConfigError, match="outside"):
        detector.image(deposits, universe(1.5))
    with pytest.raises(ConfigError, match="outside"):
        detector.image(deposits, universe(-1.0))


def test_a_file_of_other_events_is_refused(detector, deposits):
    prepared = detector.prepare(deposits, {"hadronic_model": deposits.take([1, 0, 2, 3, 4])})
    with pytest.raises(DataError, match="pair makes them so"):
        detector.image(prepared, universe(1.0))
    bare = replace(deposits, missing=("length",), length=torch.zeros_like(deposits.length))
    with pytest.raises(DataError, match="lacks length"):
        detector.image(detector.prepare(deposits, {"hadronic_model": bare}), universe(1.0))


def test_a_variation_that_no_effect_asks_for_is_refused(detector, deposits):
    with pytest.raises(UnknownNameError, match="hadronic_model"):
        detector.prepare(deposits, {"hadronic_modle": deposits})


def test_two_variations_at_once_have_no_events(detector, deposits):
    class Other(HadronicModel):
        name = "other_model"

    both = replace(detector, effects=(*detector.effects, Other()))
    assert isinstance(Other(), Effect)
    assert isinstance(Other.parameters[0], Parameter)
    prepared = both.prepare(deposits, {"hadronic_model": deposits, "other_model": deposits})
    assert len(both.image(prepared, Universe("one", (("other_model_model", 1.0),)))) == 5
    with pytest.raises(ConfigError, match="hadronic_model and other_model"):
        both.image(prepared, universe(1.0, other_model_model=1.0))


def test_the_muon_calibration_does_not_need_a_paired_file(detector, deposits):
    """Recalibration sees the displaced detector, in nominal generation."""
    muons = deposits.take([0, 3, 4])
    with_model = replace(universe(1.0, gain_scale=1.0), recalibrate="mip")
    without = Universe("gain", (("gain_scale", 1.0),), recalibrate="mip")
    try:
        expected = detector.mip_factor(muons, without)
    except DataError as error:
        with pytest.raises(DataError, match=str(error)[:20]):
            detector.mip_factor(muons, with_model)
    else:
        assert detector.mip_factor(muons, with_model) == expected


def test_real_twins_are_recorded_beside_each_other(detector):
    """FTFP_BERT and QGSP_BIC on the same Achilles vertices: other deposits of the same events."""
    nominal, twin = read_pair(DATA / "geant4_numu_ftfpbert.h5", DATA / "geant4_numu_qgspbic.h5", origin=(-24.0,) * 3)
    prepared = detector.prepare(nominal, {"hadronic_model": twin})
    one, other = detector.image(prepared), detector.image(prepared, universe(1.0))
    assert not torch.equal(one.energy, other.energy)
    assert torch.equal(one.events.key, other.events.key)
