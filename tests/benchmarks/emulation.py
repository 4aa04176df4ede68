"""Cost and closure of emulated universes on the shipped sample and models: ``python tests/benchmarks/emulation.py``.

Run it alone with one thread (``OMP_NUM_THREADS=1``). Times are processor seconds, so that a busy machine changes them
little. The direct time holds everything, also the preparation of the events and the loading of the models.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from timing import table

from shiftlab.arms import load_arms
from shiftlab.config import locate
from shiftlab.detector import NOMINAL, Universe, detector, multisim, unisim
from shiftlab.events import Deposits, read
from shiftlab.responses import Responses, respond
from shiftlab.responses.emulation import EmulationSettings, Emulator, differentiate, emulator
from shiftlab.tasks import CANDIDATES, named_tasks

MAPS = ("gain_spread", "dead_channels_fraction", "dead_chips_fraction")
EVENT_TASKS = ("electron_gamma", "flavour", "energy")
DISPLACED = Universe("gain_scale+1", (("gain_scale", 1.0),), group="unisim")
T = TypeVar("T")


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--events", type=int, default=60)
    given.add_argument("--universes", type=int, default=1000)
    given.add_argument("--tests", type=int, default=8)
    given.add_argument("--seed", type=int, default=0, help="of the arms")
    given.add_argument("--only", nargs="*", default=None, help="nuisances; all when left out")
    given.add_argument("--gradients", action="store_true", help="also differentiate the shared model, and compare")
    given.add_argument("--folder", type=Path, default=None, help="keeps the direct responses")
    words = given.parse_args()
    torch.set_num_threads(1)
    direct, seconds = responses(words)
    names = words.only or [nuisance.name for nuisance in detector("pixel_lar").nuisances]
    asked = [only(one, names) for one in multisim(detector("pixel_lar"), words.universes, seed=2)]
    rules = {
        "quadratic": EmulationSettings(form="quadratic"),
        "piecewise linear": EmulationSettings(form="interpolated", anchors=(1.0,)),
        "piecewise linear, four strengths": EmulationSettings(form="interpolated", anchors=(1.0, 2.0)),
    }
    for form, rule in rules.items():
        maker, closing = timed(lambda rule=rule: emulator(direct, settings=rule, refuse=False))
        _, making = timed(lambda maker=maker: [len(block.emulated) for block in maker.blocks(asked)])
        show(form, maker)
        if seconds:
            cost(words.universes, len(direct.universes), seconds, closing, making)
    if words.gradients:
        gradients(words, direct)


def responses(words: argparse.Namespace) -> tuple[Responses, float]:
    """Direct responses of nominal, unisims at one and two sigma and joint universes, and the seconds they took."""
    chamber = detector("pixel_lar")
    names = words.only or [nuisance.name for nuisance in chamber.nuisances]
    throws = {name: 1 for name in MAPS if name in names}
    single = unisim(chamber, (-2.0, -1.0, 1.0, 2.0), throws=throws, only=names, unphysical="leave_out")
    joint = [replace(only(one, names), throw=0) for one in multisim(chamber, words.tests, seed=1)]
    file = words.folder / "responses.h5" if words.folder else None
    if file is not None and file.exists():
        return Responses.load(file), 0.0
    events = sample(words.events)
    arms = [arm for arm in load_arms(locate("studies/checkpoints/demo")) if arm.seed == words.seed]
    if words.folder:
        words.folder.mkdir(parents=True, exist_ok=True)
    return timed(lambda: respond(events, chamber, [*single, *joint], arms, folder=words.folder, progress=False))


def sample(count: int) -> Deposits:
    """``count`` candidates of the shipped sample, taken evenly."""
    whole = read(locate("studies/samples/lar_evaluation.h5"))
    rows = [i for i, name in enumerate(whole.events.sample) if name in CANDIDATES]
    return whole.take(rows[:: max(1, len(rows) // count)][:count])


def gradients(words: argparse.Namespace, direct: Responses) -> None:
    """Derivatives by every smooth nuisance beside the finite responses, and what they and one universe cost."""
    events, chamber, tasks = sample(words.events), detector("pixel_lar"), named_tasks(EVENT_TASKS)
    (arm,) = (arm for arm in load_arms(locate("studies/checkpoints/demo"), ["foundation"], [words.seed]))
    slopes, differentiating = timed(lambda: differentiate(events, chamber, arm, tasks))
    _, twice = timed(lambda: respond(events, chamber, [NOMINAL, DISPLACED], [arm], tasks=tasks, progress=False))
    maker = emulator(direct, tasks=EVENT_TASKS, gradients=[slopes], refuse=False)
    rows = [
        [one.task, one.nuisance, one.autodiff, one.finite, one.error, one.relative, one.used]
        for one in maker.agreements
    ]
    columns = ["task", "nuisance", "autodiff", "finite", "error", "relative", "used"]
    print(table("mean response per sigma", columns, [["-" if x is None else x for x in row] for row in rows]))
    print(
        table(
            "cost of responses",
            ["what", "seconds"],
            [[f"{len(slopes.nuisances)} nuisances by derivative", differentiating], ["two direct universes", twice]],
        )
    )


def only(universe: Universe, names: list[str]) -> Universe:
    """The universe with some nuisances, the others at nominal."""
    return replace(universe, nuisances=tuple(one for one in universe.nuisances if one[0] in names))


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """What a call gives and the processor seconds that it takes."""
    start = time.process_time()
    found = call()
    return found, time.process_time() - start


def show(form: str, maker: Emulator) -> None:
    rows = []
    for one in maker.closures:
        single = [check for check in one.checks if check.kind == "strength"]
        worst = max(single, key=one.relative, default=None)
        events = float(np.mean([check.events for check in one.checks if check.kind == "joint"]))
        name = f"{worst.universe} {one.relative(worst):.0%}" if worst else "-"
        rows.append([f"{one.arm} {one.task}", one.joint, one.noise, one.expected, one.error, events, name])
    columns = ["arm and task", "joint", "noise", "joint shift", "stat. error", "events", "worst strength"]
    print(table(f"closure error of the {form} response", columns, rows))


def cost(universes: int, direct: int, seconds: float, closing: float, making: float) -> None:
    each = seconds / direct
    rows: list[list[object]] = [
        [f"{universes} direct universes", each * universes, 1.0],
        [f"{universes} emulated universes", making, making / (each * universes)],
        ["the same with measured closure", making + closing, (making + closing) / (each * universes)],
        [f"the same with the {direct} direct ones", making + closing + seconds, 0.0],
    ]
    rows[-1][2] = float(rows[-1][1]) / (each * universes)  # type: ignore[arg-type]
    print(table("cost", ["what", "seconds", "ratio"], rows))


if __name__ == "__main__":
    main()
