"""A small box of wires, and straight tracks in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from shiftlab.detector import Cells, Detector, WireGeometry
from shiftlab.events.deposits import Deposits, EventTable


@pytest.fixture(scope="session")
def wires() -> WireGeometry:
    return WireGeometry(size=(48.0, 48.0, 48.0))


def _tracks(*ends: tuple[tuple[float, float, float], tuple[float, float, float]], steps: int = 200) -> Deposits:
    """One event for each pair of ends: a straight track of equal deposits of 0.3 MeV."""
    part = torch.linspace(0, 1, steps, dtype=torch.float64)[:, None]
    lines = [torch.tensor(a) + (torch.tensor(b) - torch.tensor(a)) * part for a, b in ends]
    n = len(ends)
    key = (torch.arange(n) + 3) * 7919**3
    table = EventTable(
        key=key, vertex=key, weight=torch.ones(n).double(), sample=("single_muon",) * n,
        truth={"visible_energy": torch.ones(n).double()}, selected=torch.ones(n, dtype=torch.bool),
    )  # fmt: skip
    return Deposits(
        offsets=torch.arange(n + 1) * steps,
        position=torch.cat(lines).float(),
        energy=torch.full((n * steps,), 0.3),
        length=torch.full((n * steps,), 0.15),
        semantic=torch.ones(n * steps, dtype=torch.int8),
        particle=torch.full((n * steps,), 2, dtype=torch.int8),
        events=table,
    )


@pytest.fixture(scope="session")
def collected(wires: WireGeometry) -> Cells:
    """Charge on the wires of four tracks: slanted, along the drift, flat, at the cathode."""
    deposits = _tracks(
        ((5.0, 5.0, 5.0), (40.0, 40.0, 43.0)),
        ((5.0, 24.0, 24.0), (35.0, 25.0, 24.5)),
        ((20.0, 5.0, 40.0), (20.5, 40.0, 5.0)),
        ((44.0, 10.0, 10.0), (47.9, 30.0, 35.0)),
    )
    prepared = Detector("bare", wires, ()).prepare(deposits)
    return replace(prepared.cells, electrons=prepared.footprint.collect(prepared.charge.electrons))


def _plane_of(cells: Cells) -> torch.Tensor:
    return cells.channel // cells.geometry.shape[2]


@pytest.fixture(scope="session")
def plane_of() -> Callable[[Cells], torch.Tensor]:
    """The plane of each row of cells."""
    return _plane_of


@pytest.fixture(scope="session")
def tracks() -> Callable[..., Deposits]:
    """The maker of straight tracks."""
    return _tracks
