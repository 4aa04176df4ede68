"""The study of a wire read-out runs from the command line through all seven steps, on the arms that ship."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from shiftlab.config import compose_study
from shiftlab.errors import ConfigError

WORDS = [
    "study=wires",
    "data.limit=6",
    "universes.only=[plane_gain_front,shaping_stretch]",
    "universes.joint=0",
    "universes.mip=[]",
    "replicas=10",
    "chunk=32",
    "workers=1",
    "device=cpu",
]


def test_the_study_of_wires_runs_from_the_command_line(tmp_path):
    """A tiny version gives workspace, tables and report; a front gain of +15% moves the energy task."""
    command = [sys.executable, "-m", "shiftlab.cli", "run", *WORDS, f"root={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "wires" / "latest"
    assert (folder / "report.html").stat().st_size > 10_000
    assert (folder / "classic-0" / "workspace.json").is_file()
    summary = json.loads((folder / "summary.json").read_text())
    assert 0.9 < summary["detector"]["charge_kept"] < 1.05
    table = pd.read_csv(folder / "bias.csv")
    rows = table[(table["task"] == "energy") & (table["group"] == "unisim")]
    up, down = (rows[rows["universe"] == f"plane_gain_front{sign}"]["bias"].mean() for sign in ("+1", "-1"))
    assert up > 0 > down


@pytest.mark.parametrize(
    ("word", "match"),
    [("tasks.names=[segmentation]", "labels voxels"), ("arms.names=[scratch]", "takes images of voxels")],
)
def test_what_needs_voxels_is_refused(word, match):
    with pytest.raises(ConfigError, match=match):
        compose_study(["study=wires", "arms.checkpoints=.", word])
