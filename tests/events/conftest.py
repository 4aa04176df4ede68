"""Paths of the small real files, and a few events that Geant4 makes on the spot."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from shiftlab.events import Deposits, EventTable, concatenate

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    return DATA


@pytest.fixture(scope="session")
def samples() -> Path:
    import studies.samples

    return Path(str(studies.samples.__file__)).parent


@pytest.fixture
def small() -> Deposits:
    """Three events with 3, 0 and 2 deposits; all numbers are whole, so that sums are exact."""
    return make_deposits([3, 0, 2])


def make_deposits(counts: list[int], first_key: int = 0) -> Deposits:
    total = sum(counts)
    number = torch.arange(total, dtype=torch.float32)
    key = torch.arange(first_key, first_key + len(counts), dtype=torch.int64)
    offsets = torch.tensor([0, *np.cumsum(counts).tolist()], dtype=torch.int64)
    energy = number % 7 + 1
    sums = torch.zeros(len(counts), dtype=torch.float64)
    sums.index_add_(0, torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)), energy.double())
    return Deposits(
        offsets=offsets,
        position=torch.stack([number % 230, (2 * number) % 230, (3 * number) % 230], dim=1),
        energy=energy,
        length=number % 2,
        semantic=(number % 5).to(torch.int8),
        particle=(number % 6).to(torch.int8),
        events=EventTable(
            key=key,
            vertex=key + 1000,
            weight=torch.ones(len(counts), dtype=torch.float64),
            sample=tuple("ab"[i % 2] for i in range(len(counts))),
            truth={"visible_energy": sums},
            selected=torch.ones(len(counts), dtype=torch.bool),
        ),
    )


@pytest.fixture(scope="session")
def deposits_of() -> Callable[..., Deposits]:
    return make_deposits


@pytest.fixture(scope="session")
def rewrite() -> Callable[..., Path]:
    """Copy an HDF5 file of compound tables, letting a function change one of them."""

    def copy(source: Path, target: Path, table: str, change: Callable[[Any], Any]) -> Path:
        with h5py.File(source) as old, h5py.File(target, "w") as new:
            for name in old:
                rows = old[name][...]
                new.create_dataset(name, data=change(rows) if name == table else rows)
            new.attrs.update(old.attrs)
        return target

    return copy


@pytest.fixture(scope="session")
def transport() -> Any:
    # Looked for, not imported: calzone reads where its tables are when it is imported.
    if importlib.util.find_spec("calzone") is None:
        pytest.skip("simulation needs calzone (extra 'dev' or 'sim')")
    from shiftlab.events.simulation.transport import Transport

    return Transport(DATA / "geant4_tables")


@pytest.fixture(scope="session")
def simulate(transport: Any) -> Callable[[str, int, str], Deposits]:
    """Make events of one kind: the shipped vertices for neutrino kinds, particle guns else."""
    import studies.samples
    from shiftlab.events.simulation.composition import NEUTRINO_KINDS, compose
    from shiftlab.events.simulation.production import produce
    from shiftlab.events.simulation.vertices import load_vertices

    vertices = load_vertices(Path(str(studies.samples.__file__)).parent / "vertices_evaluation.h5")

    def make(kind: str, count: int, sample: str) -> Deposits:
        mine = None
        if kind in NEUTRINO_KINDS:
            mine = vertices.take(np.flatnonzero(vertices.neutrino_pdg == NEUTRINO_KINDS[kind]))
        return concatenate(list(produce(compose(kind, count, sample, mine), transport, sample)))

    return make
