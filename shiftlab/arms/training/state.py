"""Where a training stands: all that decides how it goes on, in one safetensors file that is replaced as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from shiftlab.errors import RunError
from shiftlab.provenance import write_whole

__all__ = ["Progress", "Standing"]

_LAYOUT = "2"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class Progress:
    """What a training has done so far.

    Attributes:
        losses: Loss of each step.
        rows: Rows of its curve (``shiftlab.arms.training.curves``).
        samples: Presentations.
        tokens: Tokens shown, 0 when the loss does not tell.
        flops: Operations of all steps; those of steps between measured ones are taken by their size.
        measured: Operations and size (tokens, or events where there are none) of the measured steps.
        wall: Seconds spent in steps, over all processes that worked on it one after another.
        best: Lowest validation loss.
        waited: Validations since then.
        finished: No step is left, or validation has not improved for too long.
    """

    losses: list[float] = field(default_factory=list)
    rows: list[dict[str, float | None]] = field(default_factory=list)
    samples: int = 0
    tokens: int = 0
    flops: float = 0.0
    measured: tuple[float, float] = (0.0, 0.0)
    wall: float = 0.0
    best: float | None = None
    waited: int = 0
    finished: bool = False


class Standing:
    """The weights of a training with their moments, their running average and the best so far.

    Attributes:
        module: What is trained.
        trained: Its parameters that take a gradient, by name.
        optimiser: Theirs.
        average: Running average of each trained parameter, empty when none is kept.
        best: State of the module at the lowest validation loss, empty before the first validation.
    """

    def __init__(self, module: nn.Module, optimiser: torch.optim.Optimizer, decay: float) -> None:
        """Start from the module as it is; ``decay`` is that of the average, 0 for none."""
        self.module = module
        self.optimiser = optimiser
        self.trained = {name: value for name, value in module.named_parameters() if value.requires_grad}
        self.decay = decay
        self.average = {name: value.detach().clone() for name, value in self.trained.items()} if decay else {}
        self.best: dict[str, Tensor] = {}

    def follow(self, step: int) -> None:
        """Move the average after step ``step`` (from 0).

        The decay is min(decay, (1 + step) / (10 + step)), as ``tf.train.ExponentialMovingAverage`` has it, so that a
        short training forgets its initial weights as well.
        """
        weight = 1.0 - min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, mean in self.average.items():
                mean.lerp_(self.trained[name], weight)

    @contextmanager
    def judged(self) -> Iterator[None]:
        """Hold the weights that are judged, the average where one is kept, in evaluation mode and without gradients."""
        modes = [(part, part.training) for part in self.module.modules()]
        raw = {name: self.trained[name].detach().clone() for name in self.average}
        self.module.eval()
        try:
            with torch.no_grad():
                self._fill(self.average)
                yield
        finally:
            with torch.no_grad():
                self._fill(raw)
            for part, mode in modes:
                part.training = mode

    def keep(self) -> None:
        """Keep the module as it is now as the best one."""
        self.best = {name: value.detach().clone() for name, value in self.module.state_dict().items()}

    def settle(self) -> None:
        """Leave in the module what the training found: the best weights, else the average, else the last."""
        if self.best:
            self.module.load_state_dict(self.best)
        with torch.no_grad():
            self._fill({} if self.best else self.average)

    def _fill(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self.trained[name].copy_(value)

    def write(self, path: Path, identity: str, progress: Progress) -> None:
        """Replace the state file.

        Wall time is among what it holds: two equal trainings have equal weights in it, not equal bytes.
        """
        tensors = {f"value/{name}": value for name, value in self.module.state_dict().items()}
        tensors |= {f"average/{name}": value for name, value in self.average.items()}
        tensors |= {f"best/{name}": value for name, value in self.best.items()}
        for name, value in self.trained.items():
            moments = self.optimiser.state.get(value, {})
            tensors |= {f"{moment}/{name}": moments[moment] for moment in _MOMENTS if moment in moments}
        own = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        about = {"layout": _LAYOUT, "identity": identity, "progress": json.dumps(asdict(progress))}
        with write_whole(path) as temporary:
            save_file(own, temporary, metadata=about)

    def resume(self, path: Path, identity: str) -> Progress:
        """Fill all from the state file, if there is one, and return how far the training came.

        Raises:
            RunError: the file is of another training, of another version of shiftlab, or damaged.
        """
        if not path.is_file():
            return Progress()
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                if about.get("identity") != identity or about.get("layout") != _LAYOUT:
                    raise RunError(
                        f"'{path}' is the unfinished training of another recipe or sample. Remove that file, or train "
                        "with --fresh, which discards all that is in the folder."
                    )
                parts: dict[str, dict[str, Tensor]] = {}
                for key in file.keys():  # noqa: SIM118 - not a mapping
                    kind, name = key.split("/", 1)
                    parts.setdefault(kind, {})[name] = file.get_tensor(key)
            self._restore(parts)
        except (SafetensorError, RuntimeError, KeyError) as error:
            raise RunError(
                f"'{path}' is damaged or of another network: {error}. Remove that file: this training begins anew."
            ) from error
        plain = json.loads(about["progress"])
        return Progress(**{**plain, "measured": tuple(plain["measured"])})

    def _restore(self, parts: dict[str, dict[str, Tensor]]) -> None:
        self.module.load_state_dict(parts["value"])
        for name, mean in self.average.items():
            mean.copy_(parts["average"][name])
        device = {name: value.device for name, value in self.module.state_dict().items()}
        self.best = {name: value.to(device[name]) for name, value in parts.get("best", {}).items()}
        for name, parameter in self.trained.items():
            moments = {kind: parts[kind][name] for kind in _MOMENTS if name in parts.get(kind, {})}
            if moments:
                # The count of steps stays on the CPU, as AdamW keeps it.
                self.optimiser.state[parameter] = {
                    kind: value if kind == "step" else value.to(parameter.device) for kind, value in moments.items()
                }
