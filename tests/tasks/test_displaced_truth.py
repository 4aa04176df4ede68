"""Labels of voxels follow the charge: where a read-out takes it elsewhere, its class goes along or counts as missed."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from shiftlab.detector import NOMINAL, Charge, Detector, Effect, Geometry, Parameter, Universe
from shiftlab.events import Deposits, EventTable
from shiftlab.tasks import match, named_tasks, truth_in, voxel_truth
from shiftlab.tasks.voxel_truth import NONE

GEOMETRY = Geometry(size=(48.0, 48.0, 48.0))


class Shift(Effect[Charge]):
    """A rigid displacement along y."""

    name: ClassVar[str] = "test_shift"
    stage: ClassVar[str] = "displace"
    needs: ClassVar[tuple[str, ...]] = ("position",)
    changes: ClassVar[tuple[str, ...]] = ("position",)
    parameters = (Parameter("y", 0.0, 0.3, "cm", (-500.0, 500.0), identity=0.0, source="test", doc="Shift."),)

    def apply(self, events, values, stream):
        """Move every deposit by ``y``."""
        from dataclasses import replace

        move = torch.zeros(3, dtype=torch.float32)
        move[1] = float(values["y"])
        return replace(events, position=events.position + move)


def universe(sigma: float) -> Universe:
    return Universe("shifted", (("test_shift_y", sigma),))


@pytest.fixture(scope="module")
def deposits() -> Deposits:
    """Two events of deposits at the centres of cells, of all classes, none near the face towards which they move."""
    draw = torch.Generator().manual_seed(3)
    n = 400
    cell = torch.randint(5, 150, (n, 3), generator=draw)
    table = EventTable(
        torch.tensor([5, 6]),
        torch.tensor([5, 6]),
        torch.ones(2, dtype=torch.float64),
        ("numu_cc", "numu_cc"),
        {"visible_energy": torch.zeros(2, dtype=torch.float64)},
        torch.ones(2, dtype=torch.bool),
    )
    return Deposits(
        torch.tensor([0, 150, n]),
        ((cell.double() + 0.5) * GEOMETRY.pitch).float(),
        0.2 + torch.rand(n, generator=draw),
        torch.full((n,), 0.3),
        torch.randint(0, 5, (n,), generator=draw).to(torch.int8),
        torch.zeros(n, dtype=torch.int8),
        table,
    )


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector("moved", GEOMETRY, (Shift(),))


def counts(detector: Detector, deposits: Deposits, where: Universe) -> torch.Tensor:
    """Confusion counts of a segmentation that calls everything by its label (none: shower)."""
    prepared = detector.prepare(deposits)
    image = detector.image(prepared, where)
    matched = match(image, truth_in(detector, prepared, where))
    (task,) = named_tasks(["segmentation"])
    called = torch.where(matched.label == NONE, 0, matched.label)
    return task.count(called, torch.ones(len(called)), image.energy, image.event_index, matched)


def test_a_translation_by_one_cell_changes_no_count(detector, deposits):
    """Without noise and dead channels all cells are alike: a rigid shift by the pitch leaves every count."""
    assert detector.moves(universe(1.0))
    still, moved = (counts(detector, deposits, where) for where in (NOMINAL, universe(1.0)))
    assert torch.equal(still[:, :36], moved[:, :36])
    torch.testing.assert_close(still[:, 36:], moved[:, 36:], rtol=1e-4, atol=1e-2)
    assert int(still[:, :30].sum()) > 300


def test_labels_that_stay_behind_would_be_lost(detector, deposits):
    """The test above can fail: nominal labels on the moved image miss most cells."""
    prepared = detector.prepare(deposits)
    image = detector.image(prepared, universe(1.0))
    behind = match(image, truth_in(detector, prepared, NOMINAL)).lost.sum()
    along = match(image, truth_in(detector, prepared, universe(1.0))).lost.sum()
    assert int(behind) > 100 + int(along)


def test_what_is_read_out_nowhere_is_missed_and_not_forgotten(detector, deposits):
    """Labels never change: the true cells that leave the lattice are all lost, in their own events."""
    away = universe(1000.0)
    prepared = detector.prepare(deposits)
    image = detector.image(prepared, away)
    assert len(image.cell) == 0
    nominal = truth_in(detector, prepared, NOMINAL)
    matched = match(image, truth_in(detector, prepared, away))
    lost = torch.bincount(
        torch.repeat_interleave(torch.arange(2), nominal.offsets.diff()) * NONE + nominal.semantic.long(), minlength=10
    )
    assert torch.equal(matched.lost.flatten(), lost)


def test_half_out_of_the_lattice_loses_just_those(detector, deposits):
    """A shift by 80 cells: what began in the upper half is lost, in its own class and event."""
    where = universe(80.0)
    prepared = detector.prepare(deposits)
    truth = truth_in(detector, prepared, where)
    gone = (deposits.position[:, 1] + 24.0 >= 48.0).sum()
    assert 0 < int((truth.cell >= GEOMETRY.cells).sum()) <= int(gone)
    matched = match(detector.image(prepared, where), truth, threshold=0.0)
    assert int(matched.lost.sum()) == int((truth.cell >= GEOMETRY.cells).sum())


def test_nominal_labels_are_those_of_the_deposits(detector, deposits):
    one, other = truth_in(detector, detector.prepare(deposits), NOMINAL), voxel_truth(deposits, GEOMETRY)
    assert torch.equal(one.cell, other.cell)
    assert torch.equal(one.semantic, other.semantic)
    assert torch.equal(one.energy, other.energy)
    assert torch.equal(one.offsets, other.offsets)
