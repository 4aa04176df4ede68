"""A checkpoint of OmniLearned as a foundation model of tokens: its weights, what it takes, and what it has seen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from shiftlab.arms.bodies.pet2 import Pet2
from shiftlab.arms.checkpoint import load_record
from shiftlab.arms.foundation_model import FoundationModel, is_foundation, save_foundation
from shiftlab.arms.objectives.classify_and_generate import ClassifyAndGenerate
from shiftlab.arms.public.seen import seen_events
from shiftlab.arms.tokens.contract import OMNILEARNED, TokenContract
from shiftlab.arms.tokens.omnilearned import convert
from shiftlab.errors import ConfigError, UnknownNameError
from shiftlab.events.reader import read_tokens

__all__ = ["adopt_omnilearned", "stated_contract"]

_TAUGHT: Final = {"classifier_head": "classification", "generator_head": "flow matching"}
"""What a part of the checkpoint says of the training."""


def adopt_omnilearned(
    path: Path,
    out: Path,
    contract: TokenContract = OMNILEARNED,
    *,
    size: str | None = None,
    average: bool = False,
    partial: bool = False,
    dataset: str = "",
    seen: Sequence[Path] = (),
    licence: str = "",
    **stated: int,
) -> dict[str, Any]:
    """Write a public checkpoint as ``convert`` does, and as a foundation model for arms, in half precision.

    Args:
        path: What ``omnilearned.utils.save_checkpoint`` wrote.
        out: The folder; it must not hold a checkpoint.
        contract: The tokens that it takes, which no checkpoint says (``stated_contract``).
        size: The package's size that it must have; read off the tensors when None.
        average: As for ``convert``.
        partial: As for ``convert``.
        dataset: ``name/revision`` of what it was trained on; empty where unknown.
        seen: Files of events that it was trained on; none where unknown.
        licence: Under which terms its makers give it.
        stated: As for ``convert``.

    Returns:
        The record.

    Raises:
        ConfigError: the checkpoint cannot be read, or is of another size or for other tokens.
        UnknownNameError: there is no such size.
        DataError: a file of events cannot be read.
    """
    if is_foundation(out):
        raise ConfigError(f"'{out}' already holds a checkpoint. Choose another folder.")
    if not path.is_file():
        raise ConfigError(f"no public checkpoint '{path}'.")
    if size is not None and size not in Pet2.sizes:
        raise UnknownNameError(f"size of body '{Pet2.name}'", size, Pet2.sizes)
    known = seen_events(dataset, seen)
    about = {
        "dataset": known.dataset,
        "seen": list(known.files),
        "licence": licence or "that of the source; see its model card",
    }
    wanted = {} if size is None else dict(Pet2.sizes[size])
    body = convert(path, out, contract, average=average, partial=partial, about=about, wanted=wanted, **stated)
    record = load_record(out)
    told = {name: value for name, value in record.items() if name not in ("body", "contract", "weights")}
    told["objective"] = _objective(record["parts"])
    save_foundation(out, FoundationModel(body, told, known.vertices))
    return record


def stated_contract(
    file: Path | None = None, tokens: Path | None = None, energy_unit: Literal["MeV", "GeV"] = "GeV"
) -> TokenContract:
    """Return the tokens that a checkpoint takes, as whoever adopts it says: those of jets, where nothing is said.

    Args:
        file: JSON of a contract, as in the card of a foundation model or in the record of an arm, or alone.
        tokens: File of such tokens: their columns, kinds and globals, their means and widths.
        energy_unit: Unit of the energies that the checkpoint was trained on, for ``tokens``.

    Raises:
        ConfigError: both are given, or the file holds no contract of tokens.
        DataError: the tokens cannot be read.
    """
    if file is not None and tokens is not None:
        raise ConfigError("contract and tokens: both say what the checkpoint takes. Leave one out.")
    if tokens is not None:
        return TokenContract.of(read_tokens(tokens), energy_unit=energy_unit)
    if file is None:
        return OMNILEARNED
    try:
        held: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the contract '{file}' cannot be read: {error}.") from error
    plain = held.get("contract", held) if isinstance(held, dict) else held
    if not isinstance(plain, dict) or plain.get("input") != "tokens":
        raise ConfigError(f"'{file}' holds no contract of tokens; the card of a foundation model of tokens has one.")
    return TokenContract.from_plain(plain)


def _objective(parts: Sequence[str]) -> dict[str, Any]:
    """Return what the training varied, as the parts of the checkpoint tell: only a generator was shown noise."""
    taught = [word for part, word in _TAUGHT.items() if part in parts]
    return {
        "name": " and ".join(taught) or "unknown",
        "augmentations": dict(ClassifyAndGenerate.augmentations) if "generator_head" in parts else {},
    }
