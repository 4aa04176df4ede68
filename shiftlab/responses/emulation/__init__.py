"""Universes emulated from the responses to single nuisances, with their measured closure."""

from shiftlab.responses.emulation.closure import Check, Closure
from shiftlab.responses.emulation.emulate import Emulator, emulate, emulator
from shiftlab.responses.emulation.gradient import Gradients, differentiate
from shiftlab.responses.emulation.settings import EmulationSettings

__all__ = ["Check", "Closure", "EmulationSettings", "Emulator", "Gradients", "differentiate", "emulate", "emulator"]
