"""Side by side with public codes where they are installed: GAMPixPy's recombination, and back through SPINE's."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from shiftlab.units import ELECTRONS_PER_MEV
from shifts.charge.recombination_laws import birks, ellipsoid_box, modified_box

TABLE = Path(__file__).parent.parent / "data" / "larndsim_quench_drift.csv"

# They set the default device of torch, or read their own configuration, when imported: each gets its own process.
GAMPIXPY = """
import json, sys
import torch
from gampixpy import units
from gampixpy.config import default_physics_params
from gampixpy.recombination import BirksRecombinationModel, BoxRecombinationModel
dedx = torch.tensor(json.load(sys.stdin), dtype=torch.float64) * (units.MeV / units.cm)
models = {"box": BoxRecombinationModel, "birks": BirksRecombinationModel}
found = {n: m(default_physics_params)(dE=dedx, dx=torch.ones_like(dedx), dEdx=dedx).tolist() for n, m in models.items()}
print(json.dumps(found))
"""

SPINE = """
import json, sys
import numpy as np
from spine.calib.recombination import RecombinationCalibrator
given = json.load(sys.stdin)
def made(model, **constants):
    return RecombinationCalibrator(0.5, np.array([1.0, 0.0, 0.0]), model, **constants)
models = {
    "birks": made("birks"),
    "mbox": made("mbox", mbox_alpha=0.93, mbox_beta=0.212),
    "mbox_ell": made("mbox_ell", mbox_alpha=0.904, mbox_beta=0.204),
}
cosine = np.array(given["cosine"])
found = {}
for name, model in models.items():
    charge = np.array(given[name])
    angle = {"cosphi": cosine} if name == "mbox_ell" else {}
    found[name] = (charge * model.inv_recombination_factor(charge, **angle)).tolist()
found["flat"] = models["birks"].process(np.array(given["flat"])).tolist()
print(json.dumps(found))
"""


def other(script: str, package: str, given: object) -> dict[str, list[float]]:
    """Return what a script that uses a package prints, given JSON on its input; skips where it is not installed."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.fixture(scope="module")
def dedx() -> torch.Tensor:
    """MeV/cm of 2000 steps of a real sample."""
    with TABLE.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    return torch.tensor([float(row["dEdx"]) for row in rows], dtype=torch.float64)


def test_gampixpy_gives_the_same_fractions(dedx):
    """With its own default constants, units included."""
    found = other(GAMPIXPY, "gampixpy", dedx.tolist())
    for name, ours in (
        ("box", modified_box(dedx, 0.93, 0.212, 0.5, 1.396)),
        ("birks", birks(dedx, 0.806, 0.052, 0.5, 1.396)),
    ):
        torch.testing.assert_close(torch.tensor(found[name], dtype=torch.float64), ours, rtol=1e-12, atol=1e-15)


def test_spine_finds_the_energy_loss_again(dedx):
    """Charge of our laws, put into SPINE's calibration, is the dE/dx; without tracking, a muon's energy."""
    dedx = dedx[dedx > 0.5]
    cosine = torch.linspace(0.0, 1.0, len(dedx), dtype=torch.float64)
    charge = {
        "birks": dedx * birks(dedx, 0.8, 0.0486, 0.5, 1.396),
        "mbox": dedx * modified_box(dedx, 0.93, 0.212, 0.5, 1.396),
        "mbox_ell": dedx * ellipsoid_box(dedx, 0.904, 0.204, 1.25, cosine, 0.5, 1.396),
    }
    mip = torch.tensor([2.105168], dtype=torch.float64)
    given = {name: (one * ELECTRONS_PER_MEV).tolist() for name, one in charge.items()}
    given |= {"cosine": cosine.tolist(), "flat": (ELECTRONS_PER_MEV * birks(mip, 0.8, 0.0486, 0.5, 1.396)).tolist()}
    found = other(SPINE, "spine", given)
    for name in charge:
        torch.testing.assert_close(torch.tensor(found[name], dtype=torch.float64), dedx, rtol=1e-9, atol=0.0)
    assert found["flat"] == pytest.approx([1.0], rel=1e-12)
