"""The sub-command that makes events with Geant4: ``shiftlab simulate``."""

from __future__ import annotations

import argparse
import sys
import time
from types import TracebackType
from typing import Any, Self

__all__ = ["add"]

_DESCRIPTION = """\
Make events: a recipe of configs/simulation, carried by Geant4 (calzone). data, n and seed fix primaries, vertices
and placement; another transport.hadronic, .electromagnetic or .cut makes the twin of a sample on the same vertices.
A stopped command goes on where it was. The sample is the same for any number of workers."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the sub-command to the parser."""
    simulate = commands.add_parser(
        "simulate", parents=[common], help="make events with Geant4", description=_DESCRIPTION
    )
    simulate.add_argument(
        "words",
        nargs="*",
        metavar="KEY=VALUE",
        help="data=lar_neutrino n=1000 seed=1; out=FILE workers=2 batch=200; transport.hadronic=QGSP_BIC "
        "transport.electromagnetic=option1 transport.cut=0.05 transport.tables=FOLDER; events.KEY of the recipe",
    )
    simulate.add_argument("--fresh", action="store_true", help="discard the sample or the batches that are there")
    simulate.set_defaults(action=_simulate)


def _simulate(given: argparse.Namespace) -> int:
    """Make a sample and say how fast."""
    from shiftlab.config.simulation import compose_simulation

    job = compose_simulation(given.words)
    from shiftlab.events.simulation.campaign import simulate

    with _Progress(job.campaign.count, job.out.name) as progress:
        done = simulate(
            job.campaign,
            job.out,
            workers=job.workers,
            fresh=given.fresh,
            command=job.command,
            progress=progress,
        )
    if done.simulated == 0:
        print(f"{done.path}: {done.events} events; nothing was left to simulate")
        return 0
    rate = done.simulated / max(done.seconds, 1e-9)
    print(
        f"{done.path}: {done.events} events, {done.path.stat().st_size / 1e6:.1f} MB\n"
        f"{done.simulated} simulated in {done.seconds:.1f} s: {rate:.1f} events/s, "
        f"{rate / max(done.workers, 1):.1f} events/s per core ({done.workers} at work)"
    )
    return 0


class _Progress:
    """A bar on a terminal, else a line every half minute."""

    def __init__(self, total: int, name: str) -> None:
        from tqdm import tqdm

        self._total, self._name, self._done = total, name, 0
        self._last = time.monotonic()
        self._bar = tqdm(total=total, unit="event", desc=name, disable=not sys.stderr.isatty())

    def __enter__(self) -> Self:
        return self

    def __call__(self, events: int) -> None:
        """Count events."""
        self._done += events
        self._bar.update(events)
        if self._bar.disable and time.monotonic() - self._last > 30.0:
            self._last = time.monotonic()
            print(f"{self._name}: {self._done} of {self._total} events", file=sys.stderr, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
