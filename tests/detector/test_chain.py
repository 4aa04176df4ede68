"""The detector as a whole: the identity universe, independence of batch and order, events that stay, energy scale."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace

import pytest
import torch

from shiftlab.detector import NOMINAL, ConfigError, Detector, Universe, detector, effects, multisim, unisim
from shiftlab.errors import DataError
from shiftlab.events.image import Image


def same(one: Image, other: Image) -> bool:
    names = ("offsets", "cell", "charge", "energy")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


def test_identity_universe_is_nominal_bit_for_bit(chamber, deposits):
    """All nuisances zero, computed by its own pass with nothing reused, changes nothing, whatever the throw."""
    nominal = chamber.image(chamber.prepare(deposits))
    zeros = tuple((nuisance.name, 0.0) for nuisance in chamber.nuisances)
    again = Detector.from_config(
        {
            "geometry": chamber.geometry.to_dict(),
            "effects": {e.name: {} for e in chamber.effects},
            "allow_double_counting": True,
        }
    )
    assert same(nominal, again.image(deposits, Universe("identity", zeros, throw=17, group="control")))


def test_universes_do_not_depend_on_what_was_recorded_before(chamber, deposits):
    """Prepared events, reused over universes in any order, give what fresh ones give."""
    prepared = chamber.prepare(deposits)
    universes = (*multisim(chamber, 2, seed=5), *unisim(chamber)[:6], NOMINAL)
    reused = [chamber.image(prepared, universe) for universe in universes]
    for universe, image in zip(universes, reused, strict=True):
        assert same(image, chamber.image(deposits, universe))


def test_batch_and_order_of_events_change_no_bit(chamber, deposits):
    """Alone, in pairs or in reverse, each event has the same voxels, noise-only ones included."""
    for universe in (NOMINAL, multisim(chamber, 2, seed=5)[0]):
        together = chamber.image(deposits, universe)
        turned = chamber.image(deposits.take([5, 4, 3, 2, 1, 0]), universe)
        assert same(together.take([5, 4, 3, 2, 1, 0]), turned)
        for chosen in ([0], [1], [2, 3], [4, 5]):
            assert same(together.take(chosen), chamber.image(deposits.take(chosen), universe))


def test_threads_change_no_bit(chamber, deposits):
    """One torch thread or two: the same image."""
    before = torch.get_num_threads()
    images = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        images.append(chamber.image(deposits))
    torch.set_num_threads(before)
    assert same(*images)


def test_a_detector_crosses_to_another_process_whole(chamber, deposits):
    """Pickled and back, as for a worker process, it records the same bits."""
    universe = multisim(chamber, 2, seed=5)[1]
    assert same(chamber.image(deposits, universe), pickle.loads(pickle.dumps(chamber)).image(deposits, universe))


def test_a_record_is_replayed_to_the_same_bytes(chamber, deposits):
    """Seed, priors and nuisances from the provenance record make the same image again."""
    universe = multisim(chamber, 2, seed=5)[0]
    record = json.loads(json.dumps({"detector": chamber.to_dict(), "universe": universe.to_dict()}, allow_nan=False))
    config = record["detector"]
    config["effects"] = {
        name: {key: {"nominal": prior["nominal"], "sigma": prior["sigma"]} for key, prior in own["parameters"].items()}
        for name, own in config["effects"].items()
    }
    shifts = record["universe"]
    replayed = Universe(shifts["name"], tuple(shifts["nuisances"].items()), shifts["throw"], group=shifts["group"])
    assert same(chamber.image(deposits, universe), Detector.from_config(config).image(deposits, replayed))


def test_events_stay_when_they_lose_everything(chamber, deposits):
    """The table of events is the same object; an event without charge has no voxel but noise."""
    image = chamber.image(deposits)
    assert image.events is deposits.events
    assert len(image) == 6
    silent = Detector(
        "quiet", chamber.geometry, tuple(e for e in chamber.effects if e.name != "noise"), allow_double_counting=True
    )
    image = silent.image(deposits)
    assert int(image.offsets[2] - image.offsets[1]) == 0
    assert bool((image.energy > 0).all())


def test_no_events_and_no_deposits_are_fine(chamber, deposits):
    assert len(chamber.image(deposits.take([]))) == 0
    assert len(chamber.image(deposits.take([1, 1]))) == 2


def test_deposits_outside_are_dropped_and_counted(chamber, deposits):
    """The same ones in every universe, with their energy."""
    prepared = chamber.prepare(deposits)
    inside = chamber.geometry.inside(deposits.position)
    assert int(prepared.dropped.sum()) == int((~inside).sum()) > 0
    assert float(prepared.dropped_energy.sum()) == pytest.approx(float(deposits.energy[~inside].sum()), rel=1e-5)
    summary = chamber.summary(prepared)
    assert summary["dropped_deposits"] == int((~inside).sum())
    assert summary["deposits"] == int(inside.sum())


@pytest.mark.parametrize(
    ("column", "value"), [("energy", math.nan), ("energy", -1.0), ("position", math.inf), ("length", math.nan)]
)
def test_bad_deposits_are_named(chamber, deposits, column, value):
    """NaN, infinite and negative numbers are refused, with event, deposit and column."""
    bad = getattr(deposits, column).clone()
    bad[210] = value
    with pytest.raises(DataError, match=rf"deposit 210 \(event 3, .*{column}"):
        chamber.image(replace(deposits, **{column: bad}))


def test_an_impossible_energy_is_refused(chamber, deposits):
    """Above 100 GeV an event's charge would not fit the fixed-point sum."""
    with pytest.raises(DataError, match="MeV an event is allowed"):
        chamber.prepare(replace(deposits, energy=deposits.energy * 1e4))


def test_events_prepared_for_another_lattice_are_refused(chamber, deposits):
    with pytest.raises(ConfigError, match="another geometry"):
        detector("pixel_lar").image(chamber.prepare(deposits))


def test_calibration_undoes_the_mean_response(chamber, deposits):
    """Without threshold, noise and dead channels, minimum-ionising tracks get their energy back to 2%."""
    names = ("recombination", "lifetime", "gain")
    plain = Detector(
        "plain", chamber.geometry, tuple(effects().get(name)() for name in names), allow_double_counting=True
    )
    recorded = float(plain.image(deposits).energy.double().sum())
    true = float(plain.prepare(deposits).charge.energy.sum())
    assert recorded == pytest.approx(true, rel=0.02)


def test_the_chain_keeps_most_of_the_charge(tracks):
    """3 ke keeps about 80% of a minimum-ionising track's charge in the middle of the full cube."""
    summary = detector("pixel_lar").summary(tracks((400,) * 6, edge=230.4, margin=80.0))
    assert 0.7 < summary["charge_kept"] < 0.9


def test_recalibration_takes_out_a_gain(chamber, tracks):
    """The muon factor undoes 2% of gain up to what the threshold adds, and is one where nothing changed."""
    muons = chamber.prepare(tracks((220,) * 40, seed=3))
    assert chamber.mip_factor(muons, NOMINAL) == 1.0
    for name, sign in (("gain_scale", 1.0), ("gain_scale", -1.0)):
        factor = chamber.mip_factor(muons, Universe("u", ((name, sign),)))
        assert factor == pytest.approx(1.0 - 0.025 * sign, abs=0.008)
    image = chamber.image(muons, NOMINAL, scale=1.5)
    torch.testing.assert_close(image.energy, chamber.image(muons).energy * 1.5)
    assert torch.equal(image.charge, chamber.image(muons).charge)


def test_too_few_muons_are_refused(chamber, tracks):
    with pytest.raises(DataError, match="pieces of track"):
        chamber.mip_factor(tracks((20,)), NOMINAL)


def test_a_chain_that_cannot_run_is_refused(chamber):
    gain = effects().get("gain")
    with pytest.raises(ConfigError, match="listed twice"):
        Detector("d", chamber.geometry, (gain(), gain()))
    with pytest.raises(ConfigError, match="diffusion"):
        Detector("d", chamber.geometry, (), diffusion=(-1.0, 8.8))


def test_effects_act_in_the_order_of_their_stages(chamber):
    """However they are listed: noise comes before gain, gain before the mask, the threshold last."""
    turned = Detector("d", chamber.geometry, tuple(reversed(chamber.effects)), allow_double_counting=True)
    stages = [effect.stage for effect in turned.effects]
    assert stages == ["recombine", "drift", "add_noise", "amplify", "mask", "mask", "threshold"]
