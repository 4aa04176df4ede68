"""Synthetic responses of two tasks with known efficiencies and shifts."""

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

from shiftlab.responses import Responses

SAMPLES = ("nue_cc", "numu_cc", "photon_protons", "single_electron")
NUMBERS = (900, 1500, 900, 50)
MEANS = {"flavour": (0.75, 0.25, 0.55, 0.8), "energy": (700.0, 900.0, 500.0, 300.0)}
WIDTHS = {"flavour": 0.15, "energy": 200.0}
SHIFTS = {"gain_scale": 0.05, "noise_enc": 0.0, "lifetime_tau": 0.02}


def _universes() -> list[tuple[str, dict[str, float], int, str, str]]:
    found: list[tuple[str, dict[str, float], int, str, str]] = [("nominal", {}, 0, "none", "nominal")]
    for calibration, suffix in (("none", ""), ("mip", "_mip")):
        for name in SHIFTS:
            for sign in (-1.0, 1.0):
                found.append((f"{name}{sign:+.0f}{suffix}", {name: sign}, 0, calibration, "unisim"))
        for throw in range(4):
            for sign in (-1.0, 1.0):
                label = f"gain_spread{sign:+.0f}_throw{throw}{suffix}"
                found.append((label, {"gain_spread": sign}, throw, calibration, "unisim"))
    found.append(("gain_scale+2", {"gain_scale": 2.0}, 0, "none", "unisim"))
    found.append(("joint_00", {"gain_scale": 0.7, "lifetime_tau": -1.2, "gain_spread": 0.4}, 0, "none", "multisim"))
    return found


def make_responses(
    arms: tuple[str, ...] = ("scratch",), seeds: tuple[int, ...] = (0,), scale: float = 1.0
) -> Responses:
    """Events whose observable moves by a fraction of its value, known per nuisance."""
    rng = np.random.default_rng(7)
    nuisances = (*SHIFTS, "gain_spread")
    universes = _universes()
    sample = np.repeat(np.array(SAMPLES), NUMBERS)
    events = len(sample)
    base = {task: rng.normal(np.repeat(MEANS[task], NUMBERS), WIDTHS[task]) for task in MEANS}
    maps = 0.02 * rng.normal(size=(4, events))
    passed = rng.uniform(size=events)
    size = rng.uniform(20.0, 400.0, size=events)
    weight = rng.uniform(0.5, 1.5, size=events)
    datasets = {}
    for task in MEANS:
        values, selected = [], []
        for _, displaced, throw, _, _ in universes:
            factor = np.ones(events)
            for name, strength in displaced.items():
                factor += strength * (maps[throw] if name == "gain_spread" else scale * SHIFTS[name])
            values.append(base[task] * factor)
            selected.append((passed < 0.8) & (size * factor > 50.0))
        shape = (len(arms), len(seeds), len(universes), events)
        observable = np.broadcast_to(np.array(values, dtype=np.float32), shape).copy()
        datasets[task] = xr.Dataset(
            {
                "output": (("arm", "seed", "universe", "event", "output"), observable[..., None]),
                "observable": (("arm", "seed", "universe", "event"), observable),
                "selected": (
                    ("arm", "seed", "universe", "event"),
                    np.broadcast_to(np.array(selected), shape).copy(),
                ),
                "truth": (("event", "truth_column"), np.zeros((events, 1))),
                "evaluated": (("event",), np.ones(events, dtype=bool)),
            },
            coords={
                "arm": list(arms),
                "seed": list(seeds),
                "universe": [u[0] for u in universes],
                "event": np.arange(events, dtype=np.int64) * 7919 + 13,
                "nuisance": list(nuisances),
                "vertex_uid": ("event", np.arange(events, dtype=np.int64) * 104729 + 5),
                "weight": ("event", weight),
                "sample": ("event", sample),
                "group": ("universe", [u[4] for u in universes]),
                "throw": ("universe", np.array([u[2] for u in universes], dtype=np.int64)),
                "recalibrate": ("universe", [u[3] for u in universes]),
                "nuisance_value": (
                    ("universe", "nuisance"),
                    np.array([[u[1].get(n, 0.0) for n in nuisances] for u in universes]),
                ),
            },
            attrs={"statistic": "mean", "unit": "", "observable_label": f"{task} observable"},
        )

    return Responses(datasets, {"identity": "synthetic"})


@pytest.fixture(scope="session")
def responses() -> Responses:
    return make_responses()


@pytest.fixture(scope="session")
def make() -> Callable[..., Responses]:
    return make_responses
