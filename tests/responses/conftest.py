"""Tracks in the demo detector, and simple arms that are loaded as a loose plug-in."""

from pathlib import Path

import pytest
import torch

from shiftlab.arms import arms as arm_registry
from shiftlab.detector import NOMINAL, Universe, detector
from shiftlab.events.deposits import Deposits, EventTable

SAMPLES = ("numu_cc", "nue_cc", "photon_protons", "calibration_muon")


def tracks(n: int, first: int = 0, sample: str | None = None) -> Deposits:
    """n straight tracks of 30 to 150 cm at 2.1 MeV/cm; two events share a vertex, one lies outside."""
    draw = torch.Generator().manual_seed(100 + first)
    steps = torch.randint(100, 500, (n,), generator=draw)
    start = 20.0 + 100.0 * torch.rand(n, 3, generator=draw)
    start[0] = -500.0
    direction = torch.nn.functional.normalize(torch.rand(n, 3, generator=draw), dim=1)
    event = torch.repeat_interleave(torch.arange(n), steps)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), steps.cumsum(0)])
    along = 0.3 * (torch.arange(len(event)) - offsets[event])[:, None]
    names = tuple(sample or SAMPLES[i % 3] for i in range(n))
    truth = {
        "visible_energy": 0.63 * steps.double(),
        "neutrino_energy": torch.full((n,), 1000.0, dtype=torch.float64),
        "neutrino_pdg": torch.tensor([{"numu_cc": 14.0, "nue_cc": 12.0}.get(name, 0.0) for name in names]).double(),
        "vertex_x": start[:, 0].double(),
        "vertex_y": start[:, 1].double(),
        "vertex_z": start[:, 2].double(),
        "em_class": torch.tensor(
            [{"nue_cc": 1.0, "photon_protons": 0.0}.get(name, float("nan")) for name in names]
        ).double(),
    }
    number = torch.arange(first, first + n)
    table = EventTable(
        key=number * 7919 + 13,
        vertex=number // 2 * 2 + 1_000_000,
        weight=torch.ones(n, dtype=torch.float64),
        sample=names,
        truth=truth,
        selected=torch.ones(n, dtype=torch.bool),
    )
    return Deposits(
        offsets=offsets,
        position=(start[event] + along * direction[event]).float(),
        energy=torch.full((len(event),), 0.63) * (0.5 + torch.rand(len(event), generator=draw)),
        length=torch.full((len(event),), 0.3),
        semantic=torch.ones(len(event), dtype=torch.int8),
        particle=torch.full((len(event),), 2, dtype=torch.int8),
        events=table,
    )


@pytest.fixture(scope="session")
def make_tracks():
    return tracks


@pytest.fixture(scope="session")
def events():
    return tracks(24)


@pytest.fixture(scope="session")
def muons():
    return tracks(20, first=10_000, sample="calibration_muon")


@pytest.fixture(scope="session")
def pixel_lar():
    return detector("pixel_lar")


@pytest.fixture(scope="session")
def universes():
    """Nominal, a run-scope scale, an event-scope noise and a recalibrated scale."""
    return (
        NOMINAL,
        Universe("gain_scale+1", (("gain_scale", 1.0),), group="unisim"),
        Universe("noise_enc+1", (("noise_enc", 1.0),), group="unisim"),
        Universe("gain_scale+1_mip", (("gain_scale", 1.0),), recalibrate="mip", group="unisim"),
    )


@pytest.fixture(scope="session")
def arm():
    """Arm class by name, from the loose file beside this one."""
    arm_registry().add_file(Path(__file__).with_name("sums_arm.py"))
    return arm_registry().get
