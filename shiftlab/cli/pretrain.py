"""The sub-command that pre-trains a foundation model: ``shiftlab pretrain``."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add"]

_DESCRIPTION = """\
Pre-train a body on images or tokens of events and write a foundation model: OUT/foundation.safetensors (weights),
OUT/foundation.json (card), OUT/pretraining_vertices.safetensors (what it may not be judged on) and OUT/curves.
`shiftlab train ... arms.foundation=OUT` puts heads on it. A stopped command goes on where it was. Several processes
share the work with torchrun: torchrun --nproc-per-node=2 -m shiftlab.cli pretrain ... arms.train.pieces=2."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the sub-command to the parser."""
    pretrain = commands.add_parser(
        "pretrain", parents=[common], help="pre-train a foundation model on events", description=_DESCRIPTION
    )
    pretrain.add_argument(
        "words",
        nargs="*",
        metavar="KEY=VALUE",
        help="data.train=FILE,FILE out=FOLDER arms.size=small arms.objective=masked_modelling; arms.body, arms.seed, "
        "arms.train.body=PRESENTATIONS arms.train.minutes=60 and the other keys of arms.train; data.manifest=FILE "
        "data.train_part=train; detector=pixel_lar and its keys, detector=minerva_tokens for files of tokens; "
        "device=auto workers=0 seed=1 licence=CC-BY-4.0",
    )
    pretrain.add_argument("--fresh", action="store_true", help="discard what the folder holds")
    pretrain.set_defaults(action=_pretrain)


def _pretrain(given: argparse.Namespace) -> int:
    """Pre-train, and say what came of it."""
    from shiftlab.config import compose_pretraining

    plan = compose_pretraining(given.words)
    from shiftlab.arms.foundation_model import load_foundation
    from shiftlab.arms.training.processes import Processes
    from shiftlab.run import pretrain_foundation

    folder = pretrain_foundation(plan, fresh=given.fresh)
    if Processes.here().first:
        card = load_foundation(folder).card
        spent = card["spent"]["total"]
        print(
            f"{folder}: {card['recipe']['network']} {plan.arms.size}, {card['parameters'] / 1e6:.2f} M parameters, "
            f"{card['events']} events, {spent['presentations']:.0f} presentations, {spent['flops']:.2e} operations"
        )
    return 0
