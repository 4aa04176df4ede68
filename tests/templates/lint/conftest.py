"""A small workspace with every type of modifier and nothing to find, to be broken in one place at a time."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

Spec = dict[str, Any]


def _normsys(name: str, size: float) -> Spec:
    return {"name": name, "type": "normsys", "data": {"hi": 1.0 + size, "lo": 1.0 - size}}


def _histosys(name: str, nominal: list[float], shifts: list[float]) -> Spec:
    up = [n * (1.0 + s) for n, s in zip(nominal, shifts, strict=True)]
    down = [n * (1.0 - s) for n, s in zip(nominal, shifts, strict=True)]
    return {"name": name, "type": "histosys", "data": {"hi_data": up, "lo_data": down}}


def _free(name: str, kind: str) -> Spec:
    return {"name": name, "type": kind, "data": None}


def _per_bin(name: str, kind: str, values: list[float]) -> Spec:
    return {"name": name, "type": kind, "data": values}


def _workspace() -> Spec:
    signal, background, control = [5.0, 20.0, 10.0], [60.0, 50.0, 40.0], [300.0, 200.0]
    tilt = [0.05, 0.01, -0.04]
    samples = [
        {
            "name": "signal",
            "data": signal,
            "modifiers": [
                _free("mu", "normfactor"),
                _free("lumi", "lumi"),
                _normsys("gain", 0.03),
                _histosys("gain", signal, tilt),
                _per_bin("mcstat_SR", "staterror", [0.2, 0.5, 0.3]),
            ],
        },
        {
            "name": "background",
            "data": background,
            "modifiers": [
                _normsys("gain", -0.02),
                _histosys("gain", background, tilt),
                _histosys("noise", background, [-0.03, 0.02, 0.06]),
                _per_bin("mcstat_SR", "staterror", [2.0, 1.8, 1.5]),
            ],
        },
        {"name": "cosmics", "data": [3.0, 4.0, 5.0], "modifiers": [_per_bin("cosmics", "shapesys", [1.0, 1.0, 1.5])]},
    ]
    other = [
        {
            "name": "background",
            "data": control,
            "modifiers": [
                _normsys("gain", 0.02),
                _histosys("noise", control, [0.01, -0.02]),
                _per_bin("mcstat_CR", "staterror", [6.0, 5.0]),
            ],
        },
        {"name": "other", "data": [30.0, 20.0], "modifiers": [_free("data_driven", "shapefactor")]},
    ]
    settings = [
        {"name": "mu", "inits": [1.0], "bounds": [[0.0, 10.0]]},
        {"name": "lumi", "inits": [1.0], "bounds": [[0.5, 1.5]], "auxdata": [1.0], "sigmas": [0.02]},
    ]
    return {
        "version": "1.0.0",
        "channels": [{"name": "SR", "samples": samples}, {"name": "CR", "samples": other}],
        "observations": [{"name": "SR", "data": [70, 71, 58]}, {"name": "CR", "data": [325, 221]}],
        "measurements": [{"name": "fit", "config": {"poi": "mu", "parameters": settings}}],
    }


@pytest.fixture
def clean() -> Spec:
    return _workspace()


@pytest.fixture(scope="session")
def make_clean() -> Callable[[], Spec]:
    spec = _workspace()
    return lambda: copy.deepcopy(spec)
