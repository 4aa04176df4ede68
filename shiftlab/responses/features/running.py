"""The pass that makes the features: every chosen body over the same events in every universe, chunk by chunk."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from shiftlab.arms import Arm
from shiftlab.arms.given import Given, given, moved
from shiftlab.arms.head_slopes import ROUTES, HeadSlopes, first_order, head_slopes
from shiftlab.arms.repeatable import repeatable
from shiftlab.arms.token_limit import TokenLimit
from shiftlab.arms.tokens.observation import observe
from shiftlab.detector import NOMINAL, Universe
from shiftlab.detector.recorder import Recorder
from shiftlab.errors import DataError
from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.events.tokens import Tokens
from shiftlab.provenance import canonical_json, provenance_record
from shiftlab.responses.features.bodies import BodyWithHeads, bodies_of
from shiftlab.responses.features.store import Features, dataset
from shiftlab.responses.shards import chunks
from shiftlab.tasks import Task

__all__ = ["feature_universes", "run_bodies"]

Arrays = dict[str, NDArray[np.float32]]


def feature_universes(universes: Sequence[Universe]) -> tuple[Universe, ...]:
    """Return the nominal universe and those that displace one nuisance, without recalibration, in their order."""
    return (NOMINAL, *(u for u in universes if u.group == "unisim" and u.recalibrate == "none"))


@dataclass(frozen=True)
class _Plan:
    """What all chunks have in common."""

    events: Deposits | Tokens
    detector: Recorder
    universes: tuple[Universe, ...]
    bodies: tuple[BodyWithHeads, ...]
    tasks: tuple[Task, ...]
    variations: Mapping[str, Deposits]
    limit: TokenLimit
    device: str


def run_bodies(
    events: Deposits | Tokens,
    detector: Recorder,
    universes: Sequence[Universe],
    arms: Sequence[Arm],
    tasks: Sequence[Task],
    *,
    most: int = 256,
    chunk: int = 64,
    variations: Mapping[str, Deposits] | None = None,
    most_tokens: int | None = None,
    workers: int = 1,
    device: str = "cpu",
    progress: bool | None = None,
) -> Features:
    """Return the features of at most ``most`` evaluated events in every universe, the same events in all.

    Events are taken evenly from those that any task evaluates, so that all samples are there in their shares. Chunks
    do not know of each other, so that the number of workers changes no number.

    Args:
        events: Of the evaluation sample; tokens where the detector takes them.
        detector: The detector.
        universes: The nominal one first; none recalibrated on muons.
        arms: Arms of networks, all seeds of each.
        tasks: What the heads are asked.
        most: Events.
        chunk: Events at a time: 64 take a few megabytes with all slopes, and give chunks enough to share.
        variations: The same events by another model, by effect, in their order (``shiftlab.events.pair``).
        most_tokens: As of ``respond``.
        workers: Threads that share the chunks.
        device: torch device.
        progress: True or False to show or hide the bar on stderr; None shows it on a terminal.

    Raises:
        ConfigError: an arm has no network, or none is given.
        DataError: no event is evaluated, or a body looks at none in the nominal universe.
    """
    for task in tasks:
        events = events if isinstance(events, Tokens) else task.with_truth(events)
    bodies = tuple(bodies_of(arms, tasks, device))
    rows = _chosen(events.events, tasks, most)
    chosen = events.take(rows.tolist())
    twins = {name: twin.take(rows.tolist()) for name, twin in (variations or {}).items()}
    limit = TokenLimit(most_tokens)
    plan = _Plan(chosen, detector, tuple(universes), bodies, tuple(tasks), twins, limit, device)
    parts = chunks(len(rows), chunk)
    shown = sys.stderr.isatty() if progress is None else progress
    interval = 0.1 if sys.stderr.isatty() else 15.0
    total = len(parts) * len(universes)
    with tqdm(desc="features", total=total, unit="unit", mininterval=interval, disable=not shown) as bar:
        found = _shared_out(partial(_chunk, plan, bar), parts, workers, device)
    coordinates = _coordinates(chosen.events, universes)
    made = {"events": len(rows), "of_events": len(events), "chunk": chunk, "device": device}
    return Features(
        {body.name: _dataset(body, [part[b] for part in found], coordinates) for b, body in enumerate(bodies)},
        provenance_record({**made, "detector": detector.to_dict(), "universes": [u.to_dict() for u in universes]}),
    )


def _chosen(events: EventTable, tasks: Sequence[Task], most: int) -> NDArray[np.int64]:
    """Return the places of the events, taken evenly from those that any task evaluates."""
    evaluated = np.flatnonzero(np.logical_or.reduce([task.evaluated(events) for task in tasks]))
    if not len(evaluated):
        raise DataError("no event is evaluated by any task, so there are no features to compare.")
    places = np.rint(np.linspace(0, len(evaluated) - 1, min(most, len(evaluated)))).astype(np.int64)
    return np.asarray(evaluated[np.unique(places)], dtype=np.int64)


def _shared_out(work: Any, parts: Sequence[range], workers: int, device: str) -> list[list[_Part]]:
    """Compute all chunks, each thread with its share of torch's threads."""
    before = torch.get_num_threads()
    workers = max(1, min(workers, len(parts)))
    torch.set_num_threads(max(1, before // workers))
    try:
        with repeatable(device), ThreadPoolExecutor(workers) as pool:
            return list(pool.map(work, parts))
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Part:
    """What one chunk gave on one body.

    Attributes:
        layers: (universe, event, feature) by layer.
        answers: (seed, universe, route, event, output) by task.
        matched: int64 (universe,), nominal tokens that are there again.
        new: int64 (universe,), tokens that nominal lacks.
        tokens: Nominal tokens in all.
        shape: Universes and events.
    """

    layers: Arrays
    answers: Arrays
    matched: NDArray[np.int64]
    new: NDArray[np.int64]
    tokens: int
    shape: tuple[int, int]


def _chunk(plan: _Plan, bar: Any, part: range) -> list[_Part]:
    """Run every body on one chunk in every universe; only the nominal one is kept whole."""
    rows = list(part)
    twins = {name: twin.take(rows).to(plan.device) for name, twin in plan.variations.items()}
    events: Any = plan.events.take(rows).to(plan.device)
    prepared = plan.detector.prepare(events, twins)
    states = [_State(body, len(rows), len(plan.universes), plan.tasks) for body in plan.bodies]
    for number, universe in enumerate(plan.universes):
        image = plan.detector.image(prepared, universe)
        contracts = dict.fromkeys(body.contract for body in plan.bodies)
        seen = {contract: observe(image, None, contract, plan.limit) for contract in contracts}
        for state in states:
            state.add(number, given(state.body.body, seen[state.body.contract]))
        bar.update()
    return [state.part() for state in states]


class _State:
    """One body's numbers of one chunk, as its universes come in; the first is the nominal one."""

    def __init__(self, body: BodyWithHeads, events: int, universes: int, tasks: Sequence[Task]) -> None:
        self.body = body
        self._shape = (universes, events)
        self._tasks = {task.name: task for task in tasks}
        self._layers: Arrays = {}
        self._answers: Arrays = {}
        self._matched, self._new = np.zeros((2, universes), dtype=np.int64)
        self._nominal: Given | None = None
        self._slopes: dict[tuple[int, str], HeadSlopes] = {}
        for _, name in body.heads:
            shape = (len(body.seeds), universes, 2, events, self._tasks[name].outputs)
            self._answers.setdefault(name, np.full(shape, np.nan, dtype=np.float32))

    def add(self, universe: int, one: Given | None) -> None:
        """Take the features of a universe; events that the nominal one lacks have no first-order answer."""
        if one is not None:
            for name, values in one.layers.items():
                blank = np.full((*self._shape, values.shape[1]), np.nan, dtype=np.float32)
                self._layers.setdefault(name, blank)[universe, one.events] = values
        if universe == 0 and one is not None:
            self._nominal = one
            self._slopes = {key: head_slopes(head, one) for key, head in self.body.heads.items()}
        if self._nominal is None:
            return
        change = moved(self._nominal, one)
        self._matched[universe] = int(change.found.sum())
        self._new[universe] = (0 if one is None else len(one.encoded.tokens)) - self._matched[universe]
        for (seed, name), slopes in self._slopes.items():
            found = first_order(self._tasks[name], slopes, self._nominal, change).float().cpu().numpy()
            self._answers[name][self.body.seeds.index(seed), universe][:, self._nominal.events] = found

    def part(self) -> _Part:
        """Return all of it."""
        tokens = 0 if self._nominal is None else len(self._nominal.encoded.tokens)
        return _Part(self._layers, self._answers, self._matched, self._new, tokens, self._shape)


def _coordinates(table: EventTable, universes: Sequence[Universe]) -> dict[str, Any]:
    moved_by = [universe.nuisances[0] if universe.nuisances else ("", 0.0) for universe in universes]
    return {
        "universe": [universe.name for universe in universes],
        "nuisance": ("universe", [name for name, _ in moved_by]),
        "strength": ("universe", np.array([strength for _, strength in moved_by])),
        "throw": ("universe", np.array([universe.throw for universe in universes], dtype=np.int64)),
        "event": table.key.cpu().numpy(),
        "vertex_uid": ("event", table.vertex.cpu().numpy()),
        "route": list(ROUTES),
    }


def _dataset(body: BodyWithHeads, parts: Sequence[_Part], coordinates: Mapping[str, Any]) -> Any:
    """Lay the chunks of one body side by side."""
    names = list(dict.fromkeys(name for part in parts for name in part.layers))
    if not names:
        raise DataError(f"arm '{body.arm}' looks at none of the chosen events: all images are empty or too long.")
    tokens = sum(part.tokens for part in parts)
    layers = {name: np.concatenate([_layer(part, parts, name) for part in parts], axis=1) for name in names}
    answers = {name: np.concatenate([part.answers[name] for part in parts], axis=3) for name in parts[0].answers}
    attrs = {"arm": body.arm, "task": body.task, "not_linear": canonical_json(dict(body.reasons))}
    counted = {name: np.array([getattr(part, name) for part in parts]).sum(axis=0) for name in ("matched", "new")}
    shares = {name: number / max(1, tokens) for name, number in counted.items()}
    return dataset(layers, answers, shares, {**coordinates, "seed": np.array(body.seeds)}, attrs)


def _layer(part: _Part, parts: Sequence[_Part], name: str) -> NDArray[np.float32]:
    """Return one layer of a chunk; NaN for a chunk without a single token."""
    if name in part.layers:
        return part.layers[name]
    width = next(other.layers[name].shape[2] for other in parts if name in other.layers)
    return np.full((*part.shape, width), np.nan, dtype=np.float32)
