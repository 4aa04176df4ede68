"""Paired bias of every task under every shift, and its covariance and correlation across tasks."""

from shiftlab.bias.paired import bias
from shiftlab.bias.record import Bias
from shiftlab.bias.statistic import Mean, Statistic

__all__ = ["Bias", "Mean", "Statistic", "bias"]
