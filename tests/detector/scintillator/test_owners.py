"""Visible particles: what belongs to which, from full parentage and from a table of primaries alone."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.detector.scintillator import scintillator_detector
from shiftlab.detector.scintillator.owners import owners
from shiftlab.errors import DataError
from shiftlab.events import ParticleTable


def family(drawn, ray, members, parents):
    """One event of rays with a column of parents (0 for primaries), numbers from 1."""
    deposits = drawn([members])
    columns = dict(deposits.particles.columns)
    columns["number"] = columns["number"] + 1
    columns["parent"] = torch.tensor(parents, dtype=torch.float64)
    columns["primary"] = (columns["parent"] == 0).double()
    table = ParticleTable(deposits.particles.offsets, columns)
    return dataclasses.replace(deposits, instance=deposits.instance + 1, particles=table)


def heads(deposits):
    """Number of the particle that heads the owner of each particle's deposits."""
    found, owner = owners(deposits)
    first = [int(torch.nonzero(deposits.instance == i)[0]) for i in deposits.instance.unique().tolist()]
    return [int(found.pdg[owner[row]]) for row in first], found, owner


def test_showers_deltas_and_soft_recoils_belong_to_what_made_them(drawn, ray):
    members = [
        ray(13, 3000.0),
        ray(11, 20.0, length=2.0, semantic=3),  # knocked on by the muon
        ray(22, 15.0, length=1.0, semantic=3),  # its bremsstrahlung
        ray(211, 300.0),
        ray(2212, 100.0, length=0.5),  # 5 MeV, of the pion
        ray(2212, 400.0, length=10.0),  # 82 MeV, of the pion: a particle of its own
    ]
    pdg, found, owner = heads(family(drawn, ray, members, [0, 1, 2, 0, 4, 4]))
    assert pdg == [13, 13, 13, 211, 211, 2212]
    assert len(owner.unique()) == 3
    assert found.track[owner].all()


def test_a_pions_photons_are_photons_and_a_nucleus_photon_is_not(drawn, ray):
    # A neutral pion without deposits heads the family of two photons; a neutron made the third.
    members = [
        ray(22, 100.0, length=5.0, semantic=0),
        ray(11, 60.0, length=3.0, semantic=0),
        ray(22, 8.0, length=2.0, semantic=4),
    ]
    deposits = family(drawn, ray, members, [4, 1, 5])
    extra = {"number": [4.0, 5.0], "parent": [0.0, 0.0], "pdg": [111.0, 2112.0], "primary": [1.0, 1.0]}
    columns = {
        name: torch.cat([column, torch.tensor(extra.get(name, [0.0, 0.0]), dtype=torch.float64)])
        for name, column in deposits.particles.columns.items()
    }
    table = ParticleTable(torch.tensor([0, 5]), columns)
    pdg, found, owner = heads(dataclasses.replace(deposits, particles=table))
    assert pdg == [22, 22, 22]
    photon = found.photon[owner]
    assert photon[deposits.instance == 1].all()
    assert photon[deposits.instance == 2].all()
    assert not photon[deposits.instance == 3].any()


def test_with_primaries_alone_a_delta_ray_goes_to_the_nearest_track(drawn, ray):
    members = [
        ray(13, 3000.0),
        ray(211, 300.0, start=(140.0, 114.6, 100.0)),
        ray(11, 10.0, start=(139.0, 114.6, 110.0), way=(-1, 0, 1), length=3.0, semantic=3),
    ]
    deposits = drawn([members])
    rows = {name: column[:2] for name, column in deposits.particles.columns.items()}
    deposits = dataclasses.replace(deposits, particles=ParticleTable(torch.tensor([0, 2]), rows))
    pdg, _, owner = heads(deposits)
    assert pdg == [13, 211, 211]
    assert len(owner.unique()) == 2


def test_deposits_of_unknown_particle_change_no_other(drawn, ray):
    members = [ray(13, 3000.0), ray(11, 40.0, start=(100.0, 90.0, 120.0), length=5.0, semantic=0)]
    deposits = drawn([members])
    blank = deposits.instance.clone()
    blank[-4:] = -1
    found, owner = owners(dataclasses.replace(deposits, instance=blank))
    known, before = owners(deposits)
    assert torch.equal(found.pdg[owner[:-4]], known.pdg[before[:-4]])
    assert len(owner[-4:].unique()) == 1
    assert owner[-1] not in owner[:-4]


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(4)))
def test_the_order_of_events_changes_no_family(drawn, ray, order):
    detector = scintillator_detector()
    events = [[ray(13, 1000.0 + 100 * i, start=(100.0 + 5 * i, 110.0, 50.0), length=40.0)] for i in range(4)]
    whole = drawn(events)
    tokens = detector.tokens(whole.take(torch.tensor(order)))
    assert torch.equal(tokens.features, detector.tokens(whole).take(order).features)


def test_a_table_without_momenta_is_refused(drawn, ray):
    deposits = drawn([[ray(13, 3000.0)]])
    columns = {name: column for name, column in deposits.particles.columns.items() if name != "momentum_z"}
    table = ParticleTable(deposits.particles.offsets, columns)
    with pytest.raises(DataError, match="no column 'momentum_z'"):
        owners(dataclasses.replace(deposits, particles=table))
