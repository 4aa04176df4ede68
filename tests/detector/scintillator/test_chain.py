"""The whole chain: what a drawn event becomes, and that an event's tokens depend on nothing but the event."""

import dataclasses

import pytest
import torch

from shiftlab.detector import ScintillatorDetector, Universe
from shiftlab.detector.scintillator import scintillator_detector
from shiftlab.detector.scintillator.objects import KINDS, MASSES
from shiftlab.detector.scintillator.reconstruction import stopping_dedx
from shiftlab.errors import DataError, UnknownNameError
from shiftlab.events import read_tokens
from shiftlab.events.minerva_ml import write_minerva_ml

DETECTOR = scintillator_detector()
FAR = 598.4 - 101.0


def kinds(deposits, detector=DETECTOR):
    return [KINDS[i] if i < 6 else "aggregate" for i in detector.tokens(deposits).particle.tolist()]


def test_a_muon_that_leaves_downstream_is_a_muon_with_its_prong(drawn, ray):
    deposits = drawn([[ray(13, 3000.0, length=FAR)]])
    tokens = DETECTOR.tokens(deposits)
    assert kinds(deposits) == ["muon", "prong_muon"]
    momentum = tokens.column("log_E").double().exp()
    # 6% of resolution: six standard deviations of one draw; both tokens are the same measurement.
    assert float(momentum[0]) == pytest.approx(3002.0, rel=0.36)
    assert torch.equal(tokens.features[0, :4], tokens.features[1, :4])
    assert float(tokens.column("log_dEdx")[1].exp()) == pytest.approx(2.052 + 0.1, rel=0.05)


@pytest.mark.parametrize(
    ("momentum", "way", "length"),
    [(1400.0, (0, 0, 1.0), FAR), (3000.0, (0.5, 0, 1.0), 200.0), (3000.0, (0, 0, 1.0), 200.0)],
    ids=["too slow", "too steep", "does not leave"],
)
def test_no_muon_is_matched_that_the_downstream_spectrometer_would_not_see(drawn, ray, momentum, way, length):
    assert "muon" not in kinds(drawn([[ray(13, momentum, way=way, length=length)]]))


def test_the_muons_resolution_is_the_stated_one(drawn, ray):
    deposits = drawn([[ray(13, 3000.0, length=FAR)]] * 150)
    tokens = DETECTOR.tokens(deposits)
    muon = tokens.particle == 0
    energy = tokens.column("log_E")[muon].double().exp()
    assert int(muon.sum()) == 150
    assert float(energy.std() / energy.mean()) == pytest.approx(0.06, abs=5 * 0.06 / 300**0.5)


def test_dedx_and_range_tell_pions_from_protons(drawn, ray):
    # 15 cm of stopping track: what the mean dE/dx of each is, by the range law; light is quenched by a few per cent.
    path = torch.tensor([15.0], dtype=torch.float64)
    proton, pion = (float(stopping_dedx(path, MASSES[name])) for name in ("prong_proton", "prong_pion"))
    events = [
        [ray(13, 3000.0, length=20.0), ray(2212, 600.0, length=15.0, way=(0.5, 0.2, 1.0), dedx=proton)],
        [ray(13, 3000.0, length=20.0), ray(211, 180.0, length=15.0, way=(0.5, 0.2, 1.0), dedx=pion)],
    ]
    tokens = DETECTOR.tokens(drawn(events))
    first, second = (tokens.particle[tokens.event_index == i].tolist() for i in (0, 1))
    assert KINDS.index("prong_proton") in first
    assert KINDS.index("prong_proton") not in second
    assert second.count(KINDS.index("prong_pion")) == 2  # the short muon looks like one


def test_the_range_law_is_that_of_tables():
    # NIST PSTAR, polystyrene, CSDA range over density 1.06: 7.4 cm at 100 MeV, 24.9 cm at 200 MeV (within 5%).
    for kinetic, path in ((100.0, 7.4), (200.0, 24.9)):
        found = stopping_dedx(torch.tensor([path], dtype=torch.float64), MASSES["prong_proton"])
        assert float(found) * path == pytest.approx(kinetic, rel=0.05)


def test_photons_are_the_two_brightest_and_the_third_becomes_a_blob(drawn, ray):
    showers = [
        ray(22, e, start=(115.3, 114.6 + 25 * i, 150.0), way=(0, 0.1, 1), length=e / 10, dedx=10.0, semantic=0)
        for i, e in enumerate((100.0, 300.0, 200.0))
    ]
    deposits = drawn([showers])
    tokens = DETECTOR.tokens(deposits)
    assert kinds(deposits) == ["photon", "photon", "blob"]
    energy = tokens.column("log_E").exp()
    assert (energy.diff() < 0).all()  # the brightest comes first
    assert float(energy[0]) == pytest.approx(300.0, rel=0.12)


def test_a_short_proton_is_a_blob_and_dust_is_nothing(drawn, ray):
    assert kinds(drawn([[ray(2212, 200.0, length=1.5, dedx=15.0)]])) == ["blob"]
    assert kinds(drawn([[ray(2212, 50.0, length=0.5, dedx=0.4)]])) == []


def test_events_without_light_keep_their_place(drawn, ray):
    outside = ray(13, 3000.0, start=(2.0, 2.0, 10.0), length=3.0)
    tokens = DETECTOR.tokens(drawn([[], [ray(13, 3000.0)], [outside], []]))
    assert tokens.counts.tolist() == [0, 1, 0, 0]
    assert torch.isfinite(tokens.globals).all()
    nothing = DETECTOR.tokens(drawn([[], []]))
    assert len(nothing) == 2
    assert len(nothing.particle) == 0


def test_tokens_do_not_depend_on_batch_or_order(neutrinos):
    whole = DETECTOR.tokens(neutrinos)
    whole.check("whole")
    for rows in ([5], [3, 2], [15, 0, 7]):
        part = DETECTOR.tokens(neutrinos.take(torch.tensor(rows)))
        wanted = whole.take(rows)
        assert torch.equal(part.features, wanted.features)
        assert torch.equal(part.globals, wanted.globals)
        assert torch.equal(part.particle, wanted.particle)
        assert torch.equal(part.valid, wanted.valid)


def test_energy_in_the_tokens_is_no_more_than_the_strips_saw(neutrinos):
    recorded = DETECTOR.record(neutrinos)
    hits = torch.zeros(len(neutrinos), dtype=torch.float64).index_add_(0, recorded.hits.event, recorded.hits.energy)
    made = recorded.reconstruction.objects
    mass = torch.tensor([MASSES.get(name, 0.0) for name in KINDS], dtype=torch.float64)[made.kind]
    matched = torch.isin(made.event, made.event[made.kind == 0]) & (made.kind == 3)
    seen = torch.where((made.kind == 0) | matched, 0.0, made.momentum[:, 3] - mass)
    summed = torch.zeros(len(neutrinos), dtype=torch.float64).index_add_(0, made.event, seen)
    assert (summed <= hits * (1 + 1e-9)).all()
    assert float(summed.sum()) > 0.3 * float(hits.sum())


def test_a_michel_electron_is_counted_and_a_delta_ray_belongs_to_its_track(drawn, ray):
    stop = (115.3, 114.6, 130.0)
    events = [
        [ray(13, 250.0), ray(11, 30.0, start=stop, way=(0.7, 0.3, 1.0), length=12.0, semantic=2)],
        [ray(13, 3000.0), ray(11, 10.0, start=(115.3, 114.6, 115.0), way=(1, 0, 1), length=4.0, semantic=3)],
    ]
    deposits = drawn(events)
    deposits.particles.columns["primary"][1::2] = 0.0  # neither left the nucleus
    tokens = DETECTOR.tokens(deposits)
    assert tokens.globals[:, tokens.global_columns.index("n_michel")].tolist() == [1.0, 0.0]
    assert tokens.counts.tolist() == [2, 1]


def test_tokens_written_as_a_minerva_ml_file_read_back_as_they_are(neutrinos, tmp_path):
    tokens = DETECTOR.tokens(neutrinos)
    write_minerva_ml(tmp_path / "tokens.pb", tokens)
    again = read_tokens(tmp_path / "tokens.pb")
    assert torch.equal(again.features, tokens.features)
    assert torch.equal(again.globals, tokens.globals)
    assert torch.equal(again.valid, tokens.valid)
    for name in ("current", "available_energy", "n_pi_plus", "pion_E", "neutrino_over_muon_energy"):
        torch.testing.assert_close(again.events.truth[name], tokens.events.truth[name], equal_nan=True)


def test_the_truth_columns_of_the_format_fit_the_particles(neutrinos):
    truth = DETECTOR.tokens(neutrinos).events.truth
    single = (truth["current"] == 1) & (truth["n_pi_plus"] + truth["n_pi_minus"] == 1)
    assert torch.equal(torch.isfinite(truth["pion_E"]), single)
    assert single.any()
    square = truth["pion_E"] ** 2 - sum(truth[f"pion_{name}"] ** 2 for name in ("px", "py", "pz"))
    torch.testing.assert_close(square[single].sqrt(), torch.full_like(square[single], 139.57039), rtol=1e-6, atol=1e-3)
    assert torch.equal(truth["cc_pion_label_unusable"] == 2, (truth["current"] == 1) & (truth["n_pi_minus"] == 1))


@pytest.mark.parametrize("lacking", ["instance", "particles"])
def test_deposits_that_do_not_say_what_made_them_are_refused(drawn, ray, lacking):
    with pytest.raises(DataError, match=f"without '{lacking}'.*Read a file that says which"):
        DETECTOR.tokens(dataclasses.replace(drawn([[ray(13, 3000.0)]]), **{lacking: None}))


def test_events_without_a_vertex_are_refused(drawn, ray):
    deposits = drawn([[ray(13, 3000.0)]])
    table = dataclasses.replace(deposits.events, truth={"visible_energy": torch.zeros(1, dtype=torch.float64)})
    with pytest.raises(DataError, match="without truth vertex_x"):
        DETECTOR.tokens(dataclasses.replace(deposits, events=table))


def test_a_universe_of_an_unknown_nuisance_is_refused(drawn, ray):
    with pytest.raises(UnknownNameError, match="nuisance 'birks'"):
        DETECTOR.tokens(drawn([[ray(13, 3000.0)]]), Universe("up", (("birks", 1.0),)))


def test_the_detector_has_a_name_and_settings():
    assert isinstance(DETECTOR, ScintillatorDetector)
    with pytest.raises(UnknownNameError, match="Did you mean 'minerva_like'"):
        scintillator_detector("minerva_lik")
