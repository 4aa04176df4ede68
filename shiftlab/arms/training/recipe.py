"""How arms are trained: presentations, optimiser and schedule, as plain values that a checkpoint records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from shiftlab.arms.bodies import bodies
from shiftlab.arms.body import Body
from shiftlab.errors import ConfigError

__all__ = ["NETWORKS", "OBJECTIVES", "Recipe"]

NETWORKS: Final = {"images": "voxel_transformer", "tokens": "token_transformer"}
"""Body by kind of events, where none is named."""

OBJECTIVES: Final = {"images": "masked_modelling", "tokens": "classify_and_generate"}
"""Objective of the pre-training by kind of events, where none is named."""

_LEAST: Final = {"validate_every": 0, "patience": 0, "labels": 0, "pieces": 1, "batch": 1, "gentle_batch": 1}
_PRECISIONS: Final = ("float32", "bf16")
_OPTIONAL: Final = (
    "ema",
    "validation",
    "validate_every",
    "patience",
    "precision",
    "compile",
    "pieces",
    "objective",
    "finetune",
    "finetune_rate",
    "frozen",
    "multitask",
    "labels",
)


@dataclass(frozen=True)
class Recipe:
    """Settings of a training; one presentation is one event shown to a network once.

    Attributes:
        body: Presentations of the pre-training of the shared body.
        head: Presentations of each head on the frozen body, of the task's own events.
        scratch: Presentations of each network that is trained from scratch.
        finetune: Presentations of each network that starts from the foundation model.
        multitask: Presentations of the network that learns all tasks from scratch, for each task.
        labels: Labelled events of each task that heads and networks are trained on, pre-training apart; 0 for all.
        objective: Objective of the pre-training.
        batch: Events per step.
        body_rate: Peak learning rate of AdamW in pre-training.
        head_rate: The same for heads, on a frozen body or on one that learns with them.
        scratch_rate: The same for bodies trained from scratch.
        finetune_rate: The same for bodies that start from the foundation model; below ``head_rate``.
        frozen: Share of the fine-tuning in which the body stays frozen and the head alone is trained.
        gentle: Tasks whose gradient is mostly noise; their networks from scratch learn at ``gentle_rate``,
            body and head, in batches of ``gentle_batch``.
        gentle_rate: See ``gentle``.
        gentle_batch: See ``gentle``.
        decay: Weight decay.
        warm_up: Fraction of the steps in which the rate climbs from 0; then it falls as a cosine to 0.
        clip: Largest norm of the gradient.
        ema: Decay per step of the running average of the weights; 0 for no average.
        validation: Fraction of the training vertices that is held out to judge the training; 0 for none.
        validate_every: Steps between two validations; a twentieth of the training when 0.
        patience: Validations without a lower loss after which a training ends; 0 for never.
        precision: ``float32``, or ``bf16`` for matrix products in bfloat16 with weights in float32.
        compile: Compile the repeated blocks of a network (``torch.compile``).
        pieces: Equal parts that each step's events are cut into, with draws of their own; processes that train
            together take whole pieces, and one process sums the gradients of its pieces one after another.
        event_trees: Trees of each of the classic arm's models of events.
        voxel_trees: The same of its models of blocks of voxels.
        voxel_events: Events whose blocks train those.
        network: Name of the bodies.
        size: Their size: one of their names, or the numbers themselves.
    """

    body: int = 25_000
    head: int = 32_000
    scratch: int = 25_000
    finetune: int = 25_000
    multitask: int = 25_000
    labels: int = 0
    objective: str = "masked_modelling"
    batch: int = 16
    body_rate: float = 1.5e-3
    head_rate: float = 3e-3
    scratch_rate: float = 1e-3
    finetune_rate: float = 3e-4
    frozen: float = 0.2
    gentle: tuple[str, ...] = ("electron_gamma",)
    gentle_rate: float = 5e-4
    gentle_batch: int = 32
    decay: float = 0.05
    warm_up: float = 0.05
    clip: float = 1.0
    ema: float = 0.0
    validation: float = 0.0
    validate_every: int = 0
    patience: int = 0
    precision: str = "float32"
    compile: bool = False
    pieces: int = 1
    event_trees: int = 200
    voxel_trees: int = 16
    voxel_events: int = 4_000
    network: str = "voxel_transformer"
    size: str | Mapping[str, Any] = "tiny"

    def fresh_body(self, contract: Any) -> Body:
        """Return an untrained body for input of the given contract."""
        return bodies().get(self.network).fresh(self.size, contract)

    def __post_init__(self) -> None:
        """Refuse settings that make no sense.

        Raises:
            ConfigError: a setting is out of its range.
        """
        if self.precision not in _PRECISIONS:
            raise ConfigError(f"recipe.precision is '{self.precision}'; it is one of {', '.join(_PRECISIONS)}.")
        for name in ("ema", "validation", "frozen"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ConfigError(f"recipe.{name} is {value}; it lies in [0, 1).")
        if not 0 <= self.warm_up <= 1 or self.decay < 0 or not self.clip > 0:
            raise ConfigError(
                f"recipe.warm_up is {self.warm_up}, decay {self.decay} and clip {self.clip}; they lie in [0, 1], "
                "at 0 or above, and above 0."
            )
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ConfigError(f"recipe.{name} is {getattr(self, name)}; it is {least} or more.")

    def adjusted(
        self, *, validate_every: int | None, patience: int | None, ema: float | None, precision: str | None
    ) -> Recipe:
        """Return the settings with those replaced that are not None."""
        return replace(
            self,
            validate_every=self.validate_every if validate_every is None else validate_every,
            patience=self.patience if patience is None else patience,
            ema=self.ema if ema is None else ema,
            precision=self.precision if precision is None else precision,
        )

    def rate_at(self, step: int, steps: int, peak: float) -> float:
        """Return the learning rate of step ``step`` (from 0) of ``steps``."""
        climb = max(1, round(self.warm_up * steps))
        if step < climb:
            return peak * (step + 1) / climb
        return peak * 0.5 * (1 + math.cos(math.pi * (step - climb) / max(1, steps - climb)))

    def from_scratch(self, task: str) -> Recipe:
        """Return the settings that a network from scratch for this task is trained with."""
        if task not in self.gentle:
            return self
        rate = self.gentle_rate
        return replace(self, batch=self.gentle_batch, scratch_rate=rate, head_rate=rate)

    def plain(self) -> dict[str, Any]:
        """Return the settings as a JSON value; those of ``_OPTIONAL`` that are off are left out.

        The identity of a checkpoint is made from this, and shall outlive settings that it does not use.
        """
        off = {
            item.name for item in fields(self) if item.name in _OPTIONAL and getattr(self, item.name) == item.default
        }
        plain = {name: value for name, value in asdict(self).items() if name not in off}
        return {**plain, "gentle": list(self.gentle)}

    def presented(self, arm: str, tasks: int) -> int:
        """Return all presentations of one seed of an arm, pre-training apart, for the progress bar."""
        each = {
            "foundation": self.head,
            "random": self.head,
            "finetuned": self.finetune,
            "scratch": self.scratch,
            "multitask": self.multitask,
        }
        return tasks * each.get(arm, 0)
