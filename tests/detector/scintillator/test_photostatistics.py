"""Light and photoelectrons against independent formulas: Birks, Poisson, attenuation, conservation on average."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shiftlab.detector import Stream
from shiftlab.detector.scintillator import Response, StripGeometry
from shiftlab.detector.scintillator.photostatistics import calibrate, collect, count, illuminate, poisson, quench

STACK, RESPONSE = StripGeometry(), Response()
GAMMA, ELECTRON, MUON, PION, PROTON, OTHER = range(6)


def hits_of(deposits, response=RESPONSE, seed=1):
    light = illuminate(deposits, torch.zeros(len(deposits.energy), dtype=torch.int64), STACK, response)
    return calibrate(count(collect(light, deposits.events.key, STACK), response, Stream(seed, "test")), response)


def test_quenching_is_birks_law_on_the_scale_of_a_minimum_ionising_particle():
    # By hand: kB 0.0905 mm/MeV; at 2.052 MeV/cm 1.018571, at 20 MeV/cm 1.181, at 100 MeV/cm 1.905.
    energy, length = torch.tensor([2.052, 20.0, 3.0, 3.0]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    particle = torch.tensor([MUON, PROTON, OTHER, ELECTRON], dtype=torch.int8)
    seen = quench(energy, length, particle, RESPONSE)
    np.testing.assert_allclose(seen, [2.052, 20 * 1.0185706 / 1.181, 3 * 1.0185706 / 1.905, 3.0], rtol=1e-6)


@given(st.floats(0.01, 100.0), st.floats(0.001, 1.0))
def test_quenching_can_be_turned_back(energy, length):
    # E = S / (c - kB S / dx), the inverse of S = c E / (1 + kB E / dx), c the factor of the MIP.
    seen = float(
        quench(*(torch.tensor([x], dtype=torch.float64) for x in (energy, length)), torch.tensor([4]), RESPONSE)
    )
    whole = 1 + RESPONSE.birks * RESPONSE.mip_dedx
    assert seen / (whole - RESPONSE.birks * seen / length) == pytest.approx(energy, rel=1e-9)
    assert seen <= energy * whole


def test_without_birks_constant_energy_is_seen_whole():
    energy, length = torch.rand(50) + 0.1, torch.rand(50)
    plain = dataclasses.replace(RESPONSE, birks=0.0)
    torch.testing.assert_close(quench(energy, length, torch.full((50,), PROTON), plain), energy.double())


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 3000.0), st.floats(0.0, 1.0, exclude_max=True)), min_size=1, max_size=40))
def test_poisson_draws_are_those_of_scipys_inverse(pairs):
    mean, uniform = (torch.tensor(column, dtype=torch.float64) for column in zip(*pairs, strict=True))
    found = poisson(mean, uniform).numpy()
    below = stats.poisson.cdf(found - 1, mean.numpy())
    upto = stats.poisson.cdf(found, mean.numpy())
    # The smallest k with P(N <= k) > u, up to the rounding of two implementations of the same integral.
    assert (below <= uniform.numpy() + 1e-9).all()
    assert (upto >= uniform.numpy() - 1e-9).all()


def test_poisson_draws_have_mean_and_variance_of_their_law():
    for mean in (0.3, 5.0, 80.0, 900.0):
        drawn = poisson(
            torch.full((20000,), mean, dtype=torch.float64), torch.rand(20000, dtype=torch.float64)
        ).double()
        assert float(drawn.mean()) == pytest.approx(mean, abs=5 * (mean / 20000) ** 0.5)
        assert float(drawn.var()) == pytest.approx(mean, rel=0.1)


def test_photoelectrons_give_the_quenched_energy_back_on_average(drawn, ray):
    events = drawn(
        [[ray(13, 3000.0, start=(90.0, 130.0, 50.0 + i), way=(0.3, 0.1, 1.0), length=200.0)] for i in range(40)]
    )
    every = dataclasses.replace(RESPONSE, threshold=1)
    hits = hits_of(events, every)
    inside = STACK.inside(events.position)
    true = quench(events.energy[inside], events.length[inside], events.particle[inside], RESPONSE).sum()
    # A strip's energy is N / (yield x attenuation): relative error 1/sqrt(N) of all photoelectrons together.
    assert float(hits.energy.sum() / true) == pytest.approx(1.0, abs=5 / float(hits.count.sum()) ** 0.5)


def test_a_minimum_ionising_muon_gives_the_stated_yield_in_the_middle_of_a_strip(drawn, ray):
    # Along z through the axis: 2.052 MeV/cm x 1.7 cm x 6.5 photoelectrons per MeV = 22.7 in a plane.
    events = drawn([[ray(13, 3000.0, start=(115.0, 115.0, 20.4), length=170.0)] for _ in range(30)])
    light = illuminate(events, torch.zeros(len(events.energy), dtype=torch.int64), STACK, RESPONSE)
    hits = count(collect(light, events.events.key, STACK), RESPONSE, Stream(3, "test"))
    planes = 100 * 30
    assert float(hits.expected.sum()) / planes == pytest.approx(22.67, rel=1e-3)
    assert float(hits.count.sum()) / planes == pytest.approx(22.67, abs=5 * (22.67 / planes) ** 0.5)


def test_light_falls_off_along_the_strip_and_calibration_gives_it_back(drawn, ray):
    near = drawn([[ray(13, 3000.0, start=(115.0, y, 101.8), length=1.75, way=(0, 1, 0))] for y in (60.0, 165.0)])
    light = illuminate(near, torch.zeros(len(near.energy), dtype=torch.int64), STACK, RESPONSE)
    amount = torch.zeros(2, dtype=torch.float64).index_add_(0, light.event, light.photoelectrons)
    assert STACK.views[int(near.position[0, 2] // 1.7) % 4] == "X"
    assert float(amount[1] / amount[0]) == pytest.approx(np.exp(105.0 / 350.0), rel=1e-6)
    hits = collect(light, near.events.key, STACK)
    exact = dataclasses.replace(hits, count=hits.expected)
    energy = torch.zeros(2, dtype=torch.float64).index_add_(0, exact.event, calibrate(exact, RESPONSE).energy)
    np.testing.assert_allclose(energy, 2.052 * 1.75, rtol=1e-4)


def test_draws_belong_to_event_and_channel_not_to_batch_or_order(drawn, ray):
    rays = [[ray(13, 2000.0, start=(100.0 + i, 110.0, 60.0), length=40.0)] for i in range(6)]
    events = drawn(rays)
    whole = hits_of(events)
    order = torch.randperm(len(events.energy), generator=torch.Generator().manual_seed(0))
    order = order[torch.argsort(events.event_index[order], stable=True)]
    shuffled = dataclasses.replace(
        events, position=events.position[order], energy=events.energy[order], length=events.length[order]
    )
    mixed = hits_of(shuffled)
    assert torch.equal(mixed.count, whole.count)
    assert torch.equal(mixed.energy, whole.energy)
    for event in (4, 1):
        alone = hits_of(events.take(torch.tensor([event])))
        assert torch.equal(alone.energy, whole.energy[whole.event == event])
    assert not torch.equal(hits_of(events, seed=2).count, whole.count)


def test_a_hit_belongs_to_the_particle_with_most_light_and_below_threshold_there_is_none(drawn, ray):
    events = drawn([[ray(13, 2000.0, length=3.0), ray(2212, 500.0, length=3.0, dedx=8.0)]])
    owner = events.instance.long()
    light = illuminate(events, owner, STACK, RESPONSE)
    hits = count(collect(light, events.events.key, STACK), RESPONSE, Stream(1, "test"))
    assert (hits.owner == 1).all()
    faint = drawn([[ray(13, 2000.0, length=0.25, dedx=0.01)]])
    assert len(hits_of(faint)) == 0
