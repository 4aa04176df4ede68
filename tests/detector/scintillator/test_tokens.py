"""Tokens and globals: limits of the format, aggregates, and globals that follow every shift of the tokens."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.detector.scintillator import globals_of, remainder_of, scintillator_detector
from shiftlab.detector.scintillator.objects import Objects, Remainder, rank
from shiftlab.detector.scintillator.tokens import tokens_of
from shiftlab.events.deposits import EventTable
from shiftlab.events.minerva_ml.columns import COLUMNS, GLOBALS, MOST_TOKENS

NAN = float("nan")


def table(count):
    key = torch.arange(count)
    one = torch.ones(count, dtype=torch.float64)
    return EventTable(key, key, one, ("drawn",) * count, {"visible_energy": one}, torch.ones(count, dtype=torch.bool))


def objects(kinds, energies, events=None):
    """Objects with momenta along (1, 2, 2)/3, sorted by event."""
    kind, energy = torch.tensor(kinds, dtype=torch.int64), torch.tensor(energies, dtype=torch.float64)
    event = torch.zeros_like(kind) if events is None else torch.tensor(events)
    count = len(kind)
    placed = (kind != 0) & (kind != 1)
    way = torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64) / 3
    return Objects(
        event=event,
        kind=kind,
        momentum=torch.cat([energy[:, None] * way, energy[:, None]], dim=1),
        dedx=torch.where((kind == 0) | (kind == 2), NAN, 2.0 + 0.1 * torch.arange(count, dtype=torch.float64)),
        position=torch.where(placed[:, None], torch.tensor([100.0, -200.0, 7000.0], dtype=torch.float64), NAN),
        time=torch.full((count,), 3000.0, dtype=torch.float64),
    )


def remainder(events=1, **given):
    zero = torch.zeros(events, dtype=torch.float64)
    names = ("fuzz", "isolated", "recoil", "passive", "outer", "michels", "pions")
    return Remainder(**{name: given.get(name, zero) for name in names})


def test_columns_are_minerva_mls_formulas():
    tokens = tokens_of(objects([0, 1, 2, 4], [900.0, 300.0, 30.0, 200.0]), remainder(), table(1))
    cosine, across = 2 / 3, math.sqrt(5) / 3
    for row, energy in enumerate((900.0, 300.0, 30.0, 200.0)):
        eta, phi, log_pt, log_e = tokens.features[row, :4].tolist()
        assert eta == pytest.approx(math.atanh(cosine), rel=1e-5)
        assert phi == pytest.approx(math.atan2(2, 1), rel=1e-6)
        assert log_pt == pytest.approx(math.log(energy * across), rel=1e-6)
        assert log_e == pytest.approx(math.log(energy), rel=1e-6)
    np.testing.assert_allclose(tokens.column("z"), [0, 0, 0.7, 0.7], rtol=1e-6)
    np.testing.assert_allclose(tokens.column("t"), 0.3, rtol=1e-6)
    assert tokens.column("log_dEdx")[3] == pytest.approx(math.log(2.3 + 0.1), rel=1e-6)


def test_what_a_kind_does_not_have_is_zero_and_not_valid():
    tokens = tokens_of(objects([0, 1, 2, 5], [900.0, 300.0, 30.0, 200.0]), remainder(), table(1))
    dedx, place = COLUMNS.index("log_dEdx"), [COLUMNS.index(name) for name in "xyz"]
    assert tokens.valid[:, dedx].tolist() == [False, True, False, True]
    assert tokens.valid[:, place].all(dim=1).tolist() == [False, False, True, True]
    assert (tokens.features[~tokens.valid] == 0).all()
    assert tokens.valid[:, :4].all()


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 25), st.integers(0, 2), st.booleans(), st.integers(0, 2**31))
def test_no_event_has_more_tokens_than_the_format_and_no_energy_is_lost(blobs, prongs, photons, muon, seed):
    rng = np.random.default_rng(seed)
    kinds = [0] * muon + [1] * photons + [2] * blobs + list(rng.integers(3, 6, prongs))
    energies = list(rng.uniform(1.0, 500.0, len(kinds)))
    made = objects([int(k) for k in kinds], energies)
    tokens = tokens_of(made, remainder(), table(1))
    kind = tokens.particle
    assert len(kind) <= MOST_TOKENS
    assert int(torch.isin(kind, torch.tensor([2, 6])).sum()) == min(blobs, 20)
    assert int((kind == 6).sum()) == (blobs > 20)
    assert int((kind >= 3).sum()) - int((kind == 6).sum()) == min(prongs, 10)
    assert int((kind == 7).sum()) == (prongs > 10)
    assert float(tokens.column("log_E").double().exp().sum()) == pytest.approx(sum(energies), rel=1e-5, abs=1e-4)
    order = torch.where(kind == 6, 2, torch.where(kind == 7, 5, torch.where(kind >= 3, 4, kind)))
    assert (order.diff() >= 0).all()


def test_an_aggregate_sums_momenta_and_averages_the_rest():
    energies = [float(e) for e in range(100, 77, -1)]
    tokens = tokens_of(objects([2] * 23, energies), remainder(), table(1))
    assert tokens.particle.tolist() == [2] * 19 + [6]
    assert float(tokens.column("log_E")[-1].exp()) == pytest.approx(sum(energies[19:]), rel=1e-5)
    assert float(tokens.column("x")[-1]) == pytest.approx(0.01)


def test_globals_are_the_sums_of_the_tokens():
    made = objects([0, 1, 1, 2, 2, 3, 4, 4, 5], [2000.0, 90.0, 60.0, 5.0, 20.0, 2000.0, 250.0, 300.0, 1100.0])
    extra = torch.tensor([-1000.0], dtype=torch.float64)
    tokens = tokens_of(made, remainder(recoil=extra, passive=extra, michels=torch.ones(1)), table(1))
    value = dict(zip(GLOBALS, tokens.globals[0].tolist(), strict=True))
    recoil = 90 + 60 + 5 + 20 + 250 + 300 + 1100 - 1000
    assert value["log_hadron_recoil"] == pytest.approx(math.log(recoil), rel=1e-5)
    assert value["log_passive_recoil_inner"] == pytest.approx(math.log(recoil / 1e4 + 1e-3), rel=1e-5)
    assert value["log_E_blob"] == pytest.approx(math.log(25), rel=1e-4)
    assert value["log_E_prong_8"] == pytest.approx(math.log(550), rel=1e-4)
    assert value["log_E_prong_aggregate"] == pytest.approx(math.log(1e-3), rel=1e-4)
    assert (value["n_michel"], value["has_muon"], value["n_charged_pion_prongs"]) == (1, 1, 2)


def test_the_mass_of_two_photons_is_that_of_their_four_momenta():
    made = objects([1, 1], [100.0, 100.0])
    made.momentum[1, :3] = torch.tensor([100.0, 0.0, 0.0])
    mass = math.sqrt(200**2 - (100 / 3 + 100) ** 2 - 2 * (200 / 3) ** 2)
    tokens = tokens_of(made, remainder(), table(1))
    column = GLOBALS.index("photon_pair_mass")
    assert float(tokens.globals[0, column]) == pytest.approx(mass, rel=1e-5)
    assert bool(tokens.global_valid[0, column])
    alone = tokens_of(objects([1], [100.0]), remainder(), table(1))
    assert not bool(alone.global_valid[0, column])


def test_globals_come_back_from_the_tokens_of_any_event(neutrinos):
    tokens = scintillator_detector().tokens(neutrinos)
    again, known = globals_of(tokens.features, tokens.particle, tokens.event_index, remainder_of(tokens))
    torch.testing.assert_close(again, tokens.globals, rtol=1e-4, atol=2e-3)
    assert torch.equal(known, tokens.global_valid)


def test_a_shift_of_blob_energy_moves_the_globals_that_depend_on_it_and_no_other(neutrinos):
    tokens = scintillator_detector().tokens(neutrinos)
    shift = 0.2
    features = tokens.features.clone()
    blob = tokens.particle == 2
    features[blob, COLUMNS.index("log_E")] += math.log1p(shift)
    features[blob, COLUMNS.index("log_pT")] += math.log1p(shift)
    rest = remainder_of(tokens)
    moved, _ = globals_of(features, tokens.particle, tokens.event_index, rest)
    same, _ = globals_of(tokens.features, tokens.particle, tokens.event_index, rest)
    changed = {GLOBALS[i] for i in torch.nonzero((moved != same).any(dim=0)).flatten().tolist()}
    assert changed == {"log_hadron_recoil", "log_passive_recoil_inner", "log_passive_recoil", "log_E_blob"}
    energy = tokens.column("log_E").double().exp() * blob
    added = torch.zeros(len(tokens), dtype=torch.float64).index_add_(0, tokens.event_index, energy) * shift
    recoil = GLOBALS.index("log_hadron_recoil")
    difference = moved[:, recoil].double().exp() - same[:, recoil].double().exp()
    torch.testing.assert_close(difference, added, rtol=1e-3, atol=1e-2)


def test_rank_counts_down_within_each_event():
    event, value = torch.tensor([0, 1, 0, 1, 0]), torch.tensor([1.0, 5.0, 3.0, 6.0, 2.0])
    assert rank(event, value).tolist() == [2, 1, 0, 0, 1]
