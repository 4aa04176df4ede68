"""Checkpoints of OmniLearned: from the package's own files to a ``Pet2`` body, and to safetensors with JSON.

Layout (package ``omnilearned`` 0.2.0, ``utils.save_checkpoint``): a ``torch.save`` of ``body``, ``classifier_head``,
``generator_head``, their averages ``ema_body`` and ``ema_generator``, and the state of the optimiser, by name. It holds
neither units nor what its columns are, nor K, the number of heads and the number of coordinates: whoever loads it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shiftlab.arms.bodies.pet2 import Pet2
from shiftlab.arms.checkpoint import load_record, save_record
from shiftlab.arms.public.files import read_torch
from shiftlab.arms.tokens.contract import KINEMATICS, TokenContract
from shiftlab.arms.training.networks import seeded
from shiftlab.errors import ConfigError
from shiftlab.provenance import digest_file, write_whole

__all__ = [
    "PARTS",
    "Transfer",
    "convert",
    "fill",
    "filled",
    "load_converted",
    "pet2_from",
    "read_checkpoint",
    "size_of",
    "transfer",
]

PARTS: Final = ("body", "classifier_head", "generator_head", "ema_body", "ema_generator")
"""What of a checkpoint are weights."""

_WEIGHTS: Final = "weights.safetensors"
_STATED: Final = ("heads", "neighbours", "coordinates", "first_kind")
"""What of the size no tensor tells."""

_HEADS: Final = {128: 8, 512: 16, 1024: 32}
"""Attention heads by width, of the package's sizes small, medium and large."""

_OF_NOISE: Final = ("body.MPFourier.", "body.time_embed.")
"""The embedding of the noise level, which a checkpoint of a plain classifier lacks."""

State = Mapping[str, Tensor]
Parts = Mapping[str, State]


@dataclass(frozen=True)
class Transfer:
    """What of a checkpoint came into a network.

    Attributes:
        copied: Tensors of the network that were filled.
        left: Tensors of the network that keep their initial values.
        unused: Tensors of the checkpoint that found no place.
    """

    copied: tuple[str, ...]
    left: tuple[str, ...]
    unused: tuple[str, ...]


def read_checkpoint(path: Path) -> dict[str, dict[str, Tensor]]:
    """Return the weights of a public checkpoint by part, or of one that ``convert`` wrote.

    Nothing of the file is run.

    Raises:
        ConfigError: the file is missing, damaged, holds more than tensors and plain values, or has no ``body``.
    """
    if path.suffix == ".safetensors":
        return _unflatten(_safetensors(path), path)
    held = read_torch(path)
    if not isinstance(held, Mapping) or not isinstance(held.get("body"), Mapping):
        raise ConfigError(f"'{path}' is no OmniLearned checkpoint: it has no part 'body'.")
    return {part: dict(held[part]) for part in PARTS if isinstance(held.get(part), Mapping)}


def size_of(parts: Parts, **stated: int) -> dict[str, Any]:
    """Return the keyword arguments of ``Pet2`` that fit a checkpoint's tensors.

    Args:
        parts: What ``read_checkpoint`` gave.
        stated: What no tensor tells: ``heads`` (known for the package's own sizes), ``neighbours`` (10 when not
            given), ``coordinates`` (2) and ``first_kind`` (1).

    Raises:
        ConfigError: a tensor is missing or of an unexpected shape, or something else is stated.
    """
    unknown = sorted(set(stated).difference(_STATED))
    if unknown:
        raise ConfigError(f"OmniLearned checkpoint: {', '.join(unknown)} cannot be stated; {', '.join(_STATED)} can.")
    body = parts["body"]
    try:
        _, tokens, width = body["token"].shape
        columns = len(body["embed.norm.weight"])
        local = body["local_physics.mlp.fc1.weight"].shape[1]
        hidden = len(body["embed.mlp.fc1.bias"])
    except (KeyError, ValueError) as error:
        raise ConfigError(f"OmniLearned checkpoint: its body is not that of PET2, {error} is missing.") from error
    if columns != KINEMATICS:
        raise ConfigError(f"OmniLearned checkpoint: made for {columns} momentum columns; {KINEMATICS} can be used.")
    if any(name.startswith("out_blocks.") for name in body):
        raise ConfigError("OmniLearned checkpoint: its body has skip connections, which are not supported.")
    heads = stated.get("heads", _HEADS.get(width))
    if heads is None:
        raise ConfigError(f"OmniLearned checkpoint: width {width} is none of the package's; state `heads`.")
    return {
        "width": width,
        "layers": _count(body, "in_blocks."),
        "head_layers": _count(body, "local_physics.in_blocks."),
        "heads": heads,
        "class_tokens": tokens,
        "expansion": hidden // width,
        "neighbours": stated.get("neighbours", 10),
        "coordinates": stated.get("coordinates", 2),
        "interaction": any(name.startswith("interaction.") for name in body),
        "local_interaction": local == columns + 3,
        "first_kind": stated.get("first_kind", 1),
        "dropout": 0.0,
    }


def pet2_from(parts: Parts, contract: TokenContract, *, average: bool = False, **stated: int) -> Pet2:
    """Return the body of a checkpoint for tokens of ``contract``, every tensor filled.

    Args:
        parts: What ``read_checkpoint`` gave. Without a classifier, that of the body is drawn, always the same.
        contract: The tokens that it was trained on, as its owner says.
        average: Take the running average of the body's weights.
        stated: As for ``size_of``.

    Raises:
        ConfigError: the checkpoint was made for another number of columns, kinds or globals than the contract has.
    """
    body, moved = filled(parts, contract, average=average, **stated)
    # Without noise the level's embedding is exactly zero; a checkpoint of a plain classifier has none.
    left = [name for name in moved.left if not name.startswith(_OF_NOISE)]
    if "classifier_head" not in parts:
        left = [name for name in left if not name.startswith("classifier.")]
    unused = [name for name in moved.unused if not name.startswith("classifier.out.")]
    if left or unused:
        kinds, extra, numbers = _takes(parts["body"])
        first = int(stated.get("first_kind", 1))
        own = len(contract.kinds) + first if len(contract.kinds) > 1 else 0
        raise ConfigError(
            f"OmniLearned checkpoint: {len(left)} tensors of the network stay unfilled and {len(unused)} of the file "
            f"are unused, say {', '.join((left + unused)[:2])}. It has places for {kinds} kinds, {extra} columns "
            f"beyond the momentum and {numbers} globals; its contract as stated, for {own}, "
            f"{len(contract.columns) - KINEMATICS} and {len(contract.global_columns)}. State its own contract, or copy "
            "what fits (partial), as the package does before fine-tuning."
        )
    return body


def filled(parts: Parts, contract: TokenContract, *, average: bool = False, **stated: int) -> tuple[Pet2, Transfer]:
    """Return a body with what fits of a checkpoint; the rest is drawn, always the same.

    Raises:
        ConfigError: as for ``size_of``, or there is no average.
    """
    if average and "ema_body" not in parts:
        raise ConfigError("OmniLearned checkpoint: it has no running average of the body.")
    with seeded("omnilearned"):
        body = Pet2.fresh(size_of(parts, **stated), contract)
    return body, fill(body, {**parts, "body": parts["ema_body"]} if average else parts)


def fill(body: Pet2, parts: Parts) -> Transfer:
    """Copy what fits into a body, as the package does before fine-tuning, and say what did not."""
    given = {f"body.{name}": value for name, value in parts["body"].items()}
    given |= {f"classifier.{name}": value for name, value in parts.get("classifier_head", {}).items()}
    return transfer(body.network, given)


def transfer(module: nn.Module, given: State) -> Transfer:
    """Copy every tensor of equal name and shape, but none with ``out.`` in its name (``utils.restore_checkpoint``)."""
    own = module.state_dict()
    fits = {
        name: value
        for name, value in given.items()
        if "out." not in name and name in own and own[name].shape == value.shape
    }
    module.load_state_dict(fits, strict=False)
    return Transfer(tuple(fits), _without(own, fits), _without(given, fits))


def convert(
    path: Path,
    folder: Path,
    contract: TokenContract,
    *,
    average: bool = False,
    partial: bool = False,
    about: Mapping[str, Any] | None = None,
    wanted: Mapping[str, Any] | None = None,
    **stated: int,
) -> Pet2:
    """Write a public checkpoint as ``weights.safetensors``, bit for bit, and ``record.json`` with its contract.

    Args:
        path: The public checkpoint.
        folder: Where both files go.
        contract: The tokens that it was trained on, as its owner says; with ``partial`` those that it shall take.
        average: Use the running average of the body's weights.
        partial: Copy what fits and draw the rest, as the package does before fine-tuning; what was drawn is recorded,
            and the file then has the body and classifier as they came out.
        about: What the record says besides.
        wanted: Parts of the size that it must have.
        stated: As for ``size_of``.

    Raises:
        ConfigError: as for ``read_checkpoint`` and ``pet2_from``, or its size is not the wanted one.
    """
    parts = read_checkpoint(path)
    known: dict[str, Any] = dict(stated)
    _require_size(size_of(parts, **known), wanted or {}, path)
    drawn: tuple[str, ...] = () if "classifier_head" in parts else ("classifier",)
    held: Parts = parts
    if partial:
        body, moved = filled(parts, contract, average=average, **known)
        drawn = tuple(sorted({".".join(name.split(".")[:2]) for name in moved.left if not name.startswith(_OF_NOISE)}))
        held = {"body": body.network["body"].state_dict(), "classifier_head": body.network["classifier"].state_dict()}
    else:
        body = pet2_from(parts, contract, average=average, **known)
    flat = {f"{part}.{name}": value.clone() for part, state in held.items() for name, value in state.items()}
    with write_whole(folder / _WEIGHTS) as temporary:
        save_file({name: value.contiguous() for name, value in flat.items()}, temporary)
    used = ("ema_body" if average else "body", "classifier_head")
    record = {
        "body": {"name": body.name, **body.plain()},
        "contract": contract.plain(),
        "parts": sorted(parts),
        "average": average and not partial,
        "drawn": list(drawn),
        "left_out": sorted(set(parts).difference(used)),
        "parameters": sum(value.numel() for value in body.parameters()),
        "source": {"file": path.name, "sha256": digest_file(path), "layout": "omnilearned 0.2.0"},
        "weights": digest_file(folder / _WEIGHTS),
    }
    save_record(folder, {**(about or {}), **record})
    return body


def _require_size(size: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    differ = [f"{name} = {size[name]}, not {value}" for name, value in wanted.items() if size[name] != value]
    if differ:
        raise ConfigError(f"OmniLearned checkpoint '{path}' is of another size: {'; '.join(differ)}.")


def load_converted(folder: Path) -> Pet2:
    """Return the body that ``convert`` wrote, with the contract that travels with it.

    Raises:
        ConfigError: a file is missing or damaged, or both do not fit.
    """
    record = load_record(folder)
    try:
        size, contract = dict(record["body"]), TokenContract.from_plain(record["contract"])
        stated: dict[str, Any] = {name: size[name] for name in _STATED}
        average, told = bool(record["average"]), record["weights"]
    except (KeyError, TypeError) as error:
        raise ConfigError(f"checkpoint '{folder}': its record lacks {error}.") from error
    parts = _unflatten(_safetensors(folder / _WEIGHTS), folder / _WEIGHTS)
    if digest_file(folder / _WEIGHTS) != told:
        raise ConfigError(f"'{folder / _WEIGHTS}' is not the file that its record describes.")
    return pet2_from(parts, contract, average=average, **stated)


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"checkpoint '{path}' cannot be read: {error}") from error


def _unflatten(flat: State, path: Path) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in flat.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = value
    if "body" not in parts:
        raise ConfigError(f"'{path}' is no OmniLearned checkpoint: it has no part 'body'.")
    return parts


def _takes(body: State) -> tuple[int, int, int]:
    """Return how many kinds, columns beyond the momentum and globals a body has places for."""
    kinds, extra, numbers = (
        body.get(name) for name in ("pid_embed.0.weight", "add_embed.0.fc1.weight", "cond_embed.0.fc1.weight")
    )
    return (
        0 if kinds is None else len(kinds),
        0 if extra is None else extra.shape[1],
        0 if numbers is None else numbers.shape[1],
    )


def _count(state: State, prefix: str) -> int:
    """Return how many numbered blocks begin with ``prefix``."""
    return len({name[len(prefix) :].partition(".")[0] for name in state if name.startswith(prefix)})


def _without(names: Iterable[str], taken: Mapping[str, Tensor]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in taken)
