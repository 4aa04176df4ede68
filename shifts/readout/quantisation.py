"""Quantisation: the digitiser records whole codes, between zero and the largest that its bits hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shiftlab.detector import Cells, ConfigError, Effect, Oracle, Parameter, Stream, Value, numbers

__all__ = ["AdcDigitize", "Quantisation", "adc_code"]


def adc_code(signal: Tensor, low: Value, high: Value, steps: Value, bits: Value, *, nearest: bool = True) -> Tensor:
    """Return the codes min(max(f((signal - low) / (high - low) * steps), 0), 2^bits - 1), of the signal's shape.

    Codes are whole and monotone in the signal; within range the signal is at most half a step away, or a whole one
    where codes are rounded down.

    Args:
        signal: voltage or charge.
        low: signal of code 0.
        high: signal of code ``steps``, full scale.
        steps: 2^bits - 1 in Wire-Cell (``Gen::Digitizer``), 2^bits in LArPix (larnd-sim ``fee.digitize``).
        bits: of the digitiser.
        nearest: whether f rounds to the nearest whole number, or down.
    """
    place = (signal - low) / (high - low) * steps
    code = torch.round(place) if nearest else torch.floor(place)
    last = torch.as_tensor(2.0**bits - 1.0, dtype=signal.dtype, device=signal.device)
    return torch.minimum(code.clamp(min=0.0), last)


class Quantisation(Effect[Cells]):
    """Charge becomes ``(code - pedestal) step``, code the nearest whole number to ``charge / step + pedestal``.

    No charge is the pedestal's code, so that empty cells stay empty.
    """

    name: ClassVar[str] = "quantisation"
    stage: ClassVar[str] = "saturate"
    order: ClassVar[int] = 3
    catalogue: ClassVar[tuple[str, ...]] = ("E13",)
    needs: ClassVar[tuple[str, ...]] = ("electrons",)
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    smooth: ClassVar[bool] = False  # codes are whole numbers
    parameters = (
        Parameter(
            "step",
            941.5,
            47.0,
            "e",
            (0.0, 20_000.0),
            identity=0.0,
            source="LArPix at 4.522 uV/e, (1568 - 478.1) mV in 256 steps (larnd-sim 2x2.yaml); the size is the "
            "distance to module 0 at 4 uV/e, 988 e (module0.yaml)",
            confidence="A",
            doc="Charge of one code, at nominal gain; 0 records every charge exactly.",
        ),
        Parameter(
            "bits",
            8.0,
            0.0,
            "1",
            (1.0, 24.0),
            source="LArPix (larnd-sim consts/detector.py)",
            confidence="A",
            doc="The largest code is 2^bits - 1.",
        ),
        Parameter(
            "pedestal",
            24.0,
            0.0,
            "1",
            (0.0, 2.0**24),
            source="LArPix: pedestal at 580 mV (larnd-sim 2x2.yaml)",
            confidence="A",
            doc="Code of no charge.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Round each cell's charge to a whole code."""
        rows = {
            name: torch.as_tensor(events.per_row(value), dtype=torch.float64, device=events.electrons.device)
            for name, value in values.items()
        }
        exact = rows["step"] == 0
        step = torch.where(exact, 1.0, rows["step"])
        low = -rows["pedestal"] * step
        code = adc_code(events.electrons, low, low + step, 1.0, rows["bits"])
        # The value of a code has no derivative by the charge: that of the rounded charge is what it stands for.
        return events.with_electrons(torch.where(exact, events.electrons, (code - rows["pedestal"]) * step))

    def check(self, values: Mapping[str, float], floor: float) -> None:
        """Refuse bits or a pedestal that are not whole, and a pedestal beyond the last code."""
        for name in ("bits", "pedestal"):
            if values[name] != int(values[name]):
                raise ConfigError(f"quantisation: {name} = {values[name]:g} is not a whole number.")
        if values["pedestal"] > 2.0 ** values["bits"] - 1.0:
            raise ConfigError(
                f"quantisation: pedestal = {values['pedestal']:g} is beyond the last code of {values['bits']:g} bits."
            )

    def least(self, level: float, values: Mapping[str, float]) -> float:
        """Return the smallest charge that is rounded to ``level`` or more."""
        step = values["step"]
        if step == 0 or math.isinf(level):
            return level
        if level <= -values["pedestal"] * step:
            return -math.inf
        return (math.ceil(level / step) - 0.5) * step


class AdcDigitize(Oracle):
    """Codes of Wire-Cell's digitiser (compiled) and of larnd-sim's (run with NumPy)."""

    name: ClassVar[str] = "adc_digitize"
    inputs: ClassVar[tuple[str, ...]] = ("implementation", "bits", "rounding", "V_mV", "vmin_mV", "vmax_mV")
    expected: ClassVar[Mapping[str, tuple[float, float]]] = {"code": (0.0, 0.0)}

    def compute(self, table: Mapping[str, npt.NDArray[np.str_]]) -> Mapping[str, npt.NDArray[np.float64]]:
        """Return the code of each voltage; ``rounding`` is 1 where codes are rounded to the nearest."""
        voltage, low, high, bits = (numbers(table[name]) for name in ("V_mV", "vmin_mV", "vmax_mV", "bits"))
        wirecell = np.char.startswith(table["implementation"], "wirecell")
        steps = np.where(wirecell, 2.0**bits - 1.0, 2.0**bits)
        arguments = [torch.from_numpy(column) for column in (voltage, low, high, steps, bits)]
        down, near = (adc_code(*arguments, nearest=nearest).numpy() for nearest in (False, True))
        return {"code": np.where(table["rounding"] == "1", near, down)}
