"""Responses of all arms to all universes: running them, keeping them, and the analysis selection."""

from shiftlab.responses.lazy import LazyResponses, open_responses
from shiftlab.responses.respond import RESPONSES, respond
from shiftlab.responses.responses import Responses
from shiftlab.responses.selection import AnalysisSelection

__all__ = ["RESPONSES", "AnalysisSelection", "LazyResponses", "Responses", "open_responses", "respond"]
