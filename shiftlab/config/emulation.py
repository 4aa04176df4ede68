"""Which universes are emulated, from ``configs/emulation``, ``configs/universes`` and the words of a command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from shiftlab.config.names import registry
from shiftlab.config.records import Reader
from shiftlab.config.study import locate
from shiftlab.config.words import config_dir, options, single_values
from shiftlab.errors import ConfigError, ShiftlabError, UnknownNameError
from shiftlab.plan import EmulationPlan

__all__ = ["compose_emulation"]

_GROUPS: Final = {"universes": "multisim", "emulation": "auto"}
"""Groups of keys, and the file that each starts from."""

_UNUSED: Final = ("strengths", "unphysical", "throws", "correlations", "mip", "exact")
"""Keys of ``universes`` that say nothing of emulated ones: what these are made of, and their prior, is the run's."""


def compose_emulation(words: Sequence[str]) -> EmulationPlan:
    """Return the emulation that ``words``, say ``["universes=multisim", "emulation.form=quadratic"]``, describe.

    Raises:
        ConfigError: something is wrong; the message has every mistake, one a line.
    """
    mistakes: list[str] = []
    keys = _keys(words, mistakes)
    plan = Reader(mistakes, locate).record(EmulationPlan, keys)
    if plan is None or mistakes:
        raise ConfigError("\n".join(mistakes))
    if not plan.universes.joint:
        raise ConfigError("universes.joint: 0 is given; joint universes are what is emulated, so at least 1 is wanted.")
    try:
        for kind in ("effects", "tasks"):
            registry(kind, plan.plugins)
    except ShiftlabError as error:
        raise ConfigError(f"plugins: {error}") from error
    return plan


def _keys(words: Sequence[str], mistakes: list[str]) -> dict[str, Any]:
    """Return the words as nested keys, on top of the files that they choose."""
    given: dict[str, Any] = {}
    of_run = {f"universes.{name}" for name in _UNUSED}
    for key, value in single_values(words, mistakes):
        if key in of_run:
            mistakes.append(f"{key}: it is that of the run; leave it out.")
        else:
            given[key] = value
    merged = OmegaConf.create(
        {group: _file(group, str(given.pop(group, name)), mistakes) for group, name in _GROUPS.items()}
    )
    try:
        for key, value in given.items():
            OmegaConf.update(merged, key, value, force_add=True)
        plain: Any = OmegaConf.to_container(merged, resolve=True)
    except (OmegaConfBaseException, ValueError) as error:
        mistakes.append(str(error).splitlines()[0])
        return {}
    return {str(key): value for key, value in plain.items()}


def _file(group: str, name: str, mistakes: list[str]) -> Any:
    if name not in options(group):
        mistakes.append(str(UnknownNameError(group, name, options(group))))
        return {}
    return OmegaConf.load(config_dir() / group / f"{name}.yaml")
