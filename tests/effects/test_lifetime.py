"""Electron lifetime: numbers of independent codes and the group law."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

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
