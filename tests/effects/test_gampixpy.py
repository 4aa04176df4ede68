"""Live comparison with GAMPixPy's drift (PyPI, MIT), where it is installed; the oracle tables need no such thing."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest
import torch

from shiftlab.detector.sharing import diffusion_width
from shifts.transport.lifetime import survival
from shifts.transport.mobility import diffusion_constants, drift_velocity

CLOUD = 20000
"""Charges that GAMPixPy drifts from each depth: their spread is known to 0.5%."""

PROGRAM = f"""
import json, torch
from gampixpy.detector import DetectorModel
from gampixpy.tracks import Track
torch.set_default_device("cpu")
torch.manual_seed(1)
model = DetectorModel()
rows = []
for depth in (20.0, 100.0, 200.0):
    place = torch.tensor([0.0, 0.0, depth]).repeat({CLOUD}, 1)
    charge = torch.ones({CLOUD}, dtype=torch.float64)
    track = Track(place, torch.zeros({CLOUD}), charge, torch.zeros({CLOUD}, dtype=torch.int64))
    model.drift(track)
    after = track.drifted_track
    widths = after["position"].std(0).tolist()
    rows.append([depth, float(after["charge"].mean()), float(after["time"].mean()), *widths])
constants = {{k: float(v) for k, v in model.physics_config["charge_drift"].items()}}
print(json.dumps({{"rows": rows, "constants": constants}}))
"""


@pytest.mark.skipif(importlib.util.find_spec("gampixpy") is None, reason="gampixpy is not installed")
def test_a_cloud_drifts_as_in_gampixpy():
    """Charge to 1e-6, mean arrival to its spread, widths along and across to five errors; in a process of its own,
    since the package changes torch's default device."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    constants = found["constants"]
    velocity = float(drift_velocity(0.5, 87.0))
    along, across = (float(one) for one in diffusion_constants(0.5, 87.0))
    assert constants["drift_speed"] == pytest.approx(velocity, rel=1e-6)
    assert 1e6 * constants["diffusion_longitudinal"] == pytest.approx(along, rel=1e-6)
    assert 1e6 * constants["diffusion_transverse"] == pytest.approx(across, rel=1e-6)
    for depth, charge, arrival, one, two, three in found["rows"]:
        time = torch.tensor(depth / velocity, dtype=torch.float64)
        assert charge == pytest.approx(float(survival(time, constants["electron_lifetime"])), rel=1e-6)
        assert arrival == pytest.approx(float(time), rel=1e-3)
        wide, long = (float(diffusion_width(constant, time)) for constant in (across, along))
        assert [one, two, three] == pytest.approx([wide, wide, long], rel=0.025)
