"""A small real training for tests, also as a program, alone or under ``torchrun``: ``small_training.py FOLDER``.

It has all that a resumed training must bring back: moments, a running average, the best weights, a teacher that
follows the student, a counter, dropout, a frozen part, and a part that few steps use. With ``--kill-at`` a
process ends itself with SIGKILL in the loss of that call (under ``torchrun`` that of rank 1).
"""

import argparse
import json
import math
import os
import signal
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from shiftlab.arms.training import Deadline, Measured, Run, keyed, presentations, train
from shiftlab.arms.training.recipe import Recipe

STEPS, BATCH, EVENTS = 24, 12, 60
KEYS = torch.arange(EVENTS) + 500


class Student(nn.Module):
    """Learns y = f(x) beside what its own averaged teacher says."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, 8))
        self.teacher = nn.Sequential(nn.Linear(3, 16), nn.GELU(), nn.Dropout(0.0), nn.Linear(16, 8))
        self.teacher.load_state_dict(self.body.state_dict())
        self.teacher.requires_grad_(False)
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.seldom = nn.Linear(8, 1)
        self.out = nn.Linear(8, 1)
        self.register_buffer("steps", torch.zeros(()))

    def after_step(self, step: int, steps: int) -> None:
        """Let the teacher follow."""
        self.steps += 1
        with torch.no_grad():
            for old, new in zip(self.teacher.parameters(), self.body.parameters(), strict=True):
                old.lerp_(new, 0.1)


def fit(folder, kill_at=-1, pieces=1, spoil=-1, break_at=-1, tell=lambda loss: None, deadline=Deadline(), **options):  # noqa: B008
    """Run the training; return the module and the loss curve.

    The gradient of call ``spoil`` is not finite, nor is the loss of call ``break_at``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = Student()
    events = torch.randn(EVENTS, 3, generator=torch.Generator().manual_seed(2))
    calls = []

    def measured(rows, generator):
        """Mean over tokens: event i has i % 3 + 1 of them."""
        tokens = rows.repeat_interleave(rows % 3 + 1)
        x = events[tokens] + 0.05 * torch.randn(len(tokens), 3, generator=generator)
        features = module.frozen(module.body(x))
        answer = module.out(features)
        if torch.rand((), generator=generator) < 0.2:
            answer = answer + module.seldom(features)
        target = events[tokens].square().sum(1, keepdim=True)
        apart = (features - module.frozen(module.teacher(x))).square().mean()
        return Measured((answer - target).square().mean() + 0.1 * apart, float(len(tokens)), len(tokens))

    def loss(rows, generator):
        if len(calls) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        calls.append(rows)
        found = measured(rows, generator)
        if len(calls) - 1 == spoil:
            # The value is 0, its slope is not finite.
            return Measured(found.loss + (0 * module.out.bias.sum()).abs().sqrt(), found.weight, found.tokens)
        if len(calls) - 1 == break_at:
            return Measured(found.loss * math.nan, found.weight, found.tokens)
        return found

    def validation():
        assert not module.training
        return float(measured(torch.arange(EVENTS), torch.Generator().manual_seed(9)).loss)

    run = Run("small", 0, folder / "state", "x", every=0.0, deadline=deadline, curve=folder / "curve.csv", tell=tell)
    batches = presentations(torch.arange(EVENTS), torch.arange(EVENTS), STEPS * BATCH, BATCH, keyed("order"))
    curve = train(
        run,
        module,
        batches,
        loss,
        Recipe(batch=BATCH, pieces=pieces),
        peak=0.02,
        keys=KEYS,
        after_step=module.after_step,
        validation=validation,
        **{"every": 5, "ema": 0.9, **options},
    )
    return module, curve


def plain_gradient_step(folder, pieces):
    """Train a line without draws, its loss a mean over unequal numbers of tokens; return its weights."""
    module = nn.Linear(1, 1)
    nn.init.constant_(module.weight, 0.5)
    nn.init.constant_(module.bias, 0.1)

    def loss(rows, generator):
        x = rows.repeat_interleave(rows % 3 + 1).float()[:, None] / EVENTS
        return Measured((module(x) - x.square()).square().mean(), float(len(x)))

    batches = presentations(torch.arange(EVENTS), torch.arange(EVENTS), 3 * BATCH, BATCH, 0)
    train(Run("line", 0, folder / "state", "x"), module, batches, loss, Recipe(pieces=pieces), peak=0.01, keys=KEYS)
    return torch.cat([value.detach().flatten() for value in module.parameters()])


def killed(folder, points):
    """Start one process for each point, which ends itself there; return how each ended."""
    children = {}
    for at in points:
        child = os.fork()
        if not child:
            fit(folder / str(at), at)
            os._exit(0)
        children[at] = child
    return {at: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for at, child in children.items()}


def main():
    """Run as a program, alone or under torchrun."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pieces", type=int, default=1)
    parser.add_argument("--runs", nargs="*", default=["run"])
    parser.add_argument("--kill-at", type=int, nargs="*", default=[])
    parser.add_argument("--break-at", type=int, default=-1)
    given = parser.parse_args()
    if given.kill_at and "RANK" not in os.environ:
        print(json.dumps(killed(given.folder, given.kill_at)))
        return
    rank = os.environ.get("RANK", "0")
    kill_at = given.kill_at[0] if given.kill_at and rank == "1" else -1
    break_at = given.break_at if rank == "1" else -1
    for name in given.runs:
        trained, losses = fit(given.folder / name, kill_at, given.pieces, break_at=break_at)
        save_file(dict(trained.state_dict()), given.folder / f"{name}.{rank}", {"losses": json.dumps(losses)})


if __name__ == "__main__":
    main()
