"""One pass of the chain over a batch of events, which a shifted universe enters where it departs from the nominal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Literal, TypeAlias

import torch
from torch import Tensor

from shiftlab.detector.effect import DEPOSIT_STAGES, LATTICE_STAGES, PLACING_STAGES, Effect
from shiftlab.detector.footprint import Footprint, footprint
from shiftlab.detector.nuisances import Values
from shiftlab.detector.state import Cells, Charge
from shiftlab.detector.stream import Memory, Stream

__all__ = ["KEPT_FLOOR", "Batch", "Kept", "Pass", "Step", "steps_of"]

KEPT_FLOOR: Final = 0.9
"""Kept nominal cells hold all charge above this part of the nominal floor, so that shifts of gain and threshold, which
move the floor by a few per cent, can start from them; a universe with a lower floor starts at the read-out."""

State: TypeAlias = Charge | Cells
Step: TypeAlias = Effect[Any] | Literal["collect", "convolve", "deconvolve"]
"""An effect, or what the detector itself does between two of them."""


def steps_of(effects: Sequence[Effect[Any]]) -> tuple[Step, ...]:
    """Return the argon chain from the charge set free to the cells that are calibrated, in order."""
    steps: list[Step] = [effect for effect in effects if effect.stage in DEPOSIT_STAGES]
    steps.append("collect")
    for stage in LATTICE_STAGES:
        if stage == "add_noise":
            steps.append("convolve")
        elif stage == "threshold":
            steps.append("deconvolve")
        steps.extend(effect for effect in effects if effect.stage == stage)
    return tuple(steps)


@dataclass
class Kept:
    """Nominal states of a batch of events, before each step, as far as universes have asked for them.

    States are pure functions of the events and the detector, so keeping them changes no number. Those behind an
    effect that drew per throw hold for that throw only. Together they take at most as much memory again as the batch
    itself (``Batch.parts``); what does not fit is computed anew.

    Attributes:
        owner: the steps and seed of the detector, and the charge, whose states they are.
        states: by number of the step, the state before it and the throw for which it holds, None for any.
    """

    owner: tuple[object, ...] = ()
    states: dict[int, tuple[State, int | None]] = field(default_factory=dict)

    def latest(self, owner: tuple[object, ...], last: int, throw: int) -> tuple[int, State | None, int | None]:
        """Return the last kept state before step ``last`` or an earlier one, with its number and its throw."""
        if len(owner) != len(self.owner) or any(a is not b for a, b in zip(owner, self.owner, strict=True)):
            self.owner = owner
            self.states.clear()
        usable = [i for i, (_, held) in self.states.items() if i <= last and held in (None, throw)]
        return (max(usable), *self.states[max(usable)]) if usable else (0, None, None)

    def keep(self, number: int, state: State, throw: int | None, parts: Sequence[object]) -> None:
        """Keep the state before a step if all of them then add no more bytes to ``parts`` than these have."""
        known = self.states.get(number)
        if known is not None and known[1] in (None, throw):
            return
        others = [kept for i, (kept, _) in self.states.items() if i != number]
        if bytes_of([*parts, *others, state]) <= 2 * bytes_of(parts):
            self.states[number] = state, throw


@dataclass(frozen=True)
class Batch:
    """Events made ready for a detector, as a pass needs them.

    Attributes:
        charge: charge set free.
        footprint: which cells collect it where nothing moves it.
        cells: those cells, without charge.
        memory: event-scope draws at these cells.
        kept: nominal states of earlier passes; None keeps nothing.
    """

    charge: Charge
    footprint: Footprint
    cells: Cells
    memory: Memory
    kept: Kept | None

    @property
    def parts(self) -> tuple[object, ...]:
        """What the batch itself holds; its kept states may take as much again."""
        return self.charge, self.footprint, self.cells


@dataclass(frozen=True)
class Pass:
    """A universe's way through the chain.

    Attributes:
        steps: the detector's.
        values: of all parameters in the universe.
        nominal: the same in the nominal universe.
        floor: least charge after read-out that can pass the universe's threshold.
        nominal_floor: the same in the nominal universe.
        seed: of the draws.
        throw: of the universe.
        mev: calibration of the universe, for effects that need energies: ``Cells.mev``.
    """

    steps: tuple[Step, ...]
    values: Values
    nominal: Values
    floor: float
    nominal_floor: float
    seed: int
    throw: int
    mev: Tensor | None = None

    def record(self, batch: Batch) -> Cells:
        """Return the cells before calibration."""
        departs = self._departure()
        number, state, held = 0, None, None
        if batch.kept is not None:
            number, state, held = batch.kept.latest((self.steps, self.seed, batch.charge), departs, self.throw)
        state = batch.charge if state is None else state
        low = self._kept_floor() if batch.kept is not None and departs > self.steps.index("collect") else self.floor
        drawn: list[str] = [] if held is None else ["kept"]
        for i in range(number, len(self.steps)):
            if i <= departs and batch.kept is not None and i > 0:
                batch.kept.keep(i, state, self.throw if drawn else None, batch.parts)
            if i == departs and isinstance(state, Cells):
                state = replace(state, floor=torch.full_like(state.floor, self.floor))
            state = self._step(self.steps[i], state, batch, low if i < departs else self.floor, drawn)
        if batch.kept is not None and departs == len(self.steps):
            batch.kept.keep(departs, state, self.throw if drawn else None, batch.parts)
        assert isinstance(state, Cells)
        return state

    def _departure(self) -> int:
        """Return the number of the first step at which the universe may differ from the nominal one.

        A step that needs energies may, since calibration is each universe's own.
        """
        collect = self.steps.index("collect")
        for i, step in enumerate(self.steps):
            if isinstance(step, str):
                if step == "collect" and self.floor < self._kept_floor():
                    return collect
            elif self.values[step.name] != self.nominal[step.name] or "mev" in step.needs:
                return i
        return len(self.steps)

    def _kept_floor(self) -> float:
        return KEPT_FLOOR * self.nominal_floor if self.nominal_floor > 0 else self.nominal_floor

    def _step(self, step: Step, state: State, batch: Batch, floor: float, drawn: list[str]) -> State:
        if not isinstance(step, str):
            memory = batch.memory if isinstance(state, Cells) else None
            if isinstance(state, Cells) and "mev" in step.needs:
                state = replace(state, mev=self.mev)
            stream = Stream(self.seed, step.name, self.throw, memory, drawn)
            after: State = step.apply(state, self.values[step.name], stream)
            return after
        if isinstance(state, Charge):
            return self._collect(state, batch, floor)
        return state.geometry.convolve(state) if step == "convolve" else state.geometry.deconvolve(state)

    def _collect(self, charge: Charge, batch: Batch, floor: float) -> Cells:
        """Return the cells that collect what arrives, anew where a universe moves charge."""
        cells, shares = batch.cells, batch.footprint
        placing = [s.name for s in self.steps if not isinstance(s, str) and s.stage in PLACING_STAGES]
        if any(self.values[name] != self.nominal[name] for name in placing):
            shares, event, cell = footprint(charge, charge.geometry)
            cells = replace(cells, event=event, key=cells.table.key[event], cell=cell)
        return replace(cells, electrons=shares.collect(charge.electrons), floor=torch.full_like(cells.floor, floor))


def bytes_of(parts: Sequence[object]) -> int:
    """Return the bytes of the tensors of some records; one that several share counts once."""
    found: dict[int, int] = {}
    for part in parts:
        for one in fields(part):  # type: ignore[arg-type]
            value = getattr(part, one.name)
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())
