"""Truth cells: midpoints, summed energy, the class with most of it, and what an image lost."""

import torch

from shiftlab.detector.geometry import Geometry
from shiftlab.events import Deposits, EventTable, Image
from shiftlab.tasks import match, voxel_truth
from shiftlab.tasks.voxel_truth import NONE

GEOMETRY = Geometry()


def deposits(rows, events=1):
    """Rows of (event, x, y, z, energy, semantic), events ascending."""
    columns = torch.tensor(rows, dtype=torch.float64).reshape(-1, 6)
    owner = columns[:, 0].long()
    offsets = torch.zeros(events + 1, dtype=torch.int64)
    offsets[1:] = torch.bincount(owner, minlength=events).cumsum(0)
    table = EventTable(
        torch.arange(events),
        torch.arange(events),
        torch.ones(events, dtype=torch.float64),
        ("numu_cc",) * events,
        {},
        torch.ones(events, dtype=torch.bool),
    )
    semantic = columns[:, 5].to(torch.int8)
    return Deposits(
        offsets, columns[:, 1:4].float(), columns[:, 4].float(), torch.zeros(len(columns)), semantic, semantic, table
    )


def image(cells, table):
    offsets = torch.zeros(len(cells) + 1, dtype=torch.int64)
    offsets[1:] = torch.tensor([len(c) for c in cells]).cumsum(0)
    cell = torch.tensor([value for c in cells for value in c], dtype=torch.int64)
    ones = torch.ones(len(cell))
    return Image(offsets, cell, ones, ones, GEOMETRY.shape, table)


def test_the_class_with_most_energy_names_the_cell_and_energies_add():
    truth = voxel_truth(deposits([(0, 1, 1, 1, 0.4, 0), (0, 1.01, 1, 1, 0.3, 1), (0, 1.02, 1, 1, 0.2, 1)]), GEOMETRY)
    assert truth.semantic.tolist() == [1]
    torch.testing.assert_close(truth.energy, torch.tensor([0.9]))
    assert truth.cell.tolist() == [(3 * 768 + 3) * 768 + 3]


def test_outside_and_unknown_deposits_are_left_out_and_empty_events_keep_their_place():
    rows = [(0, -1, 1, 1, 1.0, 1), (0, 5, 5, 5, 1.0, -1), (2, 9, 9, 9, 1.0, 2), (2, 3, 3, 3, 1.0, 0)]
    truth = voxel_truth(deposits(rows, events=3), GEOMETRY)
    assert truth.offsets.tolist() == [0, 0, 0, 2]
    assert truth.cell.diff().tolist()[0] > 0
    assert truth.take(torch.tensor([2, 0])).offsets.tolist() == [0, 2, 2]


def test_a_vanished_cell_is_lost_and_a_cell_without_deposit_is_none():
    events = deposits([(0, 1, 1, 1, 1.0, 1), (0, 2, 2, 2, 1.0, 0), (1, 1, 1, 1, 1.0, 3)], events=2)
    truth = voxel_truth(events, GEOMETRY)
    track = int(GEOMETRY.cell(torch.tensor([[1.0, 1, 1]])))
    matched = match(image([[track - 1, track], []], events.events), truth)
    assert matched.label.tolist() == [NONE, 1]
    assert matched.lost.tolist() == [[1, 0, 0, 0, 0], [0, 0, 0, 1, 0]]


def test_cells_below_the_cut_are_not_asked_for():
    events = deposits([(0, 1, 1, 1, 0.129, 4)])
    truth = voxel_truth(events, GEOMETRY)
    matched = match(image([[int(truth.cell[0])]], events.events), truth)
    assert matched.label.tolist() == [NONE]
    assert int(matched.lost.sum()) == 0
    assert match(image([[]], events.events), truth, threshold=0.1).lost.tolist() == [[0, 0, 0, 0, 1]]


def test_the_same_cell_in_another_event_does_not_match():
    events = deposits([(0, 1, 1, 1, 1.0, 1), (1, 2, 2, 2, 1.0, 1)], events=2)
    truth = voxel_truth(events, GEOMETRY)
    swapped = image([[int(truth.cell[1])], [int(truth.cell[0])]], events.events)
    assert match(swapped, truth).label.tolist() == [NONE, NONE]
