"""The sub-commands that take a public model over: ``shiftlab adopt panda``, ``polar_mae`` and ``omnilearned``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["add"]

_DESCRIPTION = """\
Read the checkpoint of a public model without running code from it, check it against the public network, and write a
foundation model with the contract of its input: `shiftlab train ... arms.foundation=OUT` puts heads on it."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the sub-commands to the parser."""
    summary = "take over the checkpoint of a public model, with its units"
    adopt = commands.add_parser("adopt", help=summary, description=_DESCRIPTION)
    kinds = adopt.add_subparsers(required=True, metavar="KIND")
    shared = _shared(common)
    for kind, words in (("panda", "Panda V1, of voxels"), ("polar_mae", "PoLAr-MAE, of voxels")):
        own = kinds.add_parser(kind, parents=[shared], help=words, description=_DESCRIPTION)
        own.add_argument("--config", type=Path, help="JSON with its configuration, where it carries none")
        own.add_argument("--prefix", help="what stands before the names of the body, say teacher.backbone.")
        own.set_defaults(action=_voxels, kind=kind, recipe=None)
        if kind == "polar_mae":
            own.add_argument("--recipe", help="original, pimm_pretrain or pimm_semantic (told from the file)")
    _add_omnilearned(kinds, shared)


def _shared(common: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Return what all kinds are asked."""
    shared = argparse.ArgumentParser(add_help=False, parents=[common])
    shared.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="file of torch or safetensors, or an export"
    )
    shared.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    shared.add_argument("--size", help="a published size, where the file does not tell, or to check it")
    shared.add_argument("--licence", default="", help="under which terms its makers give it; kept in the card")
    shared.add_argument("--dataset", help="NAME/REVISION that it was trained on; no other revision may judge it")
    shared.add_argument(
        "--seen",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="events that it was trained on; arms that rest on it may not be judged on their vertices; may be repeated",
    )
    return shared


def _add_omnilearned(kinds: Any, shared: argparse.ArgumentParser) -> None:
    own = kinds.add_parser(
        "omnilearned",
        parents=[shared],
        help="OmniLearned's PET2, of tokens",
        description=f"{_DESCRIPTION} A checkpoint of OmniLearned says neither what its columns are nor in which units, "
        "so that they are stated: --contract or --tokens, else jet constituents in GeV.",
    )
    own.add_argument("--contract", type=Path, help="JSON of its tokens: columns, units, kinds, globals; a card will do")
    own.add_argument("--tokens", type=Path, help="file of tokens such as it takes, in place of --contract")
    own.add_argument("--energy-unit", choices=("GeV", "MeV"), default="GeV", help="in its training, with --tokens")
    own.add_argument("--heads", type=int, help="attention heads; known for the published widths")
    own.add_argument("--neighbours", type=int, help="nearest particles, K; 10 if not given")
    own.add_argument("--coordinates", type=int, help="columns that a distance is worked out of; 2 if not given")
    own.add_argument("--first-kind", type=int, help="its number of the first kind; 1 if not given")
    own.add_argument("--average", action="store_true", help="take the running average of the weights")
    own.add_argument(
        "--partial",
        action="store_true",
        help="copy what fits these tokens and draw the rest, as the package does before fine-tuning",
    )
    own.set_defaults(action=_tokens)


def _voxels(given: argparse.Namespace) -> int:
    """Convert a model of voxels and say what was taken."""
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
        dataset=given.dataset,
        seen=given.seen,
    )
    contract = record["contract"]
    _say(
        given.out,
        record,
        f"E > {contract['above']} MeV, e0 = {contract['e0']} MeV, {contract['e_max']} MeV -> 1, "
        f"(index - {contract['centre']:g}) / {contract['scale']:.4f}, trained on events of {contract['min_points']} "
        "voxels or more",
    )
    return 0


def _tokens(given: argparse.Namespace) -> int:
    """Convert a model of tokens and say what was taken."""
    from shiftlab.arms.public.omnilearned import adopt_omnilearned, stated_contract

    names = ("heads", "neighbours", "coordinates", "first_kind")
    stated: dict[str, Any] = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    record = adopt_omnilearned(
        given.checkpoint,
        given.out,
        stated_contract(given.contract, given.tokens, given.energy_unit),
        size=given.size,
        average=given.average,
        partial=given.partial,
        dataset=given.dataset or "",
        seen=given.seen,
        licence=given.licence,
        **stated,
    )
    contract = record["contract"]
    columns = ", ".join(f"{name} [{unit}]" for name, unit in zip(contract["columns"], contract["units"], strict=True))
    kinds, globals_ = len(contract["kinds"]), len(contract["global_columns"])
    _say(given.out, record, f"{columns}; {kinds} kinds, {globals_} globals")
    print(f"drawn, not trained: {', '.join(record['drawn']) or 'nothing'}")
    return 0


def _say(out: Path, record: Mapping[str, Any], takes: str) -> None:
    print(f"{out}: {record['body']['name']}, {record['parameters'] / 1e6:.1f} M parameters")
    print(f"input: {takes}")
    print(f"seen: {record['dataset'] or 'data set unknown'}, {len(record['seen'])} files named")
    print(f"left out: {', '.join(record['left_out']) or 'nothing'}")
    print(f"licence: {record['licence']}")
