"""All estimators whose bias and coverage are measured."""

from __future__ import annotations

from typing import Final

from shiftlab.bias.proof.of_biases import OF_BIASES
from shiftlab.bias.proof.of_moments import OF_MOMENTS
from shiftlab.bias.proof.of_trainings import OF_TRAININGS

__all__ = ["ESTIMATORS"]

ESTIMATORS: Final = (*OF_BIASES, *OF_MOMENTS, *OF_TRAININGS)
"""A new one is one line: name, what finds it, its truth and, if so, what is off."""
