"""A body with the heads that read it, and how both answer for a ragged set of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shiftlab.arms.answers import Answer, blank
from shiftlab.arms.body import Body
from shiftlab.arms.contract import InputContract
from shiftlab.arms.heads import head_for
from shiftlab.arms.observation import Observation
from shiftlab.arms.parts import Parts
from shiftlab.tasks.task import Task

__all__ = ["Network", "answer_together"]


class Network(nn.Module):
    """One body and a head for each task."""

    def __init__(self, body: Body, tasks: Sequence[Task]) -> None:
        """Join a body and fresh heads."""
        super().__init__()
        self.body = body
        self.heads = nn.ModuleDict({task.name: head_for(task, body) for task in tasks})

    @property
    def contract(self) -> InputContract:
        """What images must be."""
        contract: InputContract = self.body.contract
        return contract

    def answer(self, observation: Observation, tasks: Sequence[Task]) -> dict[str, NDArray[np.float32]]:
        """Return float32 (scored event, output) per task; one body pass feeds all of them."""
        return answer_together([self], observation, tasks)[0]


def answer_together(
    networks: Sequence[Network], observation: Observation, tasks: Sequence[Task]
) -> list[dict[str, NDArray[np.float32]]]:
    """Return float32 (scored event, output) per network and task; one pass of one body feeds all heads.

    Args:
        networks: Networks whose bodies are equal; the first one's is used.
        observation: Some events.
        tasks: What is asked of each.
    """
    events = observation.image.events
    device = observation.image.offsets.device
    scored = {task.name: torch.from_numpy(task.scored(events)) for task in tasks}
    wanted = torch.stack(list(scored.values())).any(dim=0).to(device)
    ascending = observation.ascending
    chosen = wanted[ascending]
    parts = observation.parts(chosen)
    raw = _raw(networks, parts, tasks, int(observation.image.offsets[-1]))
    found = []
    for answers in raw:
        outputs = {}
        for task in tasks:
            rows = answers[task.name].outputs(observation, parts.patches, ascending[chosen])
            outputs[task.name] = rows[scored[task.name].to(device)].float().cpu().numpy()
        found.append(outputs)
    return found


@torch.inference_mode()
def _raw(networks: Sequence[Network], parts: Parts, tasks: Sequence[Task], voxels: int) -> list[Mapping[str, Answer]]:
    """Return what each network's heads say of every voxel, or of each event of ``parts``."""
    device = parts.patches.offsets.device
    answers = [{task.name: blank(task, len(parts.patches), voxels, device) for task in tasks} for _ in networks]
    for first, last, batch in parts.batches:
        encoded = networks[0].body(batch)
        for network, answer in zip(networks, answers, strict=True):
            for task in tasks:
                answer[task.name].fill(network.heads[task.name](encoded), first, last, batch.order)
    return list(answers)
