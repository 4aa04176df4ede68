"""Detectors: stages, effects, universes and keyed draws, from energy deposits to images."""

from shiftlab.detector.chain import Detector, Nuisance
from shiftlab.detector.effect import STAGES, Effect, effects
from shiftlab.detector.field_map import FieldMap, read_field_map, undisplaced
from shiftlab.detector.geometry import Geometry
from shiftlab.detector.mask import broken
from shiftlab.detector.medium import Medium, Value
from shiftlab.detector.oracle import Oracle, numbers
from shiftlab.detector.parameter import Parameter
from shiftlab.detector.prepared import Prepared
from shiftlab.detector.presets import detector
from shiftlab.detector.scintillator import (
    Hits,
    Response,
    ScintillatorDetector,
    StripGeometry,
    TokenDetector,
    globals_of,
    quenching,
    remainder_of,
    scintillator_detector,
)
from shiftlab.detector.state import Cells, Charge, Electronics
from shiftlab.detector.stream import Stream
from shiftlab.detector.universe import NOMINAL, Universe, multisim, unisim
from shiftlab.detector.wires import (
    Regions,
    Taps,
    WireGeometry,
    cold_electronics,
    field_current,
    filtered,
    in_groups,
    regions,
)
from shiftlab.errors import ConfigError, DataError

__all__ = [
    "NOMINAL",
    "STAGES",
    "Cells",
    "Charge",
    "ConfigError",
    "DataError",
    "Detector",
    "Effect",
    "Electronics",
    "FieldMap",
    "Geometry",
    "Hits",
    "Medium",
    "Nuisance",
    "Oracle",
    "Parameter",
    "Prepared",
    "Regions",
    "Response",
    "ScintillatorDetector",
    "Stream",
    "Taps",
    "StripGeometry",
    "TokenDetector",
    "Universe",
    "Value",
    "WireGeometry",
    "broken",
    "cold_electronics",
    "detector",
    "effects",
    "field_current",
    "filtered",
    "globals_of",
    "in_groups",
    "multisim",
    "numbers",
    "regions",
    "quenching",
    "read_field_map",
    "remainder_of",
    "scintillator_detector",
    "undisplaced",
    "unisim",
]
