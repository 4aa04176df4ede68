"""One pre-training from the words of a command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from shiftlab.config.names import network_mistakes, registry
from shiftlab.config.records import Reader
from shiftlab.config.study import detector_config, locate
from shiftlab.config.words import parse_word
from shiftlab.detector import Detector
from shiftlab.detector.recorder import Recorder, recorder
from shiftlab.detector.scintillator.token_chain import TokenChain
from shiftlab.errors import ConfigError, ShiftlabError
from shiftlab.plan import PretrainingPlan

__all__ = ["compose_pretraining"]

_DETECTOR = "pixel_lar"
_NEEDED: Final = {"data.train": "data.train=FILE or data.train=FILE,FILE", "out": "out=FOLDER"}


def compose_pretraining(words: Sequence[str]) -> PretrainingPlan:
    """Return the pre-training that ``words``, say ``["data.train=events.h5", "out=model"]``, describe.

    Raises:
        ConfigError: something is wrong; the message has every mistake, one a line.
    """
    mistakes: list[str] = []
    keys = _keys(words, mistakes)
    found: list[str] = []
    plan = Reader(found, locate).record(PretrainingPlan, keys)
    # What is missing has been said, with the words that give it.
    mistakes += [mistake for mistake in found if not (mistakes and mistake.endswith(": missing."))]
    if plan is not None:
        _check(plan, mistakes)
    if plan is None or mistakes:
        raise ConfigError("\n".join(mistakes))
    return plan


def _keys(words: Sequence[str], mistakes: list[str]) -> dict[str, Any]:
    """Return the words as nested keys, on top of the detector that they choose."""
    given: dict[str, Any] = {}
    for word in words:
        override = parse_word(word, mistakes)
        if override is None:
            continue
        key, text = override.key_or_group, str(override.input_line).split("=", 1)[1]
        if override.is_delete():
            mistakes.append(f"'{word}' is given; key=value is wanted.")
        elif key == "data.train":
            given[key] = [part.strip() for part in text.strip("[]").split(",") if part.strip()]
        elif override.is_sweep_override():
            mistakes.append(f"{key}: one value is wanted (brackets make a list).")
        elif key in given:
            mistakes.append(f"{key}: given twice.")
        else:
            given[key] = override.value()
    mistakes += [f"{key}: missing; say {words}." for key, words in _NEEDED.items() if key not in given]
    composed: dict[str, Any] = {"detector": _detector(str(given.pop("detector", _DETECTOR)), mistakes)}
    try:
        merged = OmegaConf.create(composed)
        for key, value in given.items():
            OmegaConf.update(merged, key, value, force_add=True)
        plain: Any = OmegaConf.to_container(merged, resolve=True)
    except (OmegaConfBaseException, ValueError) as error:
        mistakes.append(str(error).splitlines()[0])
        return composed
    return {str(key): value for key, value in plain.items()}


def _detector(name: str, mistakes: list[str]) -> dict[str, Any]:
    try:
        return detector_config(name)
    except ShiftlabError as error:
        mistakes.append(str(error))
        return {}


def _check(plan: PretrainingPlan, mistakes: list[str]) -> None:
    """Add one message for each name that does not exist, file that is not there and detector that cannot be made."""
    detector: Recorder | None = None
    try:
        detector = recorder(plan.detector)
    except ShiftlabError as error:
        mistakes.append(f"detector: {error}")
    given = "tokens" if isinstance(detector, TokenChain) else "images"
    known: Mapping[str, Any] = {kind: registry(kind) for kind in ("bodies", "objectives")}
    if detector is not None:
        mistakes += network_mistakes(plan.arms.body, plan.arms.size, plan.arms.objective, known, given)
    mistakes += [f"data.train: no file '{path}'." for path in plan.data.train if not path.is_file()]
    if plan.data.manifest is not None and not plan.data.manifest.is_file():
        mistakes.append(f"data.manifest: no file '{plan.data.manifest}'.")
    if plan.arms.train.labels:
        mistakes.append("arms.train.labels: pre-training uses no labels; leave it out.")
    if isinstance(detector, Detector) and detector.geometry.views > 1:
        mistakes.append("detector: bodies take images of voxels; this detector is one of wires.")
