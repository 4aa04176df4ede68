"""Pre-training: a body learns from events without labels, and becomes a foundation model with its card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Generator, Tensor

from shiftlab.arms.foundation_model import FoundationModel
from shiftlab.arms.objective import Objective
from shiftlab.arms.objectives import objectives
from shiftlab.arms.training import Measured, Workshop, presentations, train
from shiftlab.arms.training.networks import divided, foreseeing, judge, seeded
from shiftlab.arms.training.recipe import Recipe
from shiftlab.arms.training.spending import counted, parameters, spent
from shiftlab.arms.training_set import TrainingSet
from shiftlab.provenance import versions

__all__ = ["LICENCE", "pretrain"]

LICENCE: Final = "CC-BY-4.0"
"""Licence of weights, unless the caller says another one."""


def pretrain(
    data: TrainingSet,
    seed: int,
    recipe: Recipe,
    workshop: Workshop,
    about: Mapping[str, Any] | None = None,
    *,
    name: str = "",
) -> FoundationModel:
    """Return a body that learned by the recipe's objective; one that was stopped goes on from its state file.

    Args:
        data: Events; their labels are not looked at.
        seed: Seed of initial weights, order and draws.
        recipe: Network, size, objective, presentations and optimiser.
        workshop: State files, deadline, progress.
        about: What the card says besides, say the samples and their digests.
        name: What the run is called; after the seed when empty.

    Raises:
        ConfigError: the objective cannot teach this body.
        DataError: the loss is not finite, or there are no events.
        RunError: the time limit was reached.
    """
    with seeded(seed, "pretraining"):
        body = recipe.fresh_body(data.contract)
        model = objectives().get(recipe.objective)(body).to(data.device)

    rows, judged = divided(data, data.seen, recipe, seed)
    batches = presentations(rows, data.size, recipe.body, recipe.batch, seed)
    run = workshop.run(name or f"pretraining seed{seed}", seed)
    with foreseeing(run, data, batches, recipe) as source:

        def loss(rows: Tensor, generator: Generator) -> Tensor | Measured:
            found: Tensor | Measured = model(source.batch(rows, generator).patches, generator)
            return found

        curve = train(
            run,
            model,
            batches,
            loss,
            recipe,
            peak=recipe.body_rate,
            keys=data.image.events.key,
            after_step=model.after_step,
            validation=judge(loss, [judged], recipe, seed),
        )
    card = {
        "seed": seed,
        "objective": _described(model),
        "recipe": recipe.plain(),
        "events": len(data.seen),
        "dataset": data.image.events.dataset,
        "curves": {"body": curve},
        "spent": counted({"pretraining": spent(run)}),
        "parameters": parameters(body),
        "licence": LICENCE,
        "versions": versions(),
    }
    return FoundationModel(body, {**card, **(about or {})}, torch.unique(data.image.events.vertex).cpu().numpy())


def _described(model: Objective) -> dict[str, Any]:
    return {"name": model.name, "augmentations": dict(model.augmentations)}
