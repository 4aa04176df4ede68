"""Placement of an unlabelled sample among the universes, and the biases to be expected where it was placed."""

from shiftlab.bias.placement.goodness import Goodness
from shiftlab.bias.placement.interaction import interaction_covariance, task_interaction
from shiftlab.bias.placement.library import Library, build_library
from shiftlab.bias.placement.model import Model, build_model, observe
from shiftlab.bias.placement.placing import Placement, locate, place
from shiftlab.bias.placement.power import power, power_left_out
from shiftlab.bias.placement.summaries import Summaries, choose_summaries

__all__ = [
    "Goodness",
    "Library",
    "Model",
    "Placement",
    "Summaries",
    "build_library",
    "build_model",
    "choose_summaries",
    "interaction_covariance",
    "locate",
    "observe",
    "place",
    "power",
    "power_left_out",
    "task_interaction",
]
