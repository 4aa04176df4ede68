"""What a training cost: presentations, steps, operations and seconds of each stage, and what an arm cost in all."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import nn

from shiftlab.arms.training import Run
from shiftlab.arms.training.curves import Curve
from shiftlab.errors import ConfigError

__all__ = ["PRETRAINED", "Account", "accounts", "as_rows", "counted", "in_columns", "parameters", "spent", "total"]

_COLUMNS: Final = {"presentations": "samples", "steps": "step", "flops": "flops", "wall_s": "wall_s"}
PRETRAINED: Final = "pretrained"
"""Folder, in one of checkpoints, of the foundation models that its arms are made of."""


def spent(run: Run) -> dict[str, float]:
    """Return presentations, steps, flops and wall_s of a finished run from its curve; nothing where none is kept."""
    if run.curve is None or not run.curve.is_file():
        return {}
    last = Curve.load(run.curve).points.iloc[-1]
    found = {name: float(last[column]) for name, column in _COLUMNS.items()}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def total(stages: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the sum over stages of what every one of them knows."""
    rows = list(stages)
    return {
        name: math.fsum(row[name] for row in rows) for name in _COLUMNS if rows and all(name in row for row in rows)
    }


def counted(stages: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Return the part ``spent`` of an arm's record: each stage, and their sum; pre-training is told apart."""
    return {"stages": {name: dict(row) for name, row in stages.items()}, "total": total(stages.values())}


def parameters(module: nn.Module) -> int:
    """Return the number of learned numbers of a module."""
    return sum(value.numel() for value in module.parameters())


@dataclass(frozen=True)
class Account:
    """What one arm of a checkpoint folder is and cost; a number that its record does not tell is NaN.

    Attributes:
        arm: Name.
        letter: Letter in the plan of comparisons.
        seed: Seed.
        bodies: Passes through a body for one event and all tasks.
        trained: Learned numbers that its training with labels moved.
        total: Learned numbers of all its networks.
        labels: Labelled events of each task; 0 means all.
        spent: presentations, steps, flops, wall_s of the training with labels.
        pretraining: The same of the pre-training that it rests on; empty where there is none.
        foundation: Digest of its foundation model; empty where there is none.
        shared: Arms and seeds in the folder that rest on the same foundation model, itself among them.
    """

    arm: str
    letter: str
    seed: int
    bodies: float
    trained: float
    total: float
    labels: int
    spent: Mapping[str, float]
    pretraining: Mapping[str, float]
    foundation: str = ""
    shared: int = 1

    def whole(self, what: str) -> float:
        """Return what was spent with all of the pre-training counted."""
        own = self.spent.get(what, math.nan)
        return own + self.pretraining.get(what, math.nan) if self.foundation else own

    def amortised(self, what: str) -> float:
        """Return what was spent with the pre-training shared evenly among the arms and seeds that rest on it."""
        own = self.spent.get(what, math.nan)
        return own + self.pretraining.get(what, math.nan) / self.shared if self.foundation else own


def accounts(folder: Path, letters: Mapping[str, str]) -> list[Account]:
    """Return the account of every arm and seed in a checkpoint folder, from the records alone.

    Args:
        folder: A folder of checkpoints.
        letters: Letter of each arm by name; arms that are not among them are left out.

    Raises:
        ConfigError: the folder has no arms, or a record is no JSON.
    """
    ordered = sorted(letters, key=lambda name: letters[name])
    records = [_json(path) for name in ordered for path in sorted((folder / name).glob("seed*/record.json"))]
    if not records:
        raise ConfigError(f"no checkpoints in '{folder}'. `shiftlab train` makes them.")
    resting = [str(record.get("foundation", "")) for record in records]
    found = []
    for record, foundation in zip(records, resting, strict=True):
        size = record.get("parameters", {})
        found.append(
            Account(
                arm=record["arm"],
                letter=letters[record["arm"]],
                seed=int(record["seed"]),
                bodies=float(record.get("bodies", math.nan)),
                trained=float(size.get("trained", math.nan)),
                total=float(size.get("total", math.nan)),
                labels=int(record.get("recipe", {}).get("labels", 0)),
                spent=record.get("spent", {}).get("total", {}),
                pretraining=_pretraining(folder, foundation),
                foundation=foundation,
                shared=max(1, resting.count(foundation)),
            )
        )
    return found


def as_rows(found: Sequence[Account]) -> list[dict[str, Any]]:
    """Return accounts as JSON values; an unknown number is None.

    ``whole`` counts all of the pre-training, ``amortised`` shares it evenly among the arms and seeds that rest on it.
    """
    rows = []
    for one in found:
        costs: dict[str, float | None] = {}
        for what in _COLUMNS:
            own = one.spent.get(what, math.nan)
            ways = {"own": own, "whole": one.whole(what), "amortised": one.amortised(what)}
            costs |= {f"{what}_{way}": _known(value) for way, value in ways.items()}
        rows.append(
            {
                "arm": one.arm,
                "letter": one.letter,
                "seed": one.seed,
                "bodies": _known(one.bodies),
                "parameters_trained": _known(one.trained),
                "parameters_total": _known(one.total),
                "labels": one.labels or "all",
                "foundation": one.foundation[:12],
                "shared_by": one.shared,
                **costs,
            }
        )
    return rows


def in_columns(found: Sequence[Account]) -> list[str]:
    """Return accounts as lines of text for a terminal, and what their columns mean."""
    head = ("arm", "seed", "bodies", "trained", "of", "labels", "presented", "FLOPs", "with pre-training", "amortised")
    rows = [head]
    for one in found:
        numbers = (one.trained, one.total, *(one.spent.get(w, math.nan) for w in ("presentations", "flops")))
        trained, size, presented, flops = (_short(value) for value in numbers)
        costs = (_short(one.whole("flops")), _short(one.amortised("flops"))) if one.foundation else ("", "")
        bodies, labels = "–" if math.isnan(one.bodies) else f"{one.bodies:.0f}", str(one.labels or "all")
        rows.append((f"{one.letter} {one.arm}", str(one.seed), bodies, trained, size, labels, presented, flops, *costs))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [
        *lines,
        "bodies: passes of a body for one event and all tasks; trained of: learned numbers that labels moved, of all.",
        "FLOPs: forward and backward, training with labels; then with all of the pre-training of the foundation model,",
        "and with it shared evenly among the arms and seeds here that rest on it. –: the record does not say.",
    ]


def _short(value: float) -> str:
    """Return a count with three digits, say ``1.23e+12``, or ``–`` where it is not known."""
    if math.isnan(value):
        return "–"
    return f"{value:.0f}" if value < 1e6 else f"{value:.2e}"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _pretraining(folder: Path, digest: str) -> Mapping[str, float]:
    path = folder / PRETRAINED / digest[:12] / "foundation.json"
    if not digest or not path.is_file():
        return {}
    found: Mapping[str, float] = _json(path).get("spent", {}).get("total", {})
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"checkpoint '{path}' is not JSON: {error}.") from error
    return value
