"""One resumable, deterministic training run: batches in a keyed order, AdamW, cosine rate, a state file."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Generator, Tensor, nn

from shiftlab.arms.recipe import Recipe
from shiftlab.errors import DataError, RunError
from shiftlab.provenance import write_whole

__all__ = ["Deadline", "Run", "Workshop", "keyed", "presentations", "train"]

_POINTS = 50
_WINDOW = 16
_EPSILON = 1e-6  # at a plateau smaller gradients are noise, which Adam would scale up to full steps


def keyed(*words: object) -> int:
    """Return a non-negative 63-bit seed that is a pure function of the words."""
    text = "/".join(str(word) for word in words)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def presentations(rows: Tensor, size: Tensor, total: int, batch: int, seed: int) -> list[Tensor]:
    """Return the batches of a training, each int64 (event,), as a pure function of the arguments.

    Every epoch is a permutation; inside windows of 16 batches events are sorted by ``size`` so that
    a batch has events of similar size and little padding, and the batches of a window are shuffled.

    Args:
        rows: int64 (event,), the events of the training.
        size: (all events,), size of each event.
        total: Number of presentations.
        batch: Events per batch.
        seed: Seed of the order.
    """
    if not len(rows):
        raise DataError("training: no event of the training sample has this task's truth. Choose another sample.")
    generator = torch.Generator().manual_seed(keyed(seed, "order"))
    epochs = math.ceil(total / len(rows))
    order = torch.cat([rows[torch.randperm(len(rows), generator=generator)] for _ in range(epochs)])[:total]
    found: list[Tensor] = []
    for window in torch.split(order, _WINDOW * batch):
        chunks = torch.split(window[torch.argsort(size[window], stable=True)], batch)
        found += [chunks[i] for i in torch.randperm(len(chunks), generator=generator).tolist()]
    return found


@dataclass(frozen=True)
class Deadline:
    """When a training must stop, by the monotonic clock, s; infinity for never."""

    at: float = math.inf

    def check(self, what: str) -> None:
        """Raise RunError when the time is over."""
        if time.monotonic() > self.at:
            raise RunError(f"training stopped at its time limit during {what}; the same command goes on from here.")


@dataclass(frozen=True)
class Run:
    """Where one training run stands and what it is called.

    Attributes:
        name: Say ``foundation seed 0 body``.
        seed: Seed of its draws.
        state: File that holds an unfinished run; removed by the caller when all is stored.
        identity: Digest of everything that decides the result; a state of another one is refused.
        every: Seconds between two writes of the state.
        deadline: When to stop.
        advance: Called with the number of events of each step.
    """

    name: str
    seed: int
    state: Path
    identity: str
    every: float = 20.0
    deadline: Deadline = Deadline()
    advance: Callable[[int], object] = lambda events: None


@dataclass(frozen=True)
class Workshop:
    """Where an arm is trained: its state files, who it is, when to stop and whom to tell.

    Attributes:
        folder: Folder of the state files.
        identity: Digest of recipe, sample, contract, arm and seed.
        deadline: When to stop.
        advance: Called with the number of events done.
    """

    folder: Path
    identity: str
    deadline: Deadline = Deadline()
    advance: Callable[[int], object] = lambda events: None

    def run(self, name: str, seed: int) -> Run:
        """Return the run of one stage of the training."""
        state = self.folder / f"{name.replace(' ', '-')}.safetensors"
        return Run(name, seed, state, self.identity, deadline=self.deadline, advance=self.advance)


def train(
    run: Run,
    module: nn.Module,
    batches: Sequence[Tensor],
    loss: Callable[[Tensor, Generator], Tensor],
    recipe: Recipe,
    *,
    peak: float,
    keys: Tensor,
    head_peak: float | None = None,
) -> list[float]:
    """Train ``module`` in place and return the loss curve, at most 50 points, each a mean over its steps.

    Each step is a pure function of the weights, the step number and the seed, so that a run that was
    stopped and continued ends with the same bits.

    Args:
        run: Name, seed and state file.
        module: What is trained; parameters that need no gradient stay.
        batches: Events of each step.
        loss: Gives the scalar loss of a batch; draws only from the given generator.
        recipe: Optimiser settings.
        peak: Peak learning rate.
        keys: int64 (all events,), event keys, for messages.
        head_peak: Peak learning rate of parameters named ``head.*``; that of all others when None.

    Raises:
        DataError: the loss is not finite; the message names the events of the batch.
        RunError: the time limit was reached, or the state file is of another training.
    """
    parameters = {name: value for name, value in module.named_parameters() if value.requires_grad}
    peaks = (peak, peak if head_peak is None else head_peak)
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    for name, parameter in parameters.items():
        parts[name.startswith("head.")].append(parameter)
    groups = [{"params": part} for part in parts]
    optimiser = torch.optim.AdamW(groups, lr=peak, weight_decay=recipe.decay, betas=(0.9, 0.98), eps=_EPSILON)
    losses = _resume(run, parameters, optimiser)
    run.advance(sum(len(batch) for batch in batches[: len(losses)]))
    written = time.monotonic()
    for step in range(len(losses), len(batches)):
        for group, top in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = recipe.rate_at(step, len(batches), top)
        value = loss(batches[step], torch.Generator().manual_seed(keyed(run.seed, run.name, step)))
        losses.append(float(value.detach()))
        if not math.isfinite(losses[-1]):
            raise DataError(
                f"{run.name}: the loss is {losses[-1]} at step {step}, events {keys[batches[step]].tolist()}."
            )
        optimiser.zero_grad()
        torch.autograd.backward(value)
        nn.utils.clip_grad_norm_(parameters.values(), recipe.clip)
        optimiser.step()
        run.advance(len(batches[step]))
        late = time.monotonic() > run.deadline.at
        if late or time.monotonic() - written > run.every or step + 1 == len(batches):
            _store(run, parameters, optimiser, losses)
            written = time.monotonic()
        if step + 1 < len(batches):
            run.deadline.check(run.name)
    return _curve(losses)


def _curve(losses: Sequence[float]) -> list[float]:
    points = min(_POINTS, len(losses))
    edges = [round(i * len(losses) / points) for i in range(points + 1)] if points else []
    return [round(math.fsum(losses[a:b]) / (b - a), 6) for a, b in pairwise(edges)]


def _store(run: Run, parameters: dict[str, nn.Parameter], optimiser: torch.optim.AdamW, losses: list[float]) -> None:
    tensors: dict[str, Tensor] = {}
    for name, value in parameters.items():
        moments = optimiser.state[value]
        tensors[f"value/{name}"] = value.detach().cpu().clone()
        tensors[f"first/{name}"] = moments["exp_avg"].cpu().clone()
        tensors[f"second/{name}"] = moments["exp_avg_sq"].cpu().clone()
    with write_whole(run.state) as path:
        save_file(tensors, path, metadata={"identity": run.identity, "losses": json.dumps(losses)})


def _resume(run: Run, parameters: dict[str, nn.Parameter], optimiser: torch.optim.AdamW) -> list[float]:
    """Fill weights and moments from the state file, if there is one; return the losses so far."""
    if not run.state.is_file():
        return []
    with safe_open(run.state, framework="pt") as file:
        about = file.metadata()
        if about.get("identity") != run.identity:
            raise RunError(f"'{run.state}' is the unfinished training of another recipe or sample. Train with --fresh.")
        losses: list[float] = json.loads(about["losses"])
        with torch.no_grad():
            for name, value in parameters.items():
                value.copy_(file.get_tensor(f"value/{name}"))
                optimiser.state[value] = {
                    "step": torch.tensor(float(len(losses))),
                    "exp_avg": file.get_tensor(f"first/{name}").to(value.device),
                    "exp_avg_sq": file.get_tensor(f"second/{name}").to(value.device),
                }
    return losses
