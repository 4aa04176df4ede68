"""Fit: pyhf likelihood fits of the templates, impacts, components and the cost of ignoring correlation."""

from shiftlab.fit.errors import FitError
from shiftlab.fit.measurement import fit
from shiftlab.fit.result import Fit, FitResult

fit_all = fit

__all__ = ["Fit", "FitError", "FitResult", "fit", "fit_all"]
