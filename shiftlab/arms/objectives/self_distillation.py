"""Pre-training without labels: a student sees less of an event than its own running average, and must agree with it.

Source of the objective: Sonata (arXiv:2503.16429; ``sonata_v1m1_base.py`` of Pointcept) with the numbers of Panda
(arXiv:2512.01324; ``pretrain-sonata-v1m1-pilarnet-smallmask.py`` of particle-imaging-models). Its tokens are points
at five scales, ours are lattice patches; ``docs/pages/pretraining.md`` lists what differs.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from shiftlab.arms.augmentations import EnergyJitter, Grid, Mirror, Turn, declared
from shiftlab.arms.block import offsets_from_centroid
from shiftlab.arms.bodies.voxel_transformer import VoxelTransformer
from shiftlab.arms.body import Body
from shiftlab.arms.objective import Objective
from shiftlab.arms.patches import Patches
from shiftlab.arms.ragged import Ragged
from shiftlab.arms.views import TURNS, Crops, HiddenBlocks, Views, brightened, crop, hidden_blocks, picked, views
from shiftlab.errors import ConfigError, RunError

__all__ = ["Draws", "Prototypes", "SelfDistillation", "sinkhorn"]

_CROPS = Crops()
_JITTER = EnergyJitter()
_BLOCKS = HiddenBlocks()

_WARM_UP = 0.05
"""Share of the training in which cubes, hidden share and teacher temperature climb (Panda: 0.05)."""
_TEACHER = (0.04, 0.07)
"""Temperature of the teacher, at the start and after the warm-up (Panda, Sonata)."""
_STUDENT = 0.10
"""Temperature of the student (Panda, Sonata)."""
_MOMENTUM = (0.994, 1.0)
"""What the teacher keeps of itself in a step, first and last; a cosine between (Panda)."""
_WEIGHTS = (0.25, 0.25, 0.5)
"""Weights of the masked, the rolled and the local loss (Panda, Sonata: 2/8, 2/8, 4/8)."""
_MOST = 4096
"""Prototypes of Panda and Sonata; fewer are the default of narrow bodies."""
_ITERATIONS = 3
"""Rounds of Sinkhorn's normalisation (Sonata, after SwAV, arXiv:2006.09882)."""
_COLLAPSED = 1.5
"""Below this effective number of prototypes, all tokens say the same and nothing is learned."""
_MEMORY = 100
"""Steps over which the use of prototypes is averaged."""


def sinkhorn(score: Tensor, temperature: float, rounds: int = _ITERATIONS) -> Tensor:
    """Return float32 (token, prototype): assignments whose rows sum to 1 and whose columns are, in the end, equal.

    Args:
        score: (token, prototype), similarities.
        temperature: They are divided by it.
        rounds: Normalisations of columns and then rows; the last one makes the rows exact.
    """
    with torch.autocast(score.device.type, enabled=False):
        scaled = score.float() / temperature
        assigned = torch.exp(scaled - scaled.max())
        for _ in range(rounds):
            assigned = assigned / (assigned.sum(dim=0, keepdim=True) * score.shape[1]).clamp(min=1e-30)
            assigned = assigned / (assigned.sum(dim=1, keepdim=True) * len(score)).clamp(min=1e-30)
        return assigned * len(score)


class Prototypes(nn.Module):
    """Two layers onto the unit sphere, and the cosine to each of its prototypes there."""

    def __init__(self, width: int, prototypes: int) -> None:
        """Make a head for tokens of ``width`` numbers.

        Hidden and last layers have 4 and 1 times the width; Panda's have 4096 and 256 numbers for 1088.
        """
        super().__init__()
        self.level = nn.LayerNorm(width)
        self.enter = nn.Linear(width, 4 * width)
        self.leave = nn.Linear(4 * width, width)
        self.prototype = nn.Parameter(torch.empty(prototypes, width))
        for layer in (self.enter, self.leave):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.prototype)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (token, prototype): cosines."""
        there = self.leave(functional.gelu(self.enter(self.level(tokens))))
        return functional.normalize(there, dim=1) @ functional.normalize(self.prototype, dim=1).T


@dataclass(frozen=True)
class Draws:
    """All random numbers of one step, one row an event, patch or voxel of the batch.

    Attributes:
        share: float64 (view, event), share of the patches in each crop.
        centre: float64 (view, patch), which patch is in its middle.
        turn: int64 (view, event), symmetry of the anode.
        hide: float64 (global view, patch), which cubes are hidden.
        factor: float32 (voxel,), energy of the global views over that of the event.
    """

    share: Tensor
    centre: Tensor
    turn: Tensor
    hide: Tensor
    factor: Tensor

    @classmethod
    def of(cls, patches: Patches, crops: Crops, generator: Generator) -> Draws:
        """Draw for a batch, from nothing but ``generator``."""
        device, events, rows = patches.position.device, len(patches), len(patches.position)
        count = crops.globals + crops.locals
        low = torch.tensor([crops.global_share[0]] * crops.globals + [crops.local_share[0]] * crops.locals)
        high = torch.tensor([crops.global_share[1]] * crops.globals + [crops.local_share[1]] * crops.locals)
        uniform = torch.rand(count, events, generator=generator, dtype=torch.float64)
        share = low[:, None] + (high - low)[:, None] * uniform
        centre = torch.rand(count, rows, generator=generator, dtype=torch.float64)
        turn = torch.randint(0, TURNS, (count, events), generator=generator)
        hide = torch.rand(crops.globals, rows, generator=generator, dtype=torch.float64)
        jittered = torch.rand(events, generator=generator) < _JITTER.probability
        normal = torch.randn(len(patches.value), generator=generator)
        event = patches.patch_event[patches.voxel_patch].cpu()
        factor = torch.where(jittered[event], _JITTER.factor(normal), 1.0)
        return cls(*(one.to(device) for one in (share, centre, turn, hide, factor)))


class SelfDistillation(Objective):
    """Student and teacher, as Panda does: the teacher, the body's running average, sees crops whole, the student parts.

    Attributes:
        teacher_body: Body of the teacher; it takes no gradient and follows the student in ``after_step``.
        teacher_heads: Its heads.
        usage: float32 (prototype,), mean over the last hundred steps or so of what the student says of hidden tokens.
        certainty: Mean entropy of what it says of one token, nats, over the same steps.
        watched: Steps so far.
        done: Share of the training that is behind.
    """

    name = "self_distillation"
    augmentations: ClassVar[Mapping[str, str]] = declared(
        Mirror(axes=("y",)), Grid(), _CROPS, Turn(mirrors=True), _BLOCKS, _JITTER
    )

    usage: Tensor
    certainty: Tensor
    watched: Tensor
    done: Tensor

    def __init__(self, body: Body, *, prototypes: int | None = None, crops: Crops = _CROPS) -> None:
        """Join the student, two fresh heads, and a teacher that is equal to them.

        Args:
            body: The student; after pre-training it is what is kept, as in Sonata and Panda.
            prototypes: How many; four times the width of the body, at most 4096, when None.
            crops: Views of each event.

        Raises:
            ConfigError: the body has no patches, or the anode has no symmetry to turn it by.
        """
        super().__init__(body)
        if not isinstance(body, VoxelTransformer):
            raise ConfigError(
                f"self-distillation needs a body of patches, '{VoxelTransformer.name}', not '{body.name}'."
            )
        _, ny, nz = body.contract.shape
        if body.contract.views > 1 or ny != nz:
            raise ConfigError(f"self-distillation turns events, which needs a square pixel anode, not {ny} x {nz}.")
        self.crops = crops
        number = min(_MOST, 4 * body.width) if prototypes is None else prototypes
        self.unknown = nn.Parameter(torch.zeros(body.width))
        self.heads = nn.ModuleDict({kind: Prototypes(body.width, number) for kind in ("masked", "local")})
        self.teacher_body = copy.deepcopy(body).requires_grad_(False)
        self.teacher_heads = copy.deepcopy(self.heads).requires_grad_(False)
        self.register_buffer("usage", torch.full((number,), 1.0 / number))
        self.register_buffer("certainty", torch.zeros(()))
        self.register_buffer("watched", torch.zeros((), dtype=torch.int64))
        self.register_buffer("done", torch.zeros((), dtype=torch.float64))

    def forward(self, batch: Patches, generator: Generator) -> Tensor:
        """Return the loss of one set of views of each event."""
        return self.loss(batch, Draws.of(batch, self.crops, generator))

    def loss(self, patches: Patches, draws: Draws) -> Tensor:
        """Return the cross entropy of student and teacher, nats a patch, a mean over the views.

        Args:
            patches: A batch of events, none of them empty.
            draws: Its random numbers.
        """
        events, rows = len(patches), len(patches.position)
        whole, local = self._cut(patches, draws)
        hidden = self._hidden(whole, draws)
        with torch.no_grad():
            seen = self._tokens(self.teacher_body, whole.patches)
            target, principal = self.teacher_heads["masked"](seen), self.teacher_heads["local"](seen)
        said = self.heads["masked"](self._tokens(self.body, whole.patches, hidden))
        self._watch(said.detach()[hidden])
        first, second = whole.where(0, events, rows), whole.where(events, 2 * events, rows)
        other = torch.where(whole.view < events, second[whole.row], first[whole.row])
        itself = torch.arange(len(said), device=said.device)
        close = self.heads["local"](self._tokens(self.body, local.patches))
        parts = (
            self._agreement(said, whole.view, target, itself, 2 * events),
            self._agreement(said, whole.view, target, other, 2 * events),
            self._agreement(close, local.view, principal, first[local.row], self.crops.locals * events),
        )
        return (torch.stack(parts) * torch.tensor(_WEIGHTS, device=said.device)).sum()

    def after_step(self, step: int, steps: int) -> None:
        """Let the teacher follow the student, and refuse to go on with a body that has collapsed.

        Raises:
            RunError: after a tenth of the training all tokens are assigned to the same prototypes.
        """
        with torch.no_grad():
            keep = self.momentum(step, steps)
            for mean, value in self._pairs():
                mean.lerp_(value, 1.0 - keep)
            self.done.fill_((step + 1) / steps)
        if self.training and float(self.done) > 0.1 and (found := self.effective_prototypes()) < _COLLAPSED:
            raise RunError(
                f"self-distillation collapsed at step {step} of {steps}: of {len(self.usage)} prototypes {found:.2f} "
                "are in use, so that all tokens say the same. Lower the learning rate, or take larger batches."
            )

    @staticmethod
    def momentum(step: int, steps: int) -> float:
        """Return the share of itself that the teacher keeps after step ``step`` (from 0)."""
        first, last = _MOMENTUM
        return last - (last - first) * 0.5 * (1 + math.cos(math.pi * step / steps))

    def effective_prototypes(self) -> float:
        """Return exp of the entropy of the prototypes' usage: 1 when all tokens share one, their number at best."""
        return math.exp(float(torch.special.entr(self.usage.double()).sum()))

    def information(self) -> float:
        """Return nats that a token tells about its prototype: 0 both when all share one and when none is chosen."""
        return float(torch.special.entr(self.usage.double()).sum()) - float(self.certainty)

    def _cut(self, patches: Patches, draws: Draws) -> tuple[Views, Views]:
        """Return the global views, in jittered energies, and the local ones, in the event's own."""
        masks: list[Tensor] = []
        everywhere = torch.ones(len(patches.position), dtype=torch.bool, device=patches.position.device)
        covered = ~everywhere
        for view, (centre, share) in enumerate(zip(draws.centre, draws.share, strict=True)):
            # The second crop starts in the first, the local ones in what no other has of it: they must overlap.
            allowed = everywhere if view == 0 else masks[0] & ~covered
            mask = crop(patches, picked(patches, centre, allowed), share)
            if view >= self.crops.globals:
                covered = covered | mask
                covered = covered & ~self._finished(patches, masks[0], covered)
            masks.append(mask)
        number = self.crops.globals
        contract = self.body.contract
        bright = brightened(patches, draws.factor, contract)
        return (
            views(bright, masks[:number], draws.turn[:number], contract),
            views(patches, masks[number:], draws.turn[number:], contract),
        )

    @staticmethod
    def _finished(patches: Patches, wanted: Tensor, covered: Tensor) -> Tensor:
        """Return bool (patch,): patches of events of which all that is wanted is covered; they start anew."""
        missing = torch.segment_reduce((wanted & ~covered).float(), "max", lengths=patches.lengths)
        return (missing == 0)[patches.patch_event]

    def _hidden(self, whole: Views, draws: Draws) -> Tensor:
        """Return bool (patch,): what the student does not see of the global views."""
        contract = self.body.contract
        climbed = min(1.0, float(self.done) / _WARM_UP)
        cells = _BLOCKS.edge[0] + (_BLOCKS.edge[1] - _BLOCKS.edge[0]) * climbed
        ratio = _BLOCKS.ratio[0] + (_BLOCKS.ratio[1] - _BLOCKS.ratio[0]) * climbed
        edge = max(1, round(cells / contract.patch))
        number = whole.view // (len(whole.patches) // self.crops.globals)
        return hidden_blocks(whole.patches, edge, ratio, draws.hide[number, whole.row], contract)

    def _tokens(self, body: nn.Module, patches: Patches, hidden: Tensor | None = None) -> Tensor:
        """Return (patch, width): the last layer; a hidden patch is known by its place alone."""
        assert isinstance(body, VoxelTransformer)
        if hidden is None:
            content = _embedded(body, patches)
        else:
            content = self.unknown.expand(len(hidden), -1).clone()
            content[~hidden] = _embedded(body, patches.keep(~hidden)).to(content.dtype)
        ragged, place = Ragged.of(patches.offsets), offsets_from_centroid(patches)
        x: Tensor = content + body.position(patches)
        for block in body.blocks:
            x = block(x, place, ragged)
        return x

    def _agreement(self, said: Tensor, view: Tensor, target: Tensor, partner: Tensor, count: int) -> Tensor:
        """Return the mean over views of the mean over their tokens of the cross entropy with the partner's target."""
        pairs = partner >= 0
        low, high = _TEACHER
        temperature = low + (high - low) * min(1.0, float(self.done) / _WARM_UP)
        wanted = sinkhorn(target[partner[pairs]], temperature)
        with torch.autocast(said.device.type, enabled=False):
            entropy = -(wanted * functional.log_softmax(said[pairs].float() / _STUDENT, dim=1)).sum(dim=1)
        total = entropy.new_zeros(count).index_add(0, view[pairs], entropy)
        number = torch.bincount(view[pairs], minlength=count)
        mean: Tensor = (total / number.clamp(min=1)).sum() / (number > 0).sum().clamp(min=1)
        return mean

    def _watch(self, said: Tensor) -> None:
        """Note which prototypes the student chooses for hidden tokens."""
        if not self.training or not len(said):
            return
        chosen = torch.softmax(said.float() / _STUDENT, dim=1)
        self.watched += 1
        weight = 1.0 / min(_MEMORY, int(self.watched))
        self.usage.lerp_(chosen.mean(dim=0), weight)
        self.certainty.lerp_(torch.special.entr(chosen).sum(dim=1).mean(), weight)

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(self.teacher_body.parameters(), self.body.parameters(), strict=True)
        yield from zip(self.teacher_heads.parameters(), self.heads.parameters(), strict=True)


def _embedded(body: VoxelTransformer, patches: Patches) -> Tensor:
    """Return (patch, width): what each patch holds, without its place."""
    return body.tokens(patches, body.stem(patches, patches.around))
