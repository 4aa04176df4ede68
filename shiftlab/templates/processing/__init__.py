"""From variations as simulated to templates as fitted: pure functions on arrays, and what each of them did."""

from __future__ import annotations

from shiftlab.templates.processing.record import Entry
from shiftlab.templates.processing.settings import Correlation, ProcessingSettings
from shiftlab.templates.processing.split import NormShape, extrapolate, join, norm_shape

__all__ = ["Correlation", "Entry", "NormShape", "ProcessingSettings", "extrapolate", "join", "norm_shape"]
