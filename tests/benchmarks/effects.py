"""Cost of each effect and of keyed draws, in copies of the same bytes and in torch's own normals."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from timing import interleaved, ratio

from shiftlab.detector import STAGES, Cells, ConfigError, Detector, Effect, Prepared, Stream, effects
from shiftlab.detector.effect import DEPOSIT_STAGES
from shiftlab.detector.hashing import COMPILE
from shiftlab.events.deposits import Deposits


@dataclass(frozen=True)
class Case:
    """An effect with what comes to its stage of the nominal chain, all of it and 16 rows, and values at one sigma."""

    effect: Effect[Any]
    state: Any
    small: Any
    values: dict[str, float]


def every_effect(chamber: Detector) -> tuple[Detector, list[str]]:
    """Return the chamber with every effect that pixels can have, and why others are left out."""
    made, left = [], []
    for name in effects().names():
        kind = effects().get(name)
        if kind.stage not in STAGES or kind.stage == "generate" or kind.readout not in ("any", "pixels"):
            continue
        try:
            effect = kind()
            others = tuple(one for one in chamber.effects if one.name != name)
            Detector("one", chamber.geometry, (*others, effect), allow_double_counting=True)
            made.append(effect)
        except ConfigError as error:
            left.append(f"{name} is left out: {error}")
    return Detector("all", chamber.geometry, tuple(made), allow_double_counting=True), left


def _case(effect: Effect[Any], chamber: Detector, prepared: Prepared) -> Case:
    values = {parameter.name: parameter.nominal for parameter in effect.parameters}
    moved = next((p for p in effect.parameters if p.sigma > 0 and p.requires is None), None)
    if moved is not None:
        values[moved.name] = moved.value(1.0)
    if effect.stage not in DEPOSIT_STAGES:
        cells = _before(chamber, prepared, effect)
        return Case(effect, cells, cells.rows(torch.arange(min(16, len(cells.cell)))), values)
    charge = prepared.charge
    columns = ("event", "position", "energy", "dedx", "electrons", "cosine", "local_field")
    given = {name: getattr(charge, name) for name in columns}
    few = {name: None if one is None else one[:16] for name, one in given.items()}
    return Case(effect, charge, replace(charge, **few), values)


def _before(chamber: Detector, prepared: Prepared, effect: Effect[Any]) -> Cells:
    """Return the nominal chamber's cells as they come to the stage of an effect."""
    chamber.image(prepared)
    place = STAGES.index(effect.stage)
    later = (i for i, s in enumerate(chamber._steps) if not isinstance(s, str) and STAGES.index(s.stage) >= place)
    last = next(later, len(chamber._steps))
    cells: Cells = prepared.kept.states[max(i for i in prepared.kept.states if i <= last)][0]
    return cells


def effect_rows(chamber: Detector, deposits: Deposits, budget: float) -> list[list[object]]:
    """Return per effect: name, stage, rows, nanoseconds a row, copies of its charge, microseconds of 16 rows."""
    prepared = chamber.prepare(deposits)
    found: list[list[object]] = []
    for effect in every_effect(chamber)[0].effects:
        case, stream = _case(effect, chamber, prepared), Stream(1, effect.name)
        charge = case.state.electrons
        buffer = torch.empty_like(charge)
        calls = {
            "copy": lambda buffer=buffer, charge=charge: buffer.copy_(charge),
            "effect": lambda case=case, stream=stream: case.effect.apply(case.state, case.values, stream),
            "small": lambda case=case, stream=stream: case.effect.apply(case.small, case.values, stream),
        }
        try:
            times = interleaved(calls, budget)
        except ConfigError as error:
            found.append([effect.name, effect.stage, str(error)[:40], 0.0, 0.0, 0.0])
            continue
        each = float(np.median(times["effect"]) / len(charge) * 1e9)
        few = float(np.median(times["small"]) * 1e6)
        found.append([effect.name, effect.stage, len(charge), each, ratio(times, "effect", "copy"), few])
    return found


def draw_rows(device: str, budget: float, compiled: bool) -> list[list[object]]:
    """Return per number of draws: nanoseconds of torch's normal_, and keyed normals over it, plain and compiled."""
    stream = Stream(1, "noise")
    found: list[list[object]] = []
    for count in (1 << 16, 1 << 20, 1 << 23):
        keys = torch.randint(-(2**62), 2**62, (count,), device=device)
        cells = torch.arange(count, device=device)
        buffer = torch.empty(count, device=device)
        calls = {
            "normal_": buffer.normal_,
            "randn": lambda n=count: torch.randn(n, device=device),
            "keyed": lambda k=keys, c=cells: stream.normal("cell", k, c),
        }
        if compiled:
            calls["compiled"] = lambda k=keys, c=cells: _compiled(stream, k, c)
            calls["compiled"]()  # compiles, which is not what is to be timed
        times = interleaved(calls, budget)
        ratios = [ratio(times, name, "normal_") for name in ("randn", "keyed")]
        last = ratio(times, "compiled", "normal_") if compiled else "not asked for"
        found.append([count, float(np.median(times["normal_"]) / count * 1e9), *ratios, last])
    return found


def _compiled(stream: Stream, keys: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    os.environ[COMPILE] = "1"
    try:
        return stream.normal("cell", keys, cells)
    finally:
        os.environ.pop(COMPILE)


def bandwidth(device: str, budget: float) -> float:
    """Return the bytes per second, read and written, of copying 256 MB into a reused buffer."""
    given = torch.zeros(1 << 25, dtype=torch.float64, device=device)
    buffer = torch.empty_like(given)
    times = interleaved({"copy": lambda: buffer.copy_(given)}, budget)
    return 2 * given.nbytes / float(np.median(times["copy"]))
