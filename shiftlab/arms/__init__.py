"""Arms: named ways of producing all task outputs from images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from shiftlab.arms.arm import Arm, Outputs
from shiftlab.arms.contract import InputContract
from shiftlab.arms.network import answer_together
from shiftlab.arms.network_arm import NetworkArm, OneBody
from shiftlab.arms.observation import Observation
from shiftlab.arms.token_limit import TokenLimit
from shiftlab.arms.tokens.observation import observe
from shiftlab.errors import ConfigError
from shiftlab.events.image import Image
from shiftlab.events.tokens import Tokens
from shiftlab.registry import Registry
from shiftlab.tasks.task import Task
from shiftlab.tasks.voxel_truth import VoxelTruth

__all__ = [
    "Arm",
    "InputContract",
    "Observation",
    "Outputs",
    "arms",
    "body_groups",
    "body_passes",
    "foundations",
    "load_arms",
    "observe_all",
    "predict_all",
]


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
        ConfigError: a checkpoint is missing or does not fit, or a folder of an arm is named otherwise than its seed.
        UnknownNameError: no arm has a given name.
    """
    folder = Path(folder)
    known = arms()
    if names is None:
        names = [name for name in known.names() if (folder / name).is_dir()]
    found = []
    for name in names:
        kind = known.get(name)
        there = _seeds(folder / name) if seeds is None else seeds
        found += [kind.load(folder, seed, device) for seed in there]
    if not found:
        raise ConfigError(
            f"no checkpoints in '{folder}' for arms {list(names) or 'of any name'}. `shiftlab train` makes them."
        )
    return tuple(found)


def _seeds(folder: Path) -> list[int]:
    """Return the seeds of an arm, by the names of their folders."""
    try:
        return sorted(int(path.name.removeprefix("seed")) for path in folder.glob("seed*"))
    except ValueError as error:
        raise ConfigError(f"checkpoints of '{folder}': folders are named seed0, seed1, ...; {error}.") from error


def body_groups(arms: Sequence[Arm]) -> list[list[int]]:
    """Return which arms share the passes of one frozen body, as lists of their places; most are alone."""
    groups: dict[object, list[int]] = {}
    for place, arm in enumerate(arms):
        frozen = arm.frozen_body if isinstance(arm, OneBody) else ""
        groups.setdefault(frozen or place, []).append(place)
    return list(groups.values())


def body_passes(arms: Sequence[Arm]) -> int:
    """Return the passes through a network body that one event costs when all arms are asked all tasks."""
    return sum(arms[group[0]].bodies for group in body_groups(arms))


def foundations(arms: Sequence[Arm]) -> dict[str, dict[str, str]]:
    """Return the digest of the foundation model of each seed, by arm; arms that rest on none are left out."""
    found: dict[str, dict[str, str]] = {}
    for arm in arms:
        if isinstance(arm, NetworkArm) and arm.foundation is not None:
            found.setdefault(arm.name, {})[f"seed {arm.seed}"] = arm.foundation.digest
    return found


def observe_all(
    arms: Sequence[Arm], image: Image | Tokens, truth: VoxelTruth | None, limit: TokenLimit | None = None
) -> dict[Any, Observation]:
    """Return what the arms see of one chunk, by input contract; see ``Observation`` for ``limit``."""
    return {
        contract: observe(image, truth, contract, limit) for contract in dict.fromkeys(arm.contract for arm in arms)
    }


def predict_all(
    arms: Sequence[Arm],
    image: Image | Tokens,
    truth: VoxelTruth | None,
    tasks: Sequence[Task],
    seen: Mapping[Any, Observation] | None = None,
) -> list[Outputs]:
    """Return what ``Arm.predict`` returns for each arm, in their order.

    Voxels are grouped, laid beside the truth and summarised once for all arms of one input contract, and
    a frozen body that several arms rest on looks at each event once. ``seen`` is what ``observe_all`` gives.
    """
    seen = observe_all(arms, image, truth) if seen is None else seen
    answers: dict[int, Outputs] = {}
    for group in body_groups(arms):
        contract = arms[group[0]].contract
        together = [arm for arm in (arms[place] for place in group) if isinstance(arm, OneBody)]
        if len(together) < 2:
            answers[group[0]] = arms[group[0]].answer(seen[contract], tasks)
            continue
        for arm in together:
            arm.require_tasks(tasks)
        found = answer_together([arm.network for arm in together], seen[contract], tasks)
        answers.update(zip(group, found, strict=True))
    return [answers[place] for place in range(len(arms))]
