"""A MINERvA-like scintillator tracker: strips, photostatistics, a toy reconstruction, tokens."""

from shiftlab.detector.scintillator.chain import Recorded, ScintillatorDetector, scintillator_detector
from shiftlab.detector.scintillator.event_globals import globals_of, remainder_of
from shiftlab.detector.scintillator.photostatistics import Hits, quenching
from shiftlab.detector.scintillator.response import Response, Toy
from shiftlab.detector.scintillator.strips import StripGeometry
from shiftlab.detector.scintillator.token_detector import TokenDetector

__all__ = [
    "Hits",
    "Recorded",
    "Response",
    "ScintillatorDetector",
    "StripGeometry",
    "TokenDetector",
    "Toy",
    "globals_of",
    "quenching",
    "remainder_of",
    "scintillator_detector",
]
