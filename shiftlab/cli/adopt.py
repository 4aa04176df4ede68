"""The sub-command that takes a public model over: ``shiftlab adopt``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add"]


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the sub-command to the parser."""
    adopt = commands.add_parser(
        "adopt",
        parents=[common],
        help="take over the checkpoint of a public model, with its units",
        description="Read the checkpoint of a public model without running code from it, check it against the public "
        "network, and write weights.safetensors and record.json with the contract of its input.",
    )
    adopt.add_argument("kind", metavar="KIND", help="panda or polar_mae")
    adopt.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="file of torch or safetensors, or an export")
    adopt.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    adopt.add_argument("--config", type=Path, help="JSON with its configuration, where it carries none")
    adopt.add_argument("--size", help="a published size, where there is no configuration")
    adopt.add_argument("--recipe", help="polar_mae: original, pimm_pretrain or pimm_semantic (told from the file)")
    adopt.add_argument("--prefix", help="what stands before the names of the body, say teacher.backbone.")
    adopt.add_argument("--licence", default="", help="under which terms its makers give it; kept in the record")
    adopt.set_defaults(action=_adopt)


def _adopt(given: argparse.Namespace) -> int:
    """Convert and say what was taken."""
    from shiftlab.arms.public.checkpoints import convert_public

    record = convert_public(
        given.checkpoint,
        given.kind,
        given.out,
        config=given.config,
        size=given.size,
        contract=given.recipe,
        prefix=given.prefix,
        licence=given.licence,
    )
    contract = record["contract"]
    print(f"{given.out}: {record['body']['name']}, {record['parameters'] / 1e6:.1f} M parameters")
    print(
        f"input: E > {contract['above']} MeV, e0 = {contract['e0']} MeV, {contract['e_max']} MeV -> 1, "
        f"(index - {contract['centre']:g}) / {contract['scale']:.4f}, trained on events of {contract['min_points']} "
        "voxels or more"
    )
    print(f"left out: {', '.join(record['left_out']) or 'nothing'}")
    print(f"licence: {record['licence']}")
    return 0
