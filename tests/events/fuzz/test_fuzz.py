"""Damaged files lead to one clear error or to sound events, none of them lost; thousands more run with ``-m slow``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def fuzz(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.events.fuzz", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return done.stdout


def total(table: str) -> int:
    """The number of damaged files in the last row of the table."""
    (row,) = [line for line in table.splitlines() if line.startswith("all ")]
    return int(row.split()[1])


def test_two_hundred_damaged_files_of_all_formats() -> None:
    table = fuzz("--files", "208")
    assert total(table) >= 200
    for name in ("geant4.h5", "pilarnet_v3_extra.h5", "sample_tokens.h5", "omnilearned.h5", "minerva_ml.pb"):
        assert name in table


@pytest.mark.slow
def test_ten_thousand_damaged_files() -> None:
    assert total(fuzz("--files", "10000", "--first", "100000", "--workers", "2")) >= 10000


def test_the_same_number_does_the_same_damage(tmp_path: Path) -> None:
    code = (
        "import json, sys, numpy as np; from pathlib import Path; from tests.events.fuzz.damage import damage;"
        "a, b = Path(sys.argv[1]), Path(sys.argv[2]);"
        "print(json.dumps([damage(a, b, np.random.default_rng([n, 1])) for n in range(40)]))"
    )
    source = ROOT / "tests" / "data" / "edepsim_jax.h5"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code, str(source), str(tmp_path / "b.h5")], cwd=ROOT, capture_output=True, text=True
        )
        for _ in range(2)
    ]
    assert runs[0].stdout == runs[1].stdout
    said = json.loads(runs[0].stdout)
    assert len(set(said)) > 30
    assert {text.split(":")[0] for text in said} >= {"bytes", "segments"}
