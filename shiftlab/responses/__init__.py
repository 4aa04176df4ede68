"""Responses of all arms to all universes: running them, keeping them, and the analysis selection."""

from shiftlab.responses.respond import respond
from shiftlab.responses.responses import Responses
from shiftlab.responses.selection import AnalysisSelection

__all__ = ["AnalysisSelection", "Responses", "respond"]
