"""A twin stands beside its nominal events by vertex; whatever is not a pair is refused, with counts and first ones."""

from dataclasses import replace
from pathlib import Path

import h5py
import pytest
import torch

from shiftlab.errors import DataError
from shiftlab.events import Deposits, ParticleTable, pair, read, read_pair

DATA = Path(__file__).parents[1] / "data"
FTFP, BIC = DATA / "geant4_numu_ftfpbert.h5", DATA / "geant4_numu_qgspbic.h5"


@pytest.fixture(scope="module")
def nominal() -> Deposits:
    return read(FTFP)


@pytest.fixture(scope="module")
def twin() -> Deposits:
    return read(BIC)


def changed(events: Deposits, **columns: torch.Tensor) -> Deposits:
    return replace(events, events=replace(events.events, **columns))


def with_truth(events: Deposits, **truth: torch.Tensor) -> Deposits:
    return changed(events, truth={**events.events.truth, **truth})


def test_two_geant4_files_of_the_same_vertices_are_a_pair(nominal):
    """Same keys, weights and samples; deposits and their summed energy are each model's own."""
    one, other = read_pair(FTFP, BIC)
    assert torch.equal(one.events.key, nominal.events.key)
    for name in ("key", "vertex", "weight", "selected"):
        assert torch.equal(getattr(one.events, name), getattr(other.events, name))
    assert one.events.sample == other.events.sample
    assert not torch.equal(one.offsets, other.offsets)
    assert torch.equal(one.events.truth["neutrino_energy"], other.events.truth["neutrino_energy"])
    energy = torch.zeros(len(other), dtype=torch.float64).index_add_(0, other.event_index, other.energy.double())
    torch.testing.assert_close(energy, other.events.truth["visible_energy"], rtol=1e-5, atol=1e-5)


def test_the_order_of_the_other_file_does_not_matter(nominal, twin):
    straight, turned = pair(nominal, twin)[1], pair(nominal, twin.take([1, 0]))[1]
    assert torch.equal(straight.position, turned.position)
    assert torch.equal(straight.events.key, turned.events.key)


def test_pairing_twice_changes_nothing(nominal, twin):
    once = pair(nominal, twin)[1]
    again = pair(nominal, once)[1]
    assert torch.equal(once.energy, again.energy)
    assert torch.equal(once.events.vertex, again.events.vertex)


def test_a_missing_vertex_is_counted_and_left_out_only_on_demand(nominal, twin):
    with pytest.raises(DataError, match=r"1 of 2 vertices of the nominal.*vertex_uid.*1 are common.*common=True"):
        pair(nominal, twin.take([1]))
    with pytest.raises(DataError, match="1 of 2 vertices of the other events"):
        pair(nominal.take([0]), twin)
    one, other = pair(nominal, twin.take([1]), common=True)
    assert one.events.vertex.tolist() == other.events.vertex.tolist() == nominal.events.vertex[1:].tolist()


def test_strangers_are_no_pair_even_on_demand(nominal, twin):
    with pytest.raises(DataError, match="no vertex_uid of the 2 nominal events"):
        pair(nominal, changed(twin, vertex=twin.events.vertex + 1), common=True)


def test_a_vertex_that_comes_twice_has_no_one_twin(nominal, twin):
    both = nominal.events.vertex[[0, 0]]
    with pytest.raises(DataError, match=r"1 of the 1 vertices of the nominal events come more than once.*\[0, 1\]"):
        pair(changed(nominal, vertex=both), twin)
    with pytest.raises(DataError, match="of the other events come more than once"):
        pair(nominal, changed(twin, vertex=both))


def test_other_neutrino_energies_are_refused(nominal, twin):
    energy = twin.events.truth["neutrino_energy"] * torch.tensor([1.0, 1.001], dtype=torch.float64)
    with pytest.raises(DataError, match=r"neutrino_energy differs between the two in 1 of 2 events.*event 1"):
        pair(nominal, with_truth(twin, neutrino_energy=energy))


def test_other_primaries_are_refused(nominal, twin):
    """The secondaries of two models differ; the primaries must not."""
    assert twin.particles is not None
    columns = dict(twin.particles.columns)
    first = int(torch.nonzero(columns["primary"] == 1)[0])
    columns["kinetic"] = columns["kinetic"].clone()
    columns["kinetic"][first] += 1.0
    with pytest.raises(DataError, match="kinetic of a primary differs"):
        pair(nominal, replace(twin, particles=ParticleTable(twin.particles.offsets, columns)))
    columns["primary"] = columns["primary"].clone()
    columns["primary"][first] = 0.0
    with pytest.raises(DataError, match="number of primaries differs"):
        pair(nominal, replace(twin, particles=ParticleTable(twin.particles.offsets, columns)))


def test_an_event_that_was_placed_elsewhere_is_no_twin(nominal, twin):
    """Less than a cell is the resolution of a placement; more is another place in the detector."""
    near = twin.events.truth["vertex_x"] + torch.tensor([0.2, 0.0], dtype=torch.float64)
    assert len(pair(nominal, with_truth(twin, vertex_x=near))[0]) == 2
    far = with_truth(twin, vertex_x=near + 0.2)
    with pytest.raises(DataError, match=r"place \(by more than 0.3 cm\) differs.*1 of 2"):
        pair(nominal, far)
    one, other = pair(nominal, far, common=True)
    assert one.events.key.tolist() == other.events.key.tolist() == nominal.events.key[1:].tolist()


def test_a_difference_in_detail_is_no_difference_of_models(nominal, twin):
    with pytest.raises(DataError, match="look like one of models"):
        pair(nominal, replace(twin, electrons=torch.ones_like(twin.energy)))
    with pytest.raises(DataError, match="look like one of models"):
        pair(nominal, replace(twin, missing=("electrons", "length")))


def test_files_of_two_media_are_refused(tmp_path):
    path = tmp_path / "water.h5"
    path.write_bytes(BIC.read_bytes())
    with h5py.File(path, "a") as file:
        file.attrs["material"] = "G4_WATER, 6 m cube"
    with pytest.raises(DataError, match=r"G4_lAr.*G4_WATER"):
        read_pair(FTFP, path)


def test_files_are_named_where_they_are_no_pair():
    with pytest.raises(DataError, match=r"numu_ftfpbert.h5 and .*singles.h5.*no vertex_uid"):
        read_pair(FTFP, DATA / "geant4_singles.h5")
