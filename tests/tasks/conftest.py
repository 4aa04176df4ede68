"""Event tables and small samples for the tasks."""

from collections.abc import Callable, Sequence

import pytest
import torch

from shiftlab.events import EventTable

SAMPLES = {
    "numu_cc": (14.0, float("nan")),
    "nue_cc": (12.0, 1.0),
    "photon_protons": (0.0, 0.0),
    "single_electron": (0.0, 1.0),
    "single_gamma": (0.0, 0.0),
    "single_muon": (0.0, float("nan")),
}


@pytest.fixture
def table() -> Callable[[Sequence[str]], EventTable]:
    """Makes a table with the truth that the reader gives for each sample; visible energy 100, 200, ... MeV."""

    def make(samples: Sequence[str]) -> EventTable:
        count = len(samples)
        pdg, em_class = zip(*(SAMPLES[name] for name in samples), strict=True)
        return EventTable(
            key=torch.arange(count),
            vertex=torch.arange(count),
            weight=torch.ones(count, dtype=torch.float64),
            sample=tuple(samples),
            truth={
                "visible_energy": 100.0 * torch.arange(1, count + 1, dtype=torch.float64),
                "neutrino_pdg": torch.tensor(pdg, dtype=torch.float64),
                "em_class": torch.tensor(em_class, dtype=torch.float64),
            },
            selected=torch.ones(count, dtype=torch.bool),
        )

    return make
