"""Random workspaces with every modifier, and what pyhf makes of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Floats = npt.NDArray[np.float64]


def make_workspace(seed: int, *, extra: bool = True, size: float = 0.1, scale: float = 100.0) -> dict[str, Any]:
    """One to three channels of one to four bins, one to three samples, up to four nuisances of relative ``size``.

    With ``extra`` also lumi, shapesys, a shape factor coupled over channels and a staterror on some samples.
    """
    rng = np.random.default_rng(seed)
    bins = int(rng.integers(1, 5))
    names = [f"s{i}" for i in range(rng.integers(1, 4))]
    nuisances = [f"np{i}" for i in range(rng.integers(0, 5))]
    use = {word: extra and rng.uniform() < 0.5 for word in ("lumi", "shapefactor", "shapesys", "staterror")}
    partly = extra and rng.uniform() < 0.5
    channels, observations = [], []
    for c in range(rng.integers(1, 4)):
        count = bins if use["shapefactor"] else int(rng.integers(1, 5))
        samples, total = [], np.zeros(count)
        for s, sample in enumerate(names):
            nominal = scale * rng.uniform(0.5, 2.0, count)
            total += nominal
            modifiers: list[dict[str, Any]] = []
            if s == 0:
                modifiers.append({"name": "mu", "type": "normfactor", "data": None})
            for name in nuisances:
                if rng.uniform() < 0.7:
                    high, low = np.exp(size * rng.normal(size=2))
                    modifiers.append({"name": name, "type": "normsys", "data": {"hi": high, "lo": low}})
                if rng.uniform() < 0.7:
                    high, low = (nominal * np.exp(size * rng.normal(size=(2, count)))).tolist()
                    modifiers.append({"name": name, "type": "histosys", "data": {"hi_data": high, "lo_data": low}})
            if use["lumi"]:
                modifiers.append({"name": "lumi", "type": "lumi", "data": None})
            if use["shapefactor"] and s == 1:
                modifiers.append({"name": "free", "type": "shapefactor", "data": None})
            if use["shapesys"] and s == len(names) - 1:
                error = rng.uniform(0.05, 0.2) * nominal
                modifiers.append({"name": f"each{c}", "type": "shapesys", "data": error.tolist()})
            if use["staterror"] and not (partly and s == 0 and len(names) > 1):
                error = 0.1 * nominal
                modifiers.append({"name": f"mc{c}", "type": "staterror", "data": error.tolist()})
            samples.append({"name": sample, "data": nominal.tolist(), "modifiers": modifiers})
        channels.append({"name": f"c{c}", "samples": samples})
        observations.append({"name": f"c{c}", "data": rng.poisson(total).astype(float).tolist()})
    lumi = {"name": "lumi", "auxdata": [1.0], "sigmas": [0.03], "inits": [1.0], "bounds": [[0.5, 1.5]]}
    return {
        "version": "1.0.0",
        "channels": channels,
        "observations": observations,
        "measurements": [
            {"name": "random", "config": {"poi": "mu", "parameters": [lumi] if use["lumi"] else []}},
        ],
    }


def make_pyhf(spec: dict[str, Any], shape: str = "code4p", norm: str = "code4") -> tuple[Any, Floats]:
    """Return pyhf's model of a workspace and its data, auxiliary ones included."""
    import pyhf

    settings = {"normsys": {"interpcode": norm}, "histosys": {"interpcode": shape}}
    config = spec["measurements"][0]["config"]
    content = {"channels": spec["channels"], "parameters": config["parameters"]}
    model = pyhf.Model(content, poi_name=config["poi"], modifier_settings=settings, validate=False)
    counts = {entry["name"]: entry["data"] for entry in spec["observations"]}
    return model, np.concatenate([*(counts[name] for name in model.config.channels), model.config.auxdata])


@pytest.fixture(scope="session")
def workspace() -> Callable[..., dict[str, Any]]:
    return make_workspace


@pytest.fixture(scope="session")
def oracle() -> Callable[..., tuple[Any, Floats]]:
    return make_pyhf
