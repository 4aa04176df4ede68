"""Public models taken over: weights checked against the public network, kept as safetensors with their contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from shiftlab.arms.bodies.panda import PANDA_AUGMENTATIONS, PANDA_CONTRACT, Panda
from shiftlab.arms.bodies.polar_mae import PARTS, POLAR_MAE_AUGMENTATIONS, POLAR_MAE_CONTRACTS, PolarMAE
from shiftlab.arms.body import Body
from shiftlab.arms.checkpoint import load_record, save_record
from shiftlab.arms.foundation_model import FoundationModel, is_foundation, save_foundation
from shiftlab.arms.public.config import nested, stated
from shiftlab.arms.public.files import PublicCheckpoint, read_public, read_safetensors
from shiftlab.arms.public.point_contract import PointContract
from shiftlab.arms.public.seen import seen_events
from shiftlab.errors import ConfigError, UnknownNameError
from shiftlab.provenance import digest_file, write_whole

__all__ = ["convert_public", "load_public", "panda_names", "polar_mae_names"]

_WEIGHTS: Final = "weights.safetensors"
_PUBLISHED: Final = "pilarnet-m/v1"
"""What the published models were pre-trained on (data set card of DeepLearnPhysics/Panda)."""

_STEM: Final = "embedding.stem.linear.weight"
_ORIGINAL: Final = {
    "encoder.tokenizer.embedding.": "embedding.",
    "encoder.pos_embed.": "pos_embed.",
    "encoder.transformer.": "encoder.",
}
"""Names of the original PoLAr-MAE code and of its port."""


@dataclass(frozen=True)
class _Kind:
    body: type[Body]
    types: tuple[str, ...]
    contracts: Mapping[str, PointContract]
    objective: str
    augmentations: Mapping[str, str]
    names: Callable[[Mapping[str, Tensor], str | None], tuple[str, dict[str, str]]]


def convert_public(
    path: Path | str,
    kind: str,
    out: Path | str,
    *,
    config: Path | str | None = None,
    size: str | None = None,
    contract: str | None = None,
    prefix: str | None = None,
    licence: str = "",
    dataset: str | None = None,
    seen: Sequence[Path] = (),
) -> dict[str, Any]:
    """Write a public checkpoint as a folder of ``weights.safetensors`` (float32) and ``record.json``.

    The public network is built and takes every tensor strictly, so that a folder that was written can be loaded.
    The same folder is a foundation model for arms, which keep their weights in half precision. Arms on it may not be
    judged on the events of ``seen``, nor on another revision of its data set.

    Args:
        path: See ``read_public``.
        kind: ``panda`` or ``polar_mae``.
        out: The folder; it must not hold a checkpoint.
        config: See ``read_public``.
        size: A published size, where there is no configuration at all.
        contract: Which published recipe made the inputs; told from the configuration when None.
        prefix: What stands before the names of the body, say ``student.backbone.``; found when None.
        licence: Under which terms its makers give it.
        dataset: ``name/revision`` of what it was trained on; the published one when None.
        seen: Files of events that it was trained on, as far as they are known.

    Returns:
        The record.

    Raises:
        ConfigError: the checkpoint is not of this kind, states other input than the contract, or cannot be read.
        UnknownNameError: there is no such kind, size or contract.
        DataError: a file of events cannot be read.
    """
    what, out = _kind(kind), Path(out)
    if is_foundation(out):
        raise ConfigError(f"'{out}' already holds a checkpoint. Choose another folder.")
    public = read_public(path, config)
    found, names = what.names(public.state, prefix)
    sizes, chosen = _size(what, public, size), _contract(what, public, contract, found)
    known = seen_events(_PUBLISHED if dataset is None else dataset, seen)
    body = what.body.fresh(sizes, chosen)
    weights = {own: public.state[name].float().contiguous() for own, name in names.items()}
    _fill(body, weights, public.file)
    with write_whole(out / _WEIGHTS) as temporary:
        save_file(weights, temporary)
    used = set(names.values())
    record = {
        "body": {"name": body.name, **body.plain()},
        "contract": chosen.plain(),
        "dataset": known.dataset,
        "seen": list(known.files),
        "left_out": sorted({name.split(".")[0] for name in public.state if name not in used}),
        "licence": licence or "that of the source; see its model card",
        "objective": {"name": what.objective, "augmentations": dict(what.augmentations)},
        "parameters": sum(value.numel() for value in body.parameters()),
        "source": {"file": public.file.name, "sha256": digest_file(public.file), "prefix": found},
        "weights": digest_file(out / _WEIGHTS),
    }
    save_record(out, record)
    told = {name: value for name, value in record.items() if name not in ("body", "contract", "weights")}
    save_foundation(out, FoundationModel(body, told, known.vertices))
    return record


def load_public(folder: Path | str, device: torch.device | str = "cpu") -> Body:
    """Return the body that ``convert_public`` wrote, frozen, in float32.

    Raises:
        ConfigError: the folder is none of these, its weights are not those of the record, or its public package is
            missing.
    """
    folder = Path(folder)
    record = load_record(folder)
    try:
        size = dict(record["body"])
        what, plain, told = _kind(str(size.pop("name"))), record["contract"], record["weights"]
    except KeyError as error:
        raise ConfigError(f"'{folder}' is no adopted public checkpoint: its record has no key {error}.") from error
    if not (folder / _WEIGHTS).is_file() or digest_file(folder / _WEIGHTS) != told:
        raise ConfigError(f"'{folder / _WEIGHTS}' is not the file that its record describes.")
    body = what.body.fresh(size, PointContract.from_plain(plain))
    _fill(body, read_safetensors(folder / _WEIGHTS), folder / _WEIGHTS)
    return body.eval().requires_grad_(False).to(device)


def panda_names(state: Mapping[str, Tensor], prefix: str | None = None) -> tuple[str, dict[str, str]]:
    """Return the prefix of the body's names and, by its own name, the public name of each of its tensors.

    Of a student and a teacher the student is taken, as the public fine-tuning does.

    Raises:
        ConfigError: no tensor, or not the one that the public network begins with, has the prefix.
    """
    known = [name.removesuffix(_STEM) for name in state if name.endswith(_STEM)]
    order = sorted(known, key=lambda one: (not one.startswith("student."), "teacher" in one, len(one), one))
    if prefix is None and order:
        prefix = order[0]
    if prefix is None or prefix not in known:
        raise ConfigError(
            f"the checkpoint is not Panda's: it has no '{prefix or ''}{_STEM}'; prefixes that would do: "
            f"{sorted(known) or 'none'}; it begins with {sorted(state)[:3]}."
        )
    end = len(prefix)
    return prefix, {
        f"network.{name[end:]}": name for name in state if name.startswith(prefix) and _of_panda(name[end:])
    }


def _of_panda(name: str) -> bool:
    return name.split(".")[0] in ("embedding", "enc", "dec", "shared_cpe_convs")


def polar_mae_names(state: Mapping[str, Tensor], prefix: str | None = None) -> tuple[str, dict[str, str]]:
    """Return the layout, ``original`` or ``pimm``, and by the body's name the public name of each of its tensors.

    Raises:
        ConfigError: a part of the body is missing.
    """
    start = prefix or ""
    original = any(name.startswith(f"{start}encoder.tokenizer.") for name in state)
    layout = _ORIGINAL if original else {f"{part}.": f"{part}." for part in PARTS}
    names = {}
    for theirs, ours in layout.items():
        part = {name for name in state if name.startswith(start + theirs)}
        if not part:
            raise ConfigError(
                f"the checkpoint is not PoLAr-MAE's: it has no '{start}{theirs}'; it begins with {sorted(state)[:3]}."
            )
        names.update({f"parts.{ours}{name.removeprefix(start + theirs)}": name for name in part})
    return "original" if original else "pimm", names


_KINDS: Final[Mapping[str, _Kind]] = {
    "panda": _Kind(
        Panda,
        ("PT-v3m2",),
        {"panda": PANDA_CONTRACT},
        "self-distillation onto prototypes",
        PANDA_AUGMENTATIONS,
        panda_names,
    ),
    "polar_mae": _Kind(
        PolarMAE,
        ("PoLAr-MAE", "PoLArMAE-SemSeg"),
        POLAR_MAE_CONTRACTS,
        "masked modelling with energy infilling",
        POLAR_MAE_AUGMENTATIONS,
        polar_mae_names,
    ),
}


def _kind(name: str) -> _Kind:
    if name not in _KINDS:
        raise UnknownNameError("kind of public checkpoint", name, _KINDS)
    return _KINDS[name]


def _size(what: _Kind, public: PublicCheckpoint, size: str | None) -> dict[str, Any]:
    """Return the keyword arguments of the body."""
    if size is not None:
        if size not in what.body.sizes:
            raise UnknownNameError(f"size of body '{what.body.name}'", size, what.body.sizes)
        return dict(what.body.sizes[size])
    if public.config is None:
        raise ConfigError(
            f"'{public.file}' carries no configuration. Give its JSON (--config), or a published size (--size "
            f"{' or '.join(what.body.sizes)}) if it is one."
        )
    config = nested(public.config, what.types)
    if config is None:
        raise ConfigError(f"the configuration of '{public.file}' describes no {' or '.join(what.types)}.")
    return {"config": config}


def _contract(what: _Kind, public: PublicCheckpoint, name: str | None, layout: str) -> PointContract:
    """Return the contract of a published recipe: the one that is asked for, or the one that made such a file."""
    if name is None and len(what.contracts) > 1:
        semantic = public.config is not None and (nested(public.config, what.types) or {}).get("type") == what.types[1]
        name = "pimm_semantic" if semantic else "original" if layout == "original" else "pimm_pretrain"
    name = name or next(iter(what.contracts))
    if name not in what.contracts:
        raise UnknownNameError(f"recipe of body '{what.body.name}'", name, what.contracts)
    chosen = what.contracts[name]
    differs = chosen.changed(stated(public.config or {}, chosen))
    if differs:
        raise ConfigError(f"'{public.file}' states another input than the recipe: {differs}. Choose its own recipe.")
    return chosen


def _fill(body: Body, weights: Mapping[str, Tensor], file: Path) -> None:
    try:
        body.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise ConfigError(f"'{file}' does not fit the public network of its configuration: {error}") from error
