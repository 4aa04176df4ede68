"""What all tests share: one thread for torch, a hypothesis profile without deadlines, and pyhf as an oracle."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import settings

# Times on a loaded machine say nothing about a property.
settings.register_profile("shiftlab", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("shiftlab")

torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PyhfModel:
    """pyhf's model of some templates: parameters in pyhf's order, bins in the templates'."""

    model: Any
    names: tuple[str, ...]
    initial: Floats
    lower: Floats
    upper: Floats
    width: Floats
    order: npt.NDArray[np.int64]

    def expected(self, parameters: Floats) -> Floats:
        """(bin,) expected events."""
        return np.asarray(self.model.expected_data(parameters, include_auxdata=False), dtype=np.float64)[self.order]

    def twice_nll(self, parameters: Floats, counts: Floats) -> float:
        """-2 ln L for ``counts`` (bin,), auxiliary data at their nominal values."""
        main = np.empty_like(counts)
        main[self.order] = counts
        data = np.concatenate([main, np.asarray(self.model.config.auxdata, dtype=np.float64)])
        return float(-2.0 * np.asarray(self.model.logpdf(parameters, data)).item())


def make_pyhf_model(templates: Any) -> PyhfModel:
    import pyhf

    from shiftlab.templates.workspace import INTERPOLATION, POI

    spec = templates.workspace()
    content = {"channels": spec["channels"], "parameters": spec["measurements"][0]["config"]["parameters"]}
    model = pyhf.Model(content, poi_name=POI, modifier_settings=INTERPOLATION, validate=False)
    config = model.config
    width: list[float] = []
    for name in config.par_order:
        width += [np.inf] if name == POI else [float(w) for w in config.param_set(name).width()]
    bounds = np.asarray(config.suggested_bounds(), dtype=np.float64)
    bins = np.arange(sum(config.channel_nbins.values()))
    return PyhfModel(
        model=model,
        names=tuple(config.par_names),
        initial=np.asarray(config.suggested_init(), dtype=np.float64),
        lower=bounds[:, 0],
        upper=bounds[:, 1],
        width=np.array(width),
        order=np.concatenate([bins[config.channel_slices[name]] for name in templates.channels]),
    )


@pytest.fixture(scope="session")
def pyhf_model() -> Callable[[Any], PyhfModel]:
    return make_pyhf_model
