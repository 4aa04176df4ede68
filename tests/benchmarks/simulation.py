"""Events/s of the simulation against calzone alone, with the same primaries, side by side on one core.

    python tests/benchmarks/simulation.py [--seconds 8] [--only e- gamma] [--json FILE]

"calzone" is the time in ``calzone.Simulation.run`` alone, with detailed deposits and tracking. "shiftlab" is all that
a sample takes: primaries, the same run, labels, placement, merging, the shard, and appending it to the sample's file.
Both are CPU seconds of this process, measured batch by batch in turn, so that a busy machine slows both alike.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from shiftlab.config import config_dir, locate
from shiftlab.events.keys import identities, identity, random_generator
from shiftlab.events.sample import SampleWriter
from shiftlab.events.simulation.campaign import PLACEMENTS, SIDES
from shiftlab.events.simulation.composition import Composition, compose_batch
from shiftlab.events.simulation.draws import stream_starts
from shiftlab.events.simulation.production import Names, carry
from shiftlab.events.simulation.recipe import Recipe
from shiftlab.events.simulation.shards import Shards
from shiftlab.events.simulation.tables import find_tables
from shiftlab.events.simulation.transport import Transport

BATCH = 200
NAMES = Names("benchmark", "benchmark", "benchmark/1")
SINGLES = {
    "mu- 1000 MeV": (13, 1000.0),
    "e- 1000 MeV": (11, 1000.0),
    "gamma 1000 MeV": (22, 1000.0),
    "pi+ 300 MeV": (211, 300.0),
    "pi- 300 MeV": (-211, 300.0),
    "p 300 MeV": (2212, 300.0),
}
RECIPES = ("lar_vertices", "lar_neutrino", "lar_particles", "ch_neutrino")


def single(pdg: int, kinetic: float) -> Callable[[int, int], Composition]:
    """Return what makes events of one particle in random directions."""

    def compose(start: int, stop: int) -> Composition:
        events = stop - start
        direction = random_generator("benchmark", pdg, start).normal(size=(events, 3))
        return Composition(
            kind=("single",) * events,
            vertex=identities("benchmark", range(start, stop)),
            weight=np.ones(events),
            neutrino_pdg=np.zeros(events),
            neutrino_energy=np.full(events, np.nan),
            event=np.arange(events),
            pdg=np.full(events, pdg),
            kinetic=np.full(events, kinetic),
            direction=direction / np.linalg.norm(direction, axis=1, keepdims=True),
        )

    return compose


def _calzone(simulation: Any, primaries: Composition, first: int) -> float:
    """Return the CPU seconds of calzone's run of the primaries, with the same random numbers: the same steps."""
    import calzone

    particles = calzone.particles(
        len(primaries.pdg),
        pid=primaries.pdg.astype(np.int32),
        energy=primaries.kinetic,
        position=[0.0, 0.0, 0.0],
        direction=primaries.direction,
    )
    place = np.arange(len(primaries.event)) - np.searchsorted(primaries.event, primaries.event)
    streams = [f"{first + event}/{n}" for event, n in zip(primaries.event.tolist(), place.tolist(), strict=True)]
    starts = stream_starts(f"{NAMES.vertices}/transport", streams)
    simulation.random = calzone.Random(identity(NAMES.vertices) % 2**62)
    began = time.process_time()
    simulation.run(particles, random_indices=starts)
    return time.process_time() - began


def measure(name: str, seconds: float, folder: Path) -> dict[str, float]:
    """Return events/s of calzone alone and of the whole, and their ratio; calzone gets ``seconds`` at least."""
    torch.set_num_threads(1)
    compose, medium = (single(*SINGLES[name]), "G4_lAr") if name in SINGLES else recipe(name)
    transport = Transport(find_tables(), side=SIDES[medium], material=medium)
    simulation = transport.open()
    placement, shards = PLACEMENTS[medium], Shards(folder, "benchmark")
    alone, ours = 0.0, 0.0
    with SampleWriter(folder / "sample.h5", attributes={}, box=((0.0, 0.0, 0.0), placement.box)) as writer:
        for number in count():  # the first round warms both up
            span = range(number * BATCH, (number + 1) * BATCH)
            began = time.process_time()
            primaries = compose(span.start, span.stop)
            deposits = carry(primaries, span.start, NAMES, transport, simulation, placement)
            shards.write(0, deposits, {})
            deposits = shards.read(0)
            writer.append(deposits)
            ours += (number > 0) * (time.process_time() - began)
            alone += (number > 0) * _calzone(simulation, primaries, span.start)
            if alone > seconds:
                break
        began = time.process_time()
    ours += time.process_time() - began  # closing the file
    events = number * BATCH
    return {"events": events, "calzone": events / alone, "shiftlab": events / ours, "ratio": alone / ours}


def recipe(name: str) -> tuple[Callable[[int, int], Composition], str]:
    """Return what makes the events of a shipped recipe, and their medium."""
    keys: Any = OmegaConf.to_container(OmegaConf.load(config_dir() / "simulation" / f"{name}.yaml"))
    made = Recipe.from_config(keys["events"], locate)
    if made.composer == "vertices":
        made = replace(made, rethrows=1000)
    return lambda start, stop: compose_batch(made, 1, start, stop), made.medium


def main() -> None:
    """Measure all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="of calzone alone, a row")
    parser.add_argument("--only", nargs="*", help="rows, by the beginning of their names")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows: dict[str, dict[str, float]] = {}
    print(f"{'events':<16} {'calzone/s':>10} {'shiftlab/s':>10} {'ratio':>6}")
    for name in (*SINGLES, *RECIPES):
        if given.only and not name.startswith(tuple(given.only)):
            continue
        # Geant4 keeps the first physics of a process, so each row has its own.
        with tempfile.TemporaryDirectory() as folder, get_context("spawn").Pool(1) as pool:
            rows[name] = pool.apply(measure, (name, given.seconds, Path(folder)))
        row = rows[name]
        print(f"{name:<16} {row['calzone']:10.1f} {row['shiftlab']:10.1f} {row['ratio']:6.2f}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
