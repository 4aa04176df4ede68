"""Patches partition the voxels of each event on a grid that is fixed in the detector frame."""

import pytest
import torch

from shiftlab.arms.contract import InputContract
from shiftlab.arms.patches import group

CONTRACT = InputContract()


def test_every_voxel_is_in_exactly_one_patch_of_its_own_event(view):
    image, _ = view
    patches = group(image, CONTRACT)
    assert torch.equal(patches.order.sort().values, torch.arange(len(image.cell)))
    owner = patches.patch_event[patches.voxel_patch]
    assert torch.equal(owner, image.event_index[patches.order])
    assert patches.lengths[3] == patches.lengths[11] == 0


def test_a_patch_is_a_cube_of_the_detector_frame(view):
    image, _ = view
    patches = group(image, CONTRACT)
    edge = CONTRACT.patch * CONTRACT.pitch
    corner = patches.position / edge - 0.5
    torch.testing.assert_close(corner, corner.round(), atol=1e-3, rtol=0.0)
    away = (image.index[patches.order] + 0.5) * CONTRACT.pitch - patches.position[patches.voxel_patch]
    assert float(away.abs().max()) < edge / 2


def test_energy_and_count_of_patches_add_up_to_the_event(view):
    image, _ = view
    patches = group(image, CONTRACT)
    energy = torch.exp(patches.summary[:, 0].double()) * CONTRACT.energy_reference
    total = torch.zeros(len(image), dtype=torch.float64).index_add_(0, patches.patch_event, energy)
    torch.testing.assert_close(total.float(), patches.summed_energy, rtol=1e-4, atol=1e-4)
    counts = torch.exp(patches.summary[:, 1]).round().long()
    assert torch.equal(counts, patches.voxel_offsets.diff())


@pytest.mark.parametrize("shift", [(0, 0, 0), (5, 0, 15)])
@pytest.mark.parametrize("mirror", [False, True])
def test_moving_the_grid_keeps_voxels_and_energy(view, shift, mirror):
    image, _ = view
    plain, moved = group(image, CONTRACT), group(image, CONTRACT, shift=shift, mirror=mirror)
    torch.testing.assert_close(moved.summed_energy, plain.summed_energy)
    assert len(moved.order) == len(plain.order)
    place = (image.index[moved.order] + 0.5) * CONTRACT.pitch
    if mirror:
        place[:, 1] = 230.4 - place[:, 1]
    away = place - moved.position[moved.voxel_patch]
    assert float(away.abs().max()) < CONTRACT.patch * CONTRACT.pitch / 2


def test_taking_events_is_grouping_the_taken_images(view):
    image, _ = view
    index = torch.tensor([7, 3, 0])
    taken, direct = group(image, CONTRACT).take(index), group(image.take(index), CONTRACT)
    for name in ("offsets", "voxel_offsets", "position", "local", "value"):
        assert torch.equal(getattr(taken, name), getattr(direct, name))
    torch.testing.assert_close(taken.overall, direct.overall)


def test_views_between_events_are_what_taking_them_gives(view):
    patches = group(view[0], CONTRACT)
    seen, taken = patches.between(4, 9), patches.take(torch.arange(4, 9))
    for name in ("offsets", "voxel_offsets", "position", "summary", "local", "value", "order"):
        assert torch.equal(getattr(seen, name), getattr(taken, name))


def test_keeping_some_patches_keeps_their_voxels(view):
    patches = group(view[0], CONTRACT)
    mask = torch.arange(len(patches.position)) % 3 == 0
    kept = patches.keep(mask)
    assert torch.equal(kept.order, patches.order[mask[patches.voxel_patch]])
    assert int(kept.offsets[-1]) == int(mask.sum())


def test_chunks_without_any_voxel_are_legal(view):
    patches = group(view[0].take([3, 11]), CONTRACT)
    assert patches.lengths.tolist() == [0, 0]
    assert torch.isfinite(patches.overall).all()
