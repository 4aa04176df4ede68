"""The pyhf model of one set of templates: expected rates, likelihood, parameters and their priors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shiftlab.errors import ConfigError, DataError
from shiftlab.templates import Templates
from shiftlab.templates.workspace import INTERPOLATION, POI, check_schema

__all__ = ["FitModel", "fit_model"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FitModel:
    """A HistFactory likelihood; parameters are in pyhf's order, bins in the templates'.

    Attributes:
        model: the ``pyhf.Model``.
        name: ``<arm>-<seed>``, for messages.
        names: parameter names: ``mu``, nuisances, and ``mcstat_<channel>[<bin>]``.
        kinds: ``poi``, ``nuisance`` or ``mc_stat`` per parameter.
        initial: (parameter,) nominal values.
        lower: (parameter,) lower bounds.
        upper: (parameter,) upper bounds.
        width: (parameter,) sigma of the constraint; infinite for ``mu``.
        order: (bin,) position in pyhf's bin order of each of the templates' bins.
    """

    model: Any
    name: str
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    initial: Floats
    lower: Floats
    upper: Floats
    width: Floats
    order: npt.NDArray[np.int64]

    @property
    def poi(self) -> int:
        """Position of ``mu``."""
        return self.names.index(POI)

    @property
    def nuisances(self) -> tuple[int, ...]:
        """Positions of the detector nuisances."""
        return tuple(i for i, kind in enumerate(self.kinds) if kind == "nuisance")

    def expected(self, parameters: Floats) -> Floats:
        """Return (bin,) expected events at ``parameters`` (parameter,)."""
        rates = np.asarray(self.model.expected_data(parameters, include_auxdata=False), dtype=np.float64)
        return rates[self.order]

    def twice_nll(self, parameters: Floats, counts: Floats) -> float:
        """Return pyhf's -2 ln L at ``parameters`` for ``counts`` (bin,), auxiliary data at their nominal values."""
        main = np.empty_like(counts)
        main[self.order] = counts
        data = np.concatenate([main, np.asarray(self.model.config.auxdata, dtype=np.float64)])
        return float(-2.0 * np.asarray(self.model.logpdf(parameters, data)).item())

    def goodness(self, parameters: Floats, counts: Floats) -> float:
        """Return the saturated chi2, -2 ln of the likelihood over that of a perfect prediction.

        2 sum_b (lambda - n + n ln(n / lambda)) plus the squared pulls (Baker and Cousins 1984): pyhf's
        -2 ln L but for a constant, at half the time and without the rounding of a large constant.
        It is not a number where a rate is negative.
        """
        rates = self.expected(parameters)
        with np.errstate(invalid="ignore", divide="ignore"):
            log = np.where(counts > 0.0, np.log(counts / rates), 0.0)
        if (rates < 0.0).any():
            return float("nan")
        pulls = (parameters - self.initial) / self.width
        return float(2.0 * (rates - counts + counts * log).sum() + (pulls**2).sum())


def fit_model(templates: Templates) -> FitModel:
    """Return the model of the workspace with Asimov data, checked against pyhf's schema.

    pyhf's numpy backend is used as it stands; interpolation is ``INTERPOLATION``.

    Raises:
        ConfigError: pyhf is set to another backend than numpy.
        DataError: the templates make no valid workspace.
    """
    import pyhf

    if pyhf.tensorlib.name != "numpy":
        raise ConfigError(
            f"pyhf is set to the backend '{pyhf.tensorlib.name}'; fits need numpy: pyhf.set_backend('numpy')."
        )
    spec = templates.workspace()
    check_schema(spec, templates.name)
    try:
        content = {"channels": spec["channels"], "parameters": spec["measurements"][0]["config"]["parameters"]}
        model = pyhf.Model(content, poi_name=POI, modifier_settings=INTERPOLATION, validate=False)
    except (pyhf.exceptions.InvalidModifier, pyhf.exceptions.InvalidModel, pyhf.exceptions.InvalidNameReuse) as error:
        raise DataError(f"templates {templates.name}: pyhf refuses the workspace: {error}") from error
    config = model.config
    width: list[float] = []
    kinds: list[str] = []
    for name in config.par_order:
        size = config.param_set(name).n_parameters
        kinds += ["poi" if name == POI else "nuisance" if name in templates.nuisances else "mc_stat"] * size
        width += [np.inf] * size if name == POI else [float(w) for w in config.param_set(name).width()]
    bounds = np.asarray(config.suggested_bounds(), dtype=np.float64)
    bins = np.arange(sum(config.channel_nbins.values()))
    return FitModel(
        model=model,
        name=templates.name,
        names=tuple(config.par_names),
        kinds=tuple(kinds),
        initial=np.asarray(config.suggested_init(), dtype=np.float64),
        lower=bounds[:, 0],
        upper=bounds[:, 1],
        width=np.asarray(width, dtype=np.float64),
        order=np.concatenate([bins[config.channel_slices[name]] for name in templates.channels]),
    )
