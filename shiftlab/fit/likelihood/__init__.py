"""The likelihood engine: rates, exact derivatives, fits, impacts, limits and toys in numpy, without global state."""

from shiftlab.fit.likelihood.build import from_arrays
from shiftlab.fit.likelihood.fitting import Fitted, asimov, fit, spectra, twice_nll
from shiftlab.fit.likelihood.model import Channel, Likelihood
from shiftlab.fit.likelihood.objective import Spectra
from shiftlab.fit.likelihood.parameters import Parameters
from shiftlab.fit.likelihood.rates import expected, expected_by_sample
from shiftlab.fit.likelihood.reader import from_workspace, observed
from shiftlab.fit.likelihood.starts import fit_many

__all__ = [
    "Channel",
    "Fitted",
    "Likelihood",
    "Parameters",
    "Spectra",
    "asimov",
    "expected",
    "expected_by_sample",
    "fit",
    "fit_many",
    "from_arrays",
    "from_workspace",
    "observed",
    "spectra",
    "twice_nll",
]
