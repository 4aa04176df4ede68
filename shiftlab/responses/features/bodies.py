"""Which bodies a set of arms has: one for all tasks, shared by seeds where it is frozen, or one for each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from shiftlab.arms import Arm
from shiftlab.arms.body import Body
from shiftlab.arms.head_slopes import why_not
from shiftlab.arms.heads import EventHead, VoxelHead
from shiftlab.arms.network import Network
from shiftlab.arms.network_arm import NetworkArm, OneBody
from shiftlab.arms.set_head import SetHead
from shiftlab.errors import ConfigError
from shiftlab.tasks import Task

__all__ = ["BodyWithHeads", "bodies_of"]


@dataclass(frozen=True)
class BodyWithHeads:
    """One body of an arm, with the heads that rest on it.

    Attributes:
        arm: Name of the arm.
        task: Whose own body it is; empty for one that all tasks share.
        seeds: Seeds whose heads rest on it: several where it is the frozen body of one foundation model.
        body: The body.
        heads: Seed and task to head, those with a first-order answer; none on a body of one task alone, for nothing
            is shared there.
        reasons: Task to why it has no first-order answer.
        contract: What its input must be.
    """

    arm: str
    task: str
    seeds: tuple[int, ...]
    body: Body
    heads: Mapping[tuple[int, str], EventHead]
    reasons: Mapping[str, str]
    contract: Any

    @property
    def name(self) -> str:
        """Name of its dataset: arm, seeds and, of a body of its own, the task."""
        return " ".join([self.arm, *(str(seed) for seed in self.seeds), *([self.task] if self.task else [])])


def bodies_of(arms: Sequence[Arm], tasks: Sequence[Task], device: str = "cpu") -> list[BodyWithHeads]:
    """Return every body once.

    Raises:
        ConfigError: no arm is given, or one has no network.
    """
    if not arms:
        raise ConfigError("drift.arms: no arm is given; features are those of arms with a network.")
    together: dict[tuple[str, str], list[NetworkArm]] = {}
    for arm in arms:
        if not isinstance(arm, NetworkArm):
            raise ConfigError(f"drift.arms: arm '{arm.name}' has no network, so it has no features; leave it out.")
        arm.require_tasks(tasks)
        arm.networks.to(device)
        shared = arm.frozen_body if isinstance(arm, OneBody) else ""
        together.setdefault((arm.name, shared or f"seed {arm.seed}"), []).append(arm)
    found: list[BodyWithHeads] = []
    for group in together.values():
        whole = [arm for arm in group if isinstance(arm, OneBody)]
        found += [_shared(whole, tasks)] if whole else _own(group[0], tasks)
    return found


def _shared(arms: Sequence[OneBody], tasks: Sequence[Task]) -> BodyWithHeads:
    """Return the body of arms that rest on one and the same."""
    first = arms[0]
    heads = {(arm.seed, task.name): _head(arm.network, task.name) for arm in arms for task in tasks}
    return BodyWithHeads(
        arm=first.name,
        task="",
        seeds=tuple(arm.seed for arm in arms),
        body=first.network.body,
        heads={key: head for key, head in heads.items() if isinstance(head, EventHead)},
        reasons={t.name: why for t in tasks if (why := why_not(t, heads[first.seed, t.name]))},
        contract=first.contract,
    )


def _own(arm: NetworkArm, tasks: Sequence[Task]) -> list[BodyWithHeads]:
    """Return the body of each task."""
    found = []
    for task in tasks:
        network = arm.networks[task.name]
        assert isinstance(network, Network)
        found.append(BodyWithHeads(arm.name, task.name, (arm.seed,), network.body, {}, {}, arm.contract))
    return found


def _head(network: Network, task: str) -> EventHead | VoxelHead | SetHead:
    head: nn.Module = network.heads[task]
    assert isinstance(head, EventHead | VoxelHead | SetHead)
    return head
