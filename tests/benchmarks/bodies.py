"""Speed of the bodies: events and tokens a second, packed against padded, and what of the machine's rate is reached.

Run it alone: ``OMP_NUM_THREADS=1 python tests/benchmarks/bodies.py``. What is compared is called in turn, in one run.
On the CPU all is in float32 and times are those of one processor, so that other work on the machine counts little; on
CUDA products are in bfloat16, compared with the rate of a product in bfloat16, and times are elapsed ones.
Nothing here is a test.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from passes import sample
from timing import Times, ratio, settle, table
from torch import Tensor

from shiftlab.arms.bodies import bodies
from shiftlab.arms.body import Body
from shiftlab.arms.heads import head_for
from shiftlab.arms.objectives import objectives
from shiftlab.arms.parts import batches
from shiftlab.arms.patches import Patches, group
from shiftlab.arms.ragged import Ragged
from shiftlab.arms.training.flops import metered
from shiftlab.arms.training_set import input_contract
from shiftlab.detector import NOMINAL, Detector, Universe, detector
from shiftlab.events.deposits import Deposits
from shiftlab.tasks import named_tasks

SAMPLE = Path(__file__).parents[2] / "studies" / "samples" / "lar_evaluation.h5"
SIZES = ("tiny", "small", "base")
KINDS = ("voxel_transformer",)
BATCH = 16
SHIFTS = {"gain_scale": "amplify", "lifetime_tau": "drift", "recombination_alpha": "recombine"}

Rows = list[list[object]]


def precision(device: str) -> AbstractContextManager[object]:
    """Return bfloat16 products on CUDA, and nothing else elsewhere."""
    return torch.autocast("cuda", torch.bfloat16) if device == "cuda" else nullcontext()


def cut(patches: Patches) -> list[Patches]:
    """Return the batches that a network answers in: events by length, of one padded size."""
    ascending = patches.take(torch.argsort(patches.lengths))
    return [ascending.between(a, b) for a, b in batches(ascending.lengths.tolist())]


def in_turn(calls: Mapping[str, Callable[[], object]], budget: float, device: str) -> Times:
    """Return the seconds of each call, (round,), without the first round; all are called once a round."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in calls}
    begin = time.perf_counter()
    while (spent := time.perf_counter() - begin) < budget or (
        len(times[next(iter(times))]) < 4 and spent < 10 * budget
    ):
        for name, call in calls.items():
            settle()
            start = clock()
            call()
            settle()
            times[name].append(clock() - start)
    return {name: np.array(taken[1:] or taken) for name, taken in times.items()}


def fresh(part: Patches) -> Patches:
    """Return a copy that has kept nothing of an earlier pass."""
    return replace(part, near=replace(part.near))


def forward(body: Body, parts: Sequence[Patches], device: str) -> None:
    with torch.inference_mode(), precision(device):
        for part in parts:
            body(fresh(part))


def backward(body: Body, parts: Sequence[Patches], device: str) -> None:
    for part in parts:
        with precision(device):
            loss = body(fresh(part)).tokens.float().square().mean()
        torch.autograd.backward(loss)


def flops(call: Callable[[], None]) -> float:
    with metered() as meter:
        call()
    return float(meter.flops)


def rate_rows(patches: Patches, device: str, budget: float) -> Rows:
    """Return events and tokens a second of each body, forward and both ways, and the part of a product's rate."""
    parts = cut(patches)
    events, tokens = len(patches), len(patches.position)
    rows: Rows = []
    for kind in KINDS:
        for size in SIZES:
            body = bodies().get(kind).fresh(size, _contract()).to(device)
            width, wide = body.plain()["width"], body.plain()["width"] * body.plain()["expansion"]
            length = max(len(part.position) for part in parts)
            left, right = (torch.randn(shape, device=device) for shape in ((length, width), (width, wide)))
            if device == "cuda":
                left, right = left.bfloat16(), right.bfloat16()
            repeats = max(1, round(2e8 / (2 * length * width * wide)))

            def product(left: Tensor = left, right: Tensor = right, repeats: int = repeats) -> None:
                for _ in range(repeats):
                    torch.mm(left, right)

            calls: dict[str, Callable[[], None]] = {
                "forward": lambda body=body: forward(body, parts, device),
                "both ways": lambda body=body: backward(body, parts, device),
            }
            counted = {name: flops(call) for name, call in calls.items()}
            times = in_turn({"product": product, **calls}, budget, device)
            peak = 2 * length * width * wide * repeats / times["product"]
            for name in calls:
                seconds = float(np.median(times[name]))
                part = float(np.median(counted[name] / times[name] / peak))
                million = sum(value.numel() for value in body.parameters()) / 1e6
                rows.append([f"{kind} {size}, {name}", million, events / seconds, tokens / seconds, part])
    return rows


def padding_rows(patches: Patches, device: str, budget: float) -> Rows:
    """Return the time of the layers of a body on padded over packed batches of 16, as they come and sorted by size."""
    rows: Rows = []
    orders = {"as they come": torch.arange(len(patches)), "sorted by length": torch.argsort(patches.lengths)}
    for size in SIZES:
        body = bodies().get("voxel_transformer").fresh(size, _contract()).to(device).eval()
        for name, order in orders.items():
            taken = patches.take(order.to(patches.offsets.device))
            pieces = [taken.between(a, min(a + BATCH, len(taken))) for a in range(0, len(taken), BATCH)]
            packed = [piece.offsets for piece in pieces]
            padded = [torch.arange(len(o), device=o.device) * int(o.diff().max()) for o in packed]
            calls: dict[str, Callable[[], None]] = {}
            for way, offsets in (("packed", packed), ("padded", padded)):
                x = [torch.randn(int(one[-1]), body.plain()["width"], device=device) for one in offsets]
                calls[f"{way}, forward"] = lambda x=x, offsets=offsets, body=body: layers(body, x, offsets, device)
                calls[f"{way}, both ways"] = lambda x=x, offsets=offsets, body=body: layers(
                    body, x, offsets, device, True
                )
            times = in_turn(calls, budget, device)
            filled = sum(int(one[-1]) for one in packed) / sum(int(one[-1]) for one in padded)
            rows.append(
                [
                    f"{size}, {name}",
                    filled,
                    *(ratio(times, f"padded, {w}", f"packed, {w}") for w in ("forward", "both ways")),
                ]
            )
    return rows


def layers(body: Body, x: Sequence[Tensor], offsets: Sequence[Tensor], device: str, gradient: bool = False) -> None:
    """Pass tokens through the layers; a padded batch is one of equal lengths, without the cost of its mask."""
    for tokens, one in zip(x, offsets, strict=True):
        ragged, place = Ragged.of(one), torch.zeros(len(tokens), 3, device=device)
        with torch.set_grad_enabled(gradient), precision(device):
            for block in body.blocks:
                tokens = block(tokens, place, ragged)
        if gradient:
            torch.autograd.backward(tokens.float().square().mean())


def share_rows(chamber: Detector, deposits: Deposits, device: str, budget: float) -> Rows:
    """Return milliseconds an event and universe of shift, image, grouping, bodies and heads."""
    prepared = chamber.prepare(deposits.to(device))
    chamber.image(prepared, NOMINAL)
    image = chamber.image(prepared, NOMINAL)
    patches = group(image, _contract())
    parts = cut(patches)
    tasks = [task for task in named_tasks() if task.input == "images"]
    calls: dict[str, Callable[[], object]] = {
        f"shift and image, {name} ({stage})": lambda name=name: chamber.image(
            prepared, Universe(name, ((name, 1.0),), group="unisim")
        )
        for name, stage in SHIFTS.items()
    }
    calls["group voxels into patches"] = lambda: group(image, _contract())
    for kind in KINDS:
        for size in SIZES:
            body = bodies().get(kind).fresh(size, _contract()).to(device).eval()
            calls[f"{kind} {size}, forward"] = lambda body=body: forward(body, parts, device)
    body = bodies().get("voxel_transformer").fresh("tiny", _contract()).to(device).eval()
    heads = [head_for(task, body).to(device).eval() for task in tasks]
    with torch.inference_mode(), precision(device):
        encoded = [body(fresh(part)) for part in parts]

    def ask() -> None:
        with torch.inference_mode(), precision(device):
            for one in encoded:
                for head in heads:
                    head(one)

    calls[f"all {len(heads)} heads on one pass of voxel_transformer tiny"] = ask
    times = in_turn(calls, 4 * budget, device)
    return [
        [name, *(float(f(taken)) / len(deposits) * 1e3 for f in (np.median, np.min))] for name, taken in times.items()
    ]


def objective_rows(patches: Patches, device: str, budget: float) -> Rows:
    """Return events a second of a pre-training step without its optimiser, forward and backward, batches of 16."""
    rows: Rows = []
    pieces = [patches.between(a, a + BATCH) for a in range(0, min(len(patches), 4 * BATCH) - BATCH + 1, BATCH)]
    for kind in KINDS:
        for size in SIZES[:2]:
            calls: dict[str, Callable[[], None]] = {}
            for name in ("masked_modelling", "self_distillation"):
                model = objectives().get(name)(bodies().get(kind).fresh(size, _contract())).to(device)

                def step(model: torch.nn.Module = model) -> None:
                    generator = torch.Generator().manual_seed(0)
                    for piece in pieces:
                        with precision(device):
                            loss = model(piece, generator)
                        torch.autograd.backward(getattr(loss, "loss", loss))

                calls[name] = step
            times = in_turn(calls, budget, device)
            rate = [len(pieces) * BATCH / float(np.median(taken)) for taken in times.values()]
            rows.append([f"{kind} {size}", *rate, ratio(times, "self_distillation", "masked_modelling")])
    return rows


def spread(patches: Patches) -> str:
    """Return the quartiles of the number of patches an event."""
    low, middle, high = np.percentile(patches.lengths.cpu().numpy(), [25, 50, 75])
    return f"{low:.0f}, {middle:.0f} and {high:.0f} patches an event (quartiles), longest {int(patches.lengths.max())}"


def _contract() -> object:
    return input_contract(detector("pixel_lar"))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, default=SAMPLE)
    parser.add_argument("--events", type=int, default=96)
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each group of things in turn")
    parser.add_argument("--out", type=Path, default=None, help="JSON file of all tables")
    return parser.parse_args()


def main() -> None:
    given = options()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    start = time.perf_counter()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    chamber = detector("pixel_lar")
    deposits = sample(given.file)
    deposits = deposits.take(list(range(min(given.events, len(deposits)))))
    image = chamber.image(deposits)
    patches = group(image, _contract())
    patches = patches.take(torch.nonzero(patches.lengths > 0).squeeze(1)).to(device)
    card = torch.cuda.get_device_name() if device == "cuda" else "none"
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{platform.machine()}, card {card}, torch {torch.__version__}, one thread, {load}")
    print(
        f"{len(patches)} muon-neutrino events, {len(patches.value) / len(patches):.0f} voxels an event; "
        f"{spread(patches)}"
    )
    seconds = given.seconds
    makers: dict[str, tuple[str, str, Callable[[], Rows]]] = {
        "rates": (
            "Bodies in the batches of an evaluation",
            "body,million weights,events/s,tokens/s,part of a product's rate",
            lambda: rate_rows(patches, device, seconds),
        ),
        "padding": (
            f"Layers on batches of {BATCH}: time of padded over packed",
            "size and order,places that are tokens,forward,both ways",
            lambda: padding_rows(patches, device, seconds),
        ),
        "shares": (
            "One universe, ms an event",
            "step,median,least",
            lambda: share_rows(chamber, deposits, device, seconds),
        ),
        "objectives": (
            f"Pre-training, forward and backward, events/s in batches of {BATCH}",
            "body,masked modelling,self-distillation,time ratio",
            lambda: objective_rows(patches, device, seconds),
        ),
    }
    found = {}
    for name, (title, columns, make) in makers.items():
        rows = make()
        print(table(title, columns.split(","), rows), flush=True)
        found[name] = {"title": title, "columns": columns.split(","), "rows": rows}
    print(f"\n{time.perf_counter() - start:.0f} s in all, load {os.getloadavg()[0]:.1f}")
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(found, indent=1, allow_nan=False), encoding="utf-8")


if __name__ == "__main__":
    main()
