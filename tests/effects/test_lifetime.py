"""Electron lifetime: numbers of independent codes and the group law."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.detector import Detector, Geometry, Stream
from shiftlab.detector.sharing import diffusion_width
from shiftlab.events.deposits import Deposits, EventTable
from shifts.transport.lifetime import Lifetime, survival

TESTS = Path(__file__).parent.parent


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(line for line in stream if not line.startswith("#")))


@pytest.mark.parametrize("row", rows(TESTS / "oracles" / "lifetime.csv"), ids=lambda row: row["tau_us"])
def test_survival_meets_spine(row):
    """Survival after a drift, and its inverse by spine's calibrator, to 1e-6."""
    time = torch.tensor([float(row["distance_cm"]) / float(row["v_cm_us"])], dtype=torch.float64)
    left = float(survival(time, float(row["tau_us"])))
    assert left == pytest.approx(float(row["survival"]), rel=1e-6)
    assert left * float(row["spine_correction"]) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("model", ["box", "birks"])
def test_electrons_at_the_anode_meet_larndsim(model):
    """2000 steps: what is left of larnd-sim's own charge after its drift, to its truncation of one electron."""
    table = rows(TESTS / "data" / "larndsim_quench_drift.csv")
    start, end, distance = (
        torch.tensor([float(row[name]) for row in table], dtype=torch.float64)
        for name in (f"n_electrons_{model}", f"n_electrons_{model}_at_anode", "drift_distance")
    )
    lost = start * survival(distance / 0.1596452482154287, 2600.0) - end
    assert float(lost.min()) > -0.01
    assert float(lost.max()) < 1.01


def test_one_over_e_is_left_after_one_lifetime():
    assert float(survival(torch.tensor([6000.0], dtype=torch.float64), 6000.0)) == pytest.approx(0.36787944)


def test_calibration_divides_out_the_nominal_loss(small):
    """The response of each layer is the survival from the layer's centre."""
    times = small.layer_times()
    assert torch.equal(Lifetime().response(small.medium((4.0, 8.8)), times, {"tau": 6000.0}), survival(times, 6000.0))
    assert float(times[0]) == pytest.approx(0.15 / 0.1563)


def test_prior_is_five_percent_on_a_log_scale():
    """+1 sigma times -1 sigma is nominal squared; tau stays positive at any displacement within its bounds."""
    tau = Lifetime.parameters[0]
    assert tau.value(1.0) == pytest.approx(6300.0)
    assert tau.value(1.0) * tau.value(-1.0) == pytest.approx(6000.0**2)


def test_drift_of_larndsim_through_the_whole_state():
    """Charge, cloud and arrival of 2000 drifts as effects see them: electrons to one, widths to 1e-4, times to 1e-5 us.

    larnd-sim's own arrival time is that which its longitudinal width tells, t = sigma^2 / (2 D).
    """
    table = rows(TESTS / "data" / "larndsim_quench_drift.csv")
    columns = {name: torch.tensor([float(row[name]) for row in table], dtype=torch.float64) for name in table[0]}
    geometry = Geometry(size=(48.0, 48.0, 48.0), drift_velocity=0.1596452482154287)
    none = torch.zeros(len(table), dtype=torch.int64)
    events = Detector("plain", geometry, ()).prepare(_nothing()).charge
    charge = replace(
        events,
        event=none,
        position=torch.stack([columns["drift_distance"].float(), none.float(), none.float()], dim=1),
        electrons=columns["n_electrons_box"],
        energy=columns["dE"],
        dedx=columns["dEdx"],
    )
    lost = (
        Lifetime().apply(charge, {"tau": 2600.0}, Stream(1, "lifetime")).electrons - columns["n_electrons_box_at_anode"]
    )
    assert float(lost.min()) > -0.02
    assert float(lost.max()) < 1.02
    for name, constant in zip(("long_diff", "tran_diff"), charge.medium.diffusion, strict=True):
        found = diffusion_width(constant, charge.drift_time)
        torch.testing.assert_close(found, columns[name], rtol=1e-4, atol=1e-6)
    assert torch.equal(charge.arrival, charge.position[:, 0].double())
    time = columns["long_diff"] ** 2 / (2.0 * 4.0e-6)
    torch.testing.assert_close(charge.drift_time, time, rtol=1e-5, atol=1e-5)


@given(st.floats(400.0, 1e5), st.floats(0.0, 2500.0), st.floats(0.0, 2500.0))
def test_loss_of_two_drifts_is_the_loss_of_both(tau, first, second):
    """exp(-t / tau): one drift after the other, and the inverse brings the charge back; for ever keeps it all."""
    times = torch.tensor([first, second, first + second], dtype=torch.float64)
    one, two, both = survival(times, tau).tolist()
    assert one * two == pytest.approx(both, rel=1e-12)
    assert both * math.exp((first + second) / tau) == pytest.approx(1.0, rel=1e-12)
    assert survival(times, math.inf).tolist() == [1.0, 1.0, 1.0]


def test_sizes_of_the_loss_meet_the_catalogue():
    """After 200 cm at 0.1563 cm/us: 71% is left at 3.8 ms, 87% at 9.2 ms, 88% at 10 ms, 96.4% at 35 ms."""
    time = torch.tensor(200.0 / 0.1563, dtype=torch.float64)
    left = [float(survival(time, 1000.0 * tau)) for tau in (3.8, 9.2, 10.0, 35.0)]
    assert left == pytest.approx([0.714, 0.870, 0.880, 0.964], abs=5e-4)


def _nothing():
    """An event without deposits."""
    whole, real = torch.ones(1, dtype=torch.int64), torch.zeros(0)
    table = EventTable(
        whole, whole, whole.double(), ("none",), {"visible_energy": whole.double()}, whole.to(torch.bool)
    )
    kind = torch.zeros(0, dtype=torch.int8)
    return Deposits(torch.tensor([0, 0]), real.reshape(0, 3), real, real, kind, kind, table)
