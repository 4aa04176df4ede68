"""Placement of an unlabelled sample among the universes, and the biases to be expected where it was placed."""

from shiftlab.bias.placement.goodness import Goodness, power
from shiftlab.bias.placement.interaction import interaction_covariance, task_interaction
from shiftlab.bias.placement.library import Library, build_library
from shiftlab.bias.placement.model import Model, Observed, build_model, hidden_sample, observe
from shiftlab.bias.placement.placing import Placement, locate, place
from shiftlab.bias.placement.summaries import Summaries, choose_summaries

__all__ = [
    "Goodness",
    "Library",
    "Model",
    "Observed",
    "Placement",
    "Summaries",
    "build_library",
    "build_model",
    "choose_summaries",
    "hidden_sample",
    "interaction_covariance",
    "locate",
    "observe",
    "place",
    "power",
    "task_interaction",
]
