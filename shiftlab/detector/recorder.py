"""Any detector that a study can ask: of images, or of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from shiftlab.detector.chain import Detector
from shiftlab.detector.effect import effects
from shiftlab.detector.scintillator.stages import TOKEN_STAGES
from shiftlab.detector.scintillator.token_chain import TokenChain

__all__ = ["Recorder", "recorder"]

Recorder: TypeAlias = Detector | TokenChain
"""A detector of images, or one of tokens behind the same methods."""


def recorder(config: Mapping[str, Any], seed: int | None = None) -> Recorder:
    """Return the detector of a configuration: with a toy of strips, or effects on tokens alone, it gives tokens.

    Args:
        config: Plain values of ``configs/detector/NAME.yaml``.
        seed: Of all keyed draws, in place of the configuration's.

    Raises:
        ConfigError: a key or value is not allowed; the message names it.
    """
    if not _gives_tokens(config):
        images = Detector.from_config(config)
        return images if seed is None else replace(images, seed=seed)
    tokens = TokenChain.from_config(config)
    return tokens if seed is None else tokens.seeded(seed)


def _gives_tokens(config: Mapping[str, Any]) -> bool:
    if "toy" in config or "geometry" in config:
        return "toy" in config
    listed = config.get("effects")
    names = list(listed) if isinstance(listed, Mapping) else []
    known = effects()
    return bool(names) and all(name in known.names() and known.get(name).stage in TOKEN_STAGES for name in names)
