"""One resumable, deterministic training: keyed batches, AdamW, cosine rate, running average, validation, state file."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from shiftlab.arms.repeatable import repeatable
from shiftlab.arms.training.curves import write_curve, write_origin
from shiftlab.arms.training.flops import metered
from shiftlab.arms.training.presentation import keyed
from shiftlab.arms.training.processes import Processes
from shiftlab.arms.training.recipe import Recipe
from shiftlab.arms.training.run import Deadline, Loss, Measured, Run
from shiftlab.arms.training.state import Progress, Standing
from shiftlab.errors import DataError

__all__ = ["train"]

_POINTS = 50
_VALIDATIONS = 20
_METERED = (3, 64)  # operations are counted in the first 3 steps and in every 64th
_REMEDY = "Lower the learning rate, or look at the events."
_EPSILON = 1e-6  # at a plateau smaller gradients are noise, which Adam would scale up to full steps


def train(
    run: Run,
    module: nn.Module,
    batches: Sequence[Tensor],
    loss: Loss,
    recipe: Recipe,
    *,
    peak: float,
    keys: Tensor,
    head_peak: float | None = None,
    validation: Callable[[], float] | None = None,
    every: int | None = None,
    patience: int | None = None,
    ema: float | None = None,
    after_step: Callable[[int, int], object] | None = None,
    device: torch.device | str | None = None,
    precision: str | None = None,
) -> list[float]:
    """Train ``module`` in place and return the loss curve, at most 50 points, each a mean over its steps.

    Each step is a pure function of the weights, the step number and the seed, so that a run that was
    stopped and continued ends with the same bits on the same machine: sums have a fixed order (``repeatable``).
    torch's own generator is seeded anew for each step, for dropout, and left as it was found. The module ends with
    the weights of the lowest validation loss; without validation with the running average; without that with the
    last.

    Under ``torchrun`` every process calls this with the same arguments and takes its pieces of each step
    (``recipe.pieces``). A piece has draws of its own and the gradient is the mean over pieces, weighted by
    their number of events or by ``Measured.weight``: the network depends on the pieces, not on how many
    processes share them, but for the order of sums. Buffers that a loss changes are those of rank 0.

    Args:
        run: Name, seed and state file.
        module: What is trained; parameters that need no gradient stay, unless ``after_step`` moves them.
        batches: Events of each step.
        loss: Gives the mean loss of some events; draws only from the given generator.
        recipe: Optimiser settings; the default of every argument below that is None.
        peak: Peak learning rate.
        keys: int64 (all events,), event keys, for messages.
        head_peak: Peak learning rate of parameters named ``head.*``; that of all others when None.
        validation: Gives a loss on events that are not trained on, the lower the better; called on rank 0 with the
            weights that are judged in place, in evaluation mode, without gradients, in float32.
        every: Steps between two validations; a twentieth of the training when 0.
        patience: Validations without a lower loss after which the training ends; 0 for never.
        ema: Decay per step of the running average of the weights; 0 for no average.
        after_step: Called after every step with its number (from 0) and the number of steps.
        device: Where the module is moved; it stays when None.
        precision: ``float32``, or ``bf16`` for matrix products in bfloat16 with weights in float32.

    Raises:
        DataError: the loss or its gradient is not finite; the message names the events.
        RunError: the time limit was reached, or the state file is of another training.
        ConfigError: the pieces do not go round the processes.
    """
    if device is not None:
        module.to(device)
    recipe = recipe.adjusted(validate_every=every, patience=patience, ema=ema, precision=precision)
    trainer = _Trainer(run, module, batches, loss, recipe, (peak, peak if head_peak is None else head_peak), keys)
    trainer.validation, trainer.after_step = validation, after_step
    cuda = [trainer.device] if trainer.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), repeatable(trainer.device):
        trainer.work()
    return _curve(trainer.progress.losses)


class _Trainer:
    validation: Callable[[], float] | None = None
    after_step: Callable[[int, int], object] | None = None

    def __init__(
        self,
        run: Run,
        module: nn.Module,
        batches: Sequence[Tensor],
        loss: Loss,
        recipe: Recipe,
        peaks: tuple[float, float],
        keys: Tensor,
    ) -> None:
        self.run, self.batches, self.loss, self.recipe, self.peaks, self.keys = run, batches, loss, recipe, peaks, keys
        parts: tuple[list[Tensor], list[Tensor]] = ([], [])
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                parts[name.startswith("head.")].append(parameter)
        groups = [{"params": part} for part in parts]
        self.optimiser = torch.optim.AdamW(
            groups, lr=peaks[0], weight_decay=recipe.decay, betas=(0.9, 0.98), eps=_EPSILON
        )
        self.standing = Standing(module, self.optimiser, recipe.ema)
        self.device = next((value.device for value in module.parameters()), torch.device("cpu"))
        self.processes = Processes.here(self.device)
        self.pieces = self.processes.own(recipe.pieces)
        self.progress = Progress()
        self.distinct = len(np.unique(torch.cat(list(batches)).cpu())) if len(batches) else 0
        if recipe.compile:
            _compile_blocks(module)

    def work(self) -> None:
        """Go on from the state file to the end."""
        self.progress = self.standing.resume(self.run.state, self.run.identity)
        done = len(self.progress.losses)
        self.run.advance(sum(len(batch) for batch in self.batches[:done]))
        self.processes.agree(self.standing.module.state_dict().values())
        if self.run.curve is not None and self.processes.first:
            write_origin(self.run.curve, self._about())
            if self.progress.rows:
                # A process that ended between the two files left a curve behind its state.
                write_curve(self.run.curve, self.progress.rows)
        written, last = time.monotonic(), len(self.batches) - 1
        for step in range(done, len(self.batches)):
            if self.progress.finished:
                break
            started = time.monotonic()
            late = self._step(step)
            self.progress.wall += time.monotonic() - started
            self._point(step)
            self.progress.finished |= step == last
            self.run.advance(len(self.batches[step]))
            self.run.tell(self.progress.losses[-1])
            if late or time.monotonic() - written > self.run.every or self.progress.finished:
                self._write()
                written = time.monotonic()
            if late and not self.progress.finished:
                Deadline(-math.inf).check(self.run.name)  # whatever the clock of this process says
        self.standing.settle()

    def _step(self, step: int) -> bool:
        """Move the weights by one step and note what it took; return whether the time is over."""
        for group, top in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = self.recipe.rate_at(step, len(self.batches), top)
        self.optimiser.zero_grad()
        late = self.run.deadline.over
        found = self.processes.gather([[*self._piece(step, piece), float(late)] for piece in self.pieces])
        loss = self._mean_loss(step, found)
        trained = self.standing.trained
        self.processes.sum_gradients(trained.values())
        if self.recipe.pieces > 1:
            weight = math.fsum(row[1] for row in found) or 1.0
            for value in trained.values():
                if value.grad is not None:
                    value.grad /= weight
        norm = float(nn.utils.clip_grad_norm_(trained.values(), self.recipe.clip))
        if not math.isfinite(norm):
            raise DataError(
                f"{self.run.name}: the gradient is {norm} at step {step}, events {self._named(step)}. {_REMEDY}"
            )
        self.optimiser.step()
        self.processes.agree(self.standing.module.buffers())
        if self.after_step is not None:
            self.after_step(step, len(self.batches))
        self.standing.follow(step)
        self._note(step, loss, found)
        return found[0][4] > 0

    def _piece(self, step: int, piece: int) -> tuple[float, float, float, float]:
        """Add the gradient of one piece of a step; return its loss, weight, tokens and operations."""
        rows = self.batches[step][piece :: self.recipe.pieces]
        if not len(rows):
            return 0.0, 0.0, 0.0, 0.0
        words = (self.run.seed, self.run.name, step, *([piece] if self.recipe.pieces > 1 else []))
        # Dropout draws from torch's own generator, and must not repeat the numbers that the loss draws.
        torch.manual_seed(keyed(*words, "dropout"))
        half = torch.autocast(self.device.type, torch.bfloat16) if self.recipe.precision == "bf16" else nullcontext()
        with metered(self._is_metered(step), self.recipe.compile) as meter:
            with half:
                found = self.loss(rows, torch.Generator().manual_seed(keyed(*words)))
            if not isinstance(found, Measured):
                found = Measured(found, float(len(rows)))
            value = float(found.loss.detach())
            if math.isfinite(value):
                torch.autograd.backward(found.loss if self.recipe.pieces == 1 else found.loss * found.weight)
        return value, found.weight, float(found.tokens), float(meter.flops)

    def _mean_loss(self, step: int, found: Sequence[Sequence[float]]) -> float:
        for piece, row in enumerate(found):
            if not math.isfinite(row[0]):
                events = self._named(step, piece)
                raise DataError(f"{self.run.name}: the loss is {row[0]} at step {step}, events {events}. {_REMEDY}")
        if len(found) == 1:
            return found[0][0]
        return math.fsum(row[0] * row[1] for row in found) / (math.fsum(row[1] for row in found) or 1.0)

    def _named(self, step: int, piece: int | None = None) -> list[int]:
        rows = self.batches[step] if piece is None else self.batches[step][piece :: self.recipe.pieces]
        names: list[int] = self.keys[rows.to(self.keys.device)].tolist()
        return names

    def _is_metered(self, step: int) -> bool:
        return self.run.curve is not None and (step < _METERED[0] or step % _METERED[1] == 0)

    def _note(self, step: int, loss: float, found: Sequence[Sequence[float]]) -> None:
        progress, events = self.progress, len(self.batches[step])
        tokens, flops = sum(row[2] for row in found), sum(row[3] for row in found)
        progress.losses.append(loss)
        progress.samples += events
        progress.tokens += int(tokens)
        size = tokens or float(events)
        operations, sizes = progress.measured
        if self._is_metered(step):
            progress.measured = (operations + flops, sizes + size)
        elif sizes:
            flops = operations / sizes * size
        progress.flops += flops

    def _point(self, step: int) -> None:
        """Validate and add a point to the curve where one is due."""
        steps, done = len(self.batches), step + 1
        every = self.recipe.validate_every or max(1, steps // (_VALIDATIONS if self.validation else _POINTS))
        if done % every and done != steps:
            return
        value = None if self.validation is None else self._validate(self.validation)
        progress = self.progress
        before = int(progress.rows[-1]["step"] or 0) if progress.rows else 0
        progress.rows.append(
            {
                "step": done,
                "samples": progress.samples,
                "tokens": progress.tokens or None,
                "flops": progress.flops if progress.measured[1] else None,
                "wall_s": round(progress.wall, 3),
                "train_loss": math.fsum(progress.losses[before:]) / (done - before),
                "validation_loss": value,
                "learning_rate": self.recipe.rate_at(step, steps, self.peaks[0]),
                "epoch": progress.samples / self.distinct,
            }
        )

    def _validate(self, validation: Callable[[], float]) -> float:
        """Judge the weights on rank 0, keep them when they are the best, and see whether it is time to end."""
        with self.standing.judged():
            value = self.processes.told(float(validation()) if self.processes.first else math.nan)
            if not math.isfinite(value):
                step = len(self.progress.losses)
                raise DataError(f"{self.run.name}: the validation loss is {value} after {step} steps. {_REMEDY}")
            better = self.progress.best is None or value < self.progress.best
            if better:
                self.standing.keep()
        self.progress.best = value if better else self.progress.best
        self.progress.waited = 0 if better else self.progress.waited + 1
        self.progress.finished |= 0 < self.recipe.patience <= self.progress.waited
        return value

    def _write(self) -> None:
        if not self.processes.first:
            return
        self.standing.write(self.run.state, self.run.identity, self.progress)
        if self.run.curve is not None:
            write_curve(self.run.curve, self.progress.rows)

    def _about(self) -> dict[str, object]:
        return {
            "run": self.run.name,
            "seed": self.run.seed,
            "identity": self.run.identity,
            "recipe": self.recipe.plain(),
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type,
            "processes": self.processes.count,
            "threads": torch.get_num_threads(),
        }


def _compile_blocks(module: nn.Module) -> None:
    """Compile each repeated block of a network in place, as PyTorch advises for transformers (regional compilation).

    Blocks of one kind share one compiled program, for any number of tokens.
    """
    for part in module.modules():
        if isinstance(part, nn.ModuleList):
            for block in part:
                block.compile(dynamic=True)


def _curve(losses: Sequence[float]) -> list[float]:
    points = min(_POINTS, len(losses))
    edges = [round(i * len(losses) / points) for i in range(points + 1)] if points else []
    return [round(math.fsum(losses[a:b]) / (b - a), 6) for a, b in pairwise(edges)]
