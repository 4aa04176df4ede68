"""A head's first-order answer: what it would say if it were linear in what it is given, about the nominal universe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from shiftlab.arms.given import Given, Moved
from shiftlab.arms.heads import EventHead, Head
from shiftlab.tasks.task import Task

__all__ = ["ROUTES", "HeadSlopes", "first_order", "head_slopes", "why_not"]

ROUTES: Final = ("features", "features and inputs beside")
"""What moves: the shared features alone; or also what a head takes past the body: places of the tokens, the event's
overall quantities, and the summed energy and centre that its answer is decoded with."""


@dataclass(frozen=True)
class HeadSlopes:
    """Derivative of a head's raw numbers at nominal; one event's numbers depend on its own rows only.

    Attributes:
        raw: (event, raw), the numbers themselves.
        tokens: (raw, token, feature).
        position: (raw, token, 3), per cm.
        overall: (raw, event, overall_features).
    """

    raw: Tensor
    tokens: Tensor
    position: Tensor
    overall: Tensor


def why_not(task: Task, head: Head) -> str:
    """Return why a head has no first-order answer; empty where it has one."""
    if isinstance(head, EventHead):
        return ""
    what = "voxel by voxel" if task.level == "voxel" else "with sets of particles"
    return f"answers {what}, and voxels come and go between universes"


def head_slopes(head: EventHead, nominal: Given) -> HeadSlopes:
    """Return the slopes of a head by automatic differentiation, one backward pass for each raw number."""
    one = nominal.encoded
    inputs = [part.detach().clone().requires_grad_(True) for part in (one.tokens, one.position, one.overall)]
    with torch.enable_grad():
        raw = head(replace(one, tokens=inputs[0], position=inputs[1], overall=inputs[2]))
        found = [
            torch.autograd.grad(raw[:, column].sum(), inputs, retain_graph=True, allow_unused=True)
            for column in range(raw.shape[1])
        ]
    stacked = [
        torch.stack([torch.zeros_like(part) if one[i] is None else one[i] for one in found])
        for i, part in enumerate(inputs)
    ]
    return HeadSlopes(raw.detach(), *(part.detach() for part in stacked))


def first_order(task: Task, slopes: HeadSlopes, nominal: Given, change: Moved) -> Tensor:
    """Return the first-order outputs along each of ``ROUTES``, (route, event, output).

    The head's numbers are linear in the displacement; the answer is decoded from them as ever.
    """
    event = nominal.encoded.token_event
    features = _summed(torch.einsum("rtf,tf->tr", slopes.tokens, change.tokens), event, slopes.raw)
    beside = _summed(torch.einsum("rtf,tf->tr", slopes.position, change.position), event, slopes.raw)
    beside = beside + torch.einsum("reo,eo->er", slopes.overall, change.overall)
    answers = (
        task.decode(slopes.raw + features, nominal.summary),
        task.decode(slopes.raw + features + beside, change.summary),
    )
    return torch.stack(answers)


def _summed(rows: Tensor, event: Tensor, like: Tensor) -> Tensor:
    """Return (event, raw): sums of ``rows`` (token, raw) over the tokens of each event."""
    return torch.zeros_like(like).index_add(0, event, rows)
