"""Arms: named ways of producing all task outputs from images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch

from shiftlab.arms.arm import Arm, Outputs
from shiftlab.arms.contract import InputContract
from shiftlab.arms.observation import Observation
from shiftlab.errors import ConfigError
from shiftlab.events.image import Image
from shiftlab.registry import Registry
from shiftlab.tasks.task import Task
from shiftlab.tasks.voxel_truth import VoxelTruth

__all__ = ["Arm", "InputContract", "Observation", "Outputs", "arms", "load_arms", "predict_all"]


@cache
def arms() -> Registry[Arm]:
    """Return the register of arms, filled from the entry-point group ``shiftlab.arms``."""
    return Registry("shiftlab.arms", Arm, "arm")  # type: ignore[type-abstract]


def load_arms(
    folder: Path | str,
    names: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Arm, ...]:
    """Return the trained arms of a checkpoint folder.

    Args:
        folder: A folder of checkpoints, say ``studies/checkpoints/demo``.
        names: Which arms, in this order; all that the folder has when None.
        seeds: Which seeds of each; all that the folder has when None.
        device: Where networks go.

    Raises:
        ConfigError: a checkpoint is missing or does not fit.
        UnknownNameError: no arm has a given name.
    """
    folder = Path(folder)
    known = arms()
    if names is None:
        names = [name for name in known.names() if (folder / name).is_dir()]
    found = []
    for name in names:
        kind = known.get(name)
        there = sorted(int(path.name.removeprefix("seed")) for path in (folder / name).glob("seed*"))
        found += [kind.load(folder, seed, device) for seed in (there if seeds is None else seeds)]
    if not found:
        raise ConfigError(
            f"no checkpoints in '{folder}' for arms {list(names) or 'of any name'}. `shiftlab train` makes them."
        )
    return tuple(found)


def predict_all(arms: Sequence[Arm], image: Image, truth: VoxelTruth | None, tasks: Sequence[Task]) -> list[Outputs]:
    """Return what ``Arm.predict`` returns for each arm, in their order.

    Voxels are grouped, laid beside the truth and summarised once for all arms of one input contract.
    """
    seen: dict[InputContract, Observation] = {}
    answers = []
    for arm in arms:
        if arm.contract not in seen:
            seen[arm.contract] = Observation(image, truth, arm.contract)
        answers.append(arm.answer(seen[arm.contract], tasks))
    return answers
