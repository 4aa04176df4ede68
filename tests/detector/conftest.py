"""A small detector and random tracks in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from shiftlab.detector import Detector, Geometry, effects
from shiftlab.events.deposits import Deposits, EventTable

EFFECTS = ("recombination", "lifetime", "noise", "gain", "dead_channels", "dead_chips", "threshold")


def make_tracks(counts: tuple[int, ...], edge: float = 48.0, seed: int = 0, margin: float = 0.0) -> Deposits:
    """Straight minimum-ionising tracks of many 0.2 cm steps, one per event, from random points."""
    generator = torch.Generator().manual_seed(seed)
    start = margin + (edge - 2 * margin) * torch.rand(len(counts), 3, generator=generator)
    way = torch.nn.functional.normalize(torch.randn(len(counts), 3, generator=generator), dim=1)
    event = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    offsets = torch.zeros(len(counts) + 1, dtype=torch.int64)
    torch.cumsum(torch.tensor(counts), 0, out=offsets[1:])
    step = torch.arange(len(event)) - offsets[event]
    total = len(event)
    key = (torch.arange(len(counts)) + 1 + 1000 * seed) * 1_000_003
    table = EventTable(
        key=key,
        vertex=key,
        weight=torch.ones(len(counts), dtype=torch.float64),
        sample=("single_muon",) * len(counts),
        truth={"visible_energy": torch.zeros(len(counts), dtype=torch.float64)},
        selected=torch.ones(len(counts), dtype=torch.bool),
    )
    return Deposits(
        offsets=offsets,
        position=start[event] + 0.2 * step[:, None] * way[event],
        energy=0.42 * (0.7 + 0.6 * torch.rand(total, generator=generator)),
        length=torch.full((total,), 0.2),
        semantic=torch.ones(total, dtype=torch.int8),
        particle=torch.full((total,), 2, dtype=torch.int8),
        events=table,
    )


@pytest.fixture(scope="session")
def tracks() -> Callable[..., Deposits]:
    """The function that makes tracks."""
    return make_tracks


@pytest.fixture(scope="session")
def small() -> Geometry:
    """A cube of 48 cm."""
    return Geometry(size=(48.0, 48.0, 48.0))


@pytest.fixture(scope="session")
def chamber(small: Geometry) -> Detector:
    """The pixel chamber's effects in the small cube."""
    return Detector("small", small, tuple(effects().get(name)() for name in EFFECTS), allow_double_counting=True)


@pytest.fixture(scope="session")
def deposits() -> Deposits:
    """Six events: tracks that partly leave the cube, one without deposits, one with a single one."""
    return make_tracks((200, 0, 1, 150, 80, 300))
