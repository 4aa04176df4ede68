"""The error of a fit that gives no answer."""

from shiftlab.errors import ShiftlabError

__all__ = ["FitError"]


class FitError(ShiftlabError):
    """A fit that did not converge; the message names the observation and the parameter that drives it."""
