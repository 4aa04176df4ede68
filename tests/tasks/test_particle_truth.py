"""Which deposits are one particle: against the labels' own rule, and on a real PILArNet event."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from shiftlab.detector.geometry import Geometry
from shiftlab.errors import DataError
from shiftlab.events import Deposits, read
from shiftlab.events.tracks import Tracks, label_tracks
from shiftlab.tasks import match, named_tasks, voxel_truth
from shiftlab.tasks.particle_truth import BACKGROUND, LEAST_CELLS, VOID, particle_numbers
from shiftlab.units import SEMANTIC

DATA = Path(__file__).parents[1] / "data"
GEOMETRY = Geometry()


def centred(deposits: Deposits) -> Deposits:
    """The same deposits about the middle of the detector."""
    position = deposits.position - deposits.position.mean(dim=0) + 115.2
    return replace(deposits, position=position)


@pytest.fixture(scope="module")
def singles() -> Deposits:
    return read(DATA / "geant4_singles.h5")


@pytest.mark.parametrize("name", ["geant4_singles.h5", "geant4_numu_ftfpbert.h5"])
def test_particles_are_the_owners_of_the_labels(name):
    """The rule from the table of particles finds what the rule from all trajectories and processes finds."""
    deposits = read(DATA / name)
    with h5py.File(DATA / name) as file:
        table = file["trajectories"][:]
        numbers = file["vertices"][:]["event_id"]
    tracks = Tracks(
        event=np.searchsorted(numbers, table["event_id"]),
        number=table["traj_id"].astype(np.int64),
        parent=table["parent_id"].astype(np.int64),
        pdg=table["pdg_id"].astype(np.int64),
        creator=table["creator"],
        kinetic=table["KE_start"].astype(np.float64),
    )
    owner = label_tracks(tracks).owner
    row = tracks.rows(deposits.event_index.numpy(), deposits.instance.long().numpy())
    np.testing.assert_array_equal(particle_numbers(deposits).numpy(), tracks.number[owner[row]])


def test_a_shower_is_one_particle_and_keeps_its_energy(singles):
    rows = torch.nonzero(torch.tensor([name == "single_electron" for name in singles.events.sample])).squeeze(1)
    shower = singles.take(rows)
    number = particle_numbers(shower)
    assert len(torch.unique(shower.instance)) > 100  # the file tells every secondary apart
    share = float(shower.energy[number == 1].sum() / shower.energy.sum())
    assert share > 0.9


def test_a_michel_electron_is_a_particle_of_its_own(singles):
    michel = singles.semantic == SEMANTIC.index("michel")
    assert bool(michel.any())
    number, event = particle_numbers(singles), singles.event_index
    owners = set(zip(event[michel].tolist(), number[michel].tolist(), strict=True))
    tracks = singles.semantic == SEMANTIC.index("track")
    assert not owners & set(zip(event[tracks].tolist(), number[tracks].tolist(), strict=True))


def test_particles_of_a_pilarnet_event_are_its_groups():
    deposits = read(DATA / "pilarnet_event.h5")
    torch.testing.assert_close(particle_numbers(deposits), deposits.instance.long())
    truth = voxel_truth(deposits, GEOMETRY, particles=True)
    matched = match(_seen(deposits), truth)
    owner, particles = matched.particle_truth()
    # Ten groups, all of at least twelve voxels; the low-energy cluster is the background.
    assert len(particles.kind) == 10
    assert sorted(particles.kind.tolist()) == [1] * 5 + [2] * 4 + [4]
    assert particles.cells.sum() + (owner == BACKGROUND).sum() + (owner == VOID).sum() == len(owner)
    assert (owner == BACKGROUND).sum() == 34


def test_every_cell_above_the_cut_is_asked_for_once(singles):
    deposits = centred(singles)
    truth = voxel_truth(deposits, GEOMETRY, particles=True)
    plain = voxel_truth(deposits, GEOMETRY)
    assert torch.equal(truth.cell, plain.cell)
    assert torch.equal(truth.semantic, plain.semantic)
    low = truth.semantic == SEMANTIC.index("low_energy")
    assert torch.equal(low, truth.instance == BACKGROUND)
    _, particles = match(_seen(deposits), truth).particle_truth()
    big = (truth.instance >= 0) & (truth.energy >= 0.13)
    assert int(particles.cells.min()) >= LEAST_CELLS
    assert int(particles.cells.sum()) <= int(big.sum())
    assert len(particles) == len(deposits)
    # The first particle of each event is its primary: gamma-ray events begin with the photon that made the shower.
    first = particles.kind[particles.offsets[:-1]]
    wanted = {"single_electron": 1, "single_gamma": 0, "single_muon": 2, "single_pion": 3, "single_proton": 4}
    assert first.tolist() == [wanted[name] for name in deposits.events.sample]


def test_truth_can_be_cut_and_put_together_again(singles):
    truth = voxel_truth(centred(singles), GEOMETRY, particles=True)
    order = torch.tensor([4, 0])
    cut = truth.take(order)
    parts = [truth.instance[truth.offsets[i] : truth.offsets[i + 1]] for i in order]
    assert torch.equal(cut.instance, torch.cat(parts))
    assert torch.equal(cut.to("cpu").particle, cut.particle)


def test_events_that_do_not_say_which_particle_made_a_deposit_are_refused():
    deposits = read(DATA / "shiftlab_sample_1.h5")
    assert deposits.instance is None
    for name in ("particles", "particle_id"):
        (task,) = named_tasks([name])
        with pytest.raises(DataError, match="have no 'instance', the particle that made each of them"):
            task.with_truth(deposits)
    unlabelled = read(DATA / "edepsim_mixed.h5")
    with pytest.raises(DataError, match="needs the class of deposits"):
        named_tasks(["particles"])[0].with_truth(unlabelled)
    with pytest.raises(DataError, match="needs the kind of particles"):
        named_tasks(["particle_id"])[0].with_truth(replace(unlabelled, particle=-torch.ones_like(unlabelled.particle)))
    with pytest.raises(DataError, match="came without them"):
        match(_seen(deposits), voxel_truth(deposits, GEOMETRY)).particle_truth()


def _seen(deposits: Deposits):
    """The image of a perfect read-out: every cell that holds a deposit of known class."""
    from shiftlab.events import Image

    truth = voxel_truth(deposits, GEOMETRY)
    ones = torch.ones(len(truth.cell))
    return Image(truth.offsets, truth.cell, ones, truth.energy, GEOMETRY.shape, deposits.events)
