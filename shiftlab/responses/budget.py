"""The budget of a run: how many passes it makes, and how long that takes at the measured rate."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Final

import torch

from shiftlab.arms import body_passes
from shiftlab.events import concatenate, open_events
from shiftlab.events.tokens import concatenate_tokens
from shiftlab.responses.shards import Unit, chunks, save_events
from shiftlab.responses.workers import Job, Worker

__all__ = ["Budget", "measure"]

_PROBE: Final = 64
"""Events of the probe, taken evenly from the sample."""


@dataclass(frozen=True)
class Budget:
    """What is to be done and how fast it goes.

    Attributes:
        bodies: body passes for one event, over all arms, seeds and tasks.
        universes: number of universes.
        events: number of events.
        done: share of the units that an earlier run has left.
        rate: events that one worker images and passes through all arms, per second.
        workers: number of workers.
    """

    bodies: int
    universes: int
    events: int
    done: float
    rate: float
    workers: int

    @property
    def seconds(self) -> float:
        """Expected time, s."""
        return (1.0 - self.done) * self.universes * self.events / (self.rate * self.workers)

    def __str__(self) -> str:
        """Return the budget in one line."""
        passes = self.bodies * self.universes * self.events
        left = f", {self.done:.0%} of it done before" if self.done else ""
        return (
            f"responses: {self.bodies} bodies x {self.universes} universes x {self.events:,} events = {passes:,} passes"
            f"{left}; measured {self.rate * self.workers:,.0f} events/s with {self.workers} worker(s): "
            f"about {_span(self.seconds)}"
        )


def measure(job: Job, *, done: float, workers: int) -> Budget:
    """Return the budget of ``job`` at the rate of a probe of a few events in the nominal universe."""
    with open_events(job.events) as source:
        events = len(source)
        step = max(1, events // _PROBE)
        joined = concatenate_tokens if source.holds == "tokens" else concatenate
        probe = joined([source.read(slice(i, i + 1)) for i in range(0, events, step)])
    path = job.events.with_name("probe.h5")
    save_events(path, probe)
    before = torch.get_num_threads()
    torch.set_num_threads(job.threads)
    try:
        worker = Worker(replace(job, events=path, chunk=events))
        worker.compute(Unit(0, 0))
        start = time.perf_counter()
        worker.compute(Unit(0, 0))
        elapsed = time.perf_counter() - start
    finally:
        torch.set_num_threads(before)
    probed = len(chunks(events, step))
    bodies = body_passes(worker.arms)
    return Budget(bodies, len(job.universes), events, done, probed / max(elapsed, 1e-9), workers)


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
