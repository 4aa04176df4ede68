"""A voxel's neighbours are the occupied cells around it, whatever becomes of the other voxels."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.arms.bodies.voxel_transformer import VoxelTransformer
from shiftlab.arms.contract import InputContract
from shiftlab.arms.neighbours import AROUND, Neighbours, NeighbourSum, neighbours
from shiftlab.arms.patches import group
from shiftlab.arms.training.networks import seeded
from shiftlab.events import EventTable, Image

SHAPE = (5, 6, 4)
CELLS = SHAPE[0] * SHAPE[1] * SHAPE[2]


def image_of(events: list[list[int]]) -> Image:
    """Events with the given cells of a small lattice, the corners and edges among them."""
    cells = [sorted(set(event)) for event in events]
    offsets = torch.tensor([0, *(len(event) for event in cells)]).cumsum(0)
    cell = torch.tensor([one for event in cells for one in event], dtype=torch.int64)
    energy = torch.linspace(0.3, 2.0, max(len(cell), 1))[: len(cell)]
    number = torch.arange(len(events))
    table = EventTable(
        number, number, torch.ones(len(events), dtype=torch.float64), ("x",) * len(events), {}, number >= 0
    )
    return Image(offsets, cell, energy, energy, SHAPE, table)


def by_search(image: Image, mirror: bool) -> list[list[tuple[int, int]]]:
    """The same table, found by looking every cell up."""
    index = image.index
    if mirror:
        index[:, 1] = SHAPE[1] - 1 - index[:, 1]
    where = [(e, *i) for e, i in zip(image.event_index.tolist(), index.tolist(), strict=True)]
    row = {place: number for number, place in enumerate(where)}
    table = []
    for number, (event, x, y, z) in enumerate(where):
        around = [(x + dx, y + dy, z + dz) for dx in (-1, 0, 1) for dy in (-1, 0, 1) for dz in (-1, 0, 1)]
        table.append([(p, row[(event, *place)] - number) for p, place in enumerate(around) if (event, *place) in row])
    return table


def as_lists(near: Neighbours) -> list[list[tuple[int, int]]]:
    """Place and distance in rows of the neighbours of each voxel."""
    ends = near.offsets.tolist()
    pairs = list(zip(near.place.tolist(), near.apart.tolist(), strict=True))
    return [pairs[a:b] for a, b in pairwise(ends)]


events = st.lists(st.lists(st.integers(0, CELLS - 1), max_size=40), min_size=1, max_size=4)


@settings(deadline=None, max_examples=40)
@given(events, st.booleans())
def test_neighbours_are_the_occupied_cells_around_a_voxel(cells, mirror):
    image = image_of(cells)
    assert as_lists(neighbours(image, mirror=mirror)) == by_search(image, mirror)


@settings(deadline=None, max_examples=30)
@given(events, st.randoms())
def test_voxels_that_are_hidden_are_nobodys_neighbours(cells, chance):
    image = image_of(cells)
    kept = torch.tensor([chance.random() < 0.6 for _ in range(len(image.cell))], dtype=torch.bool)
    rows = torch.nonzero(kept).squeeze(1)
    assert as_lists(neighbours(image).take(rows)) == as_lists(neighbours(image.keep(kept)))


@settings(deadline=None, max_examples=30)
@given(events)
def test_the_sum_over_neighbours_is_the_product_with_their_matrix_and_so_is_its_gradient(cells):
    image = image_of(cells)
    voxels = len(image.cell)
    around = neighbours(image)
    matrix = torch.zeros(voxels, voxels, dtype=torch.float64)
    for one in range(voxels):
        matrix[one, around.row[around.owner == one]] = 1.0
    features = torch.randn(voxels, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(voxels, 3, dtype=torch.float64)
    total = around.sum(features)
    torch.testing.assert_close(total, matrix @ features)
    (total * weight).sum().backward()
    torch.testing.assert_close(features.grad, matrix.T @ weight)
    assert torch.equal(matrix, matrix.T)


def test_the_analytic_gradient_of_the_neighbour_sum_is_the_numeric_one():
    around = neighbours(image_of([[0, 1, 4, 25, 26, 60], [3]]))
    features = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: NeighbourSum.apply(x, around.row, around.offsets[:-1]), (features,))


def test_features_are_occupancy_and_energy_at_each_place():
    image = image_of([[0, 1]])
    value = torch.tensor([2.0, 3.0])
    features = (neighbours(image)).features(value)
    middle = AROUND // 2
    assert features[0, :AROUND].nonzero().flatten().tolist() == [middle, middle + 1]
    assert features[0, AROUND + middle].item() == 2.0
    assert features[0, AROUND + middle + 1].item() == 3.0
    assert features[1, AROUND + middle - 1].item() == 2.0


@pytest.fixture(scope="module")
def body() -> VoxelTransformer:
    with seeded(3):
        return VoxelTransformer.fresh("tiny", InputContract()).eval()


def test_an_events_features_do_not_depend_on_its_company_or_order(body, view):
    image, _ = view
    filled = torch.nonzero(image.offsets.diff() > 0).squeeze(1)
    patches = group(image.take(filled), body.contract)
    with torch.inference_mode():
        together = body(patches)
        order = torch.randperm(len(filled), generator=torch.Generator().manual_seed(0))
        mixed = body(patches.take(order))
        for place, event in enumerate(order.tolist()):
            alone = body(group(image.take(filled[event : event + 1]), body.contract))
            a, b = int(mixed.offsets[place]), int(mixed.offsets[place + 1])
            torch.testing.assert_close(mixed.tokens[a:b], alone.tokens, rtol=1e-4, atol=1e-4)
            a, b = int(together.voxel_offsets[event]), int(together.voxel_offsets[event + 1])
            torch.testing.assert_close(together.voxels[a:b], alone.voxels, rtol=1e-4, atol=1e-4)


def test_what_is_hidden_does_not_reach_the_rest(body, view):
    image, _ = view
    filled = torch.nonzero(image.offsets.diff() > 0).squeeze(1)
    patches = group(image.take(filled), body.contract)
    hidden = torch.rand(len(patches.position), generator=torch.Generator().manual_seed(1)) < 0.5
    brighter = replace(patches, value=patches.value + 5.0 * hidden[patches.voxel_patch])
    with torch.inference_mode():
        (stem, layers), (other, others) = (body.layers(one.keep(~hidden)) for one in (patches, brighter))
    assert torch.equal(stem, other)
    assert torch.equal(layers[-1], others[-1])
    assert len(stem) > 0
