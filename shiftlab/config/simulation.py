"""One simulation campaign from ``configs/simulation`` and the words of a command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from shiftlab.config.records import Reader, unknown_key
from shiftlab.config.study import locate
from shiftlab.config.words import config_dir, options, single_values
from shiftlab.errors import ConfigError, ShiftlabError, UnknownNameError
from shiftlab.events.simulation.campaign import SIDES, Campaign
from shiftlab.events.simulation.composition import compose_batch
from shiftlab.events.simulation.recipe import Recipe
from shiftlab.events.simulation.tables import find_tables
from shiftlab.events.simulation.transport import CUTS, ELECTROMAGNETIC, HADRONIC, Transport
from shiftlab.provenance import digest_json

__all__ = ["SimulationConfig", "SimulationJob", "compose_simulation"]


@dataclass(frozen=True)
class TransportConfig:
    """Keys of ``transport``, as of ``Transport``; a side of None takes the medium's."""

    hadronic: str = HADRONIC[0]
    electromagnetic: str = ELECTROMAGNETIC[0]
    cut: float = field(default=0.07, metadata={"low": CUTS[0], "high": CUTS[1]})
    latest: float = field(default=20.0, metadata={"above": 0.0})
    side: float | None = field(default=None, metadata={"above": 0.0})
    tables: Path | None = None


@dataclass(frozen=True)
class SimulationConfig:
    """Keys of ``shiftlab simulate``.

    Attributes:
        n: Number of events.
        seed: Fixes every random number.
        out: The sample; None names it after the keys, in ``data``.
        workers: Processes; None takes one for each core.
        batch: Events of a shard.
        transport: How Geant4 carries the particles.
    """

    n: int = field(metadata={"low": 1})
    seed: int = field(default=1, metadata={"low": 0})
    out: Path | None = None
    workers: int | None = field(default=None, metadata={"low": 1})
    batch: int = field(default=200, metadata={"low": 1})
    transport: TransportConfig = TransportConfig()


@dataclass(frozen=True)
class SimulationJob:
    """A campaign, where its sample goes and how many processes make it.

    Attributes:
        campaign: What is simulated.
        out: The sample.
        workers: Processes.
        command: The command that makes the same sample, without ``out`` and ``workers``, which change no byte.
    """

    campaign: Campaign
    out: Path
    workers: int
    command: str


_ELSEWHERE: Final = ("data", "events")
"""Keys that are read apart from those of SimulationConfig."""

_UNSAID: Final = ("out", "workers", "transport.tables")
"""Keys that the command in a sample's attributes leaves out."""


def compose_simulation(words: Sequence[str]) -> SimulationJob:
    """Return the campaign that ``words``, say ``["data=lar_neutrino", "n=100"]``, describe.

    Raises:
        ConfigError: something is wrong; the message has every mistake, one a line.
    """
    mistakes: list[str] = []
    given = _values(words, mistakes)
    name = given.pop("data", None)
    if name is None:
        mistakes.append(f"data: missing; say data=NAME. Allowed: {', '.join(options('simulation'))}, or a .yaml file.")
    keys = _file(str(name), mistakes) if name is not None else None
    if keys is None:
        raise ConfigError("\n".join(mistakes))
    shipped = keys.get("events", {})  # _set copies what it changes
    for key, value in given.items():
        _set(keys, key, value, mistakes)
    departs = digest_json(keys.get("events"))[:8] if keys.get("events") != shipped else ""
    return _job(str(name), keys, given, departs, mistakes)


def _values(words: Sequence[str], mistakes: list[str]) -> dict[str, Any]:
    """Return the plain value of each key."""
    return dict(single_values(words, mistakes))


def _file(name: str, mistakes: list[str]) -> dict[str, Any] | None:
    """Return the keys of a configuration by its name, or of the file with that path."""
    path = config_dir() / "simulation" / f"{name}.yaml"
    if name.endswith(".yaml"):
        path = locate(name)
    if not path.is_file():
        mistakes.append(str(UnknownNameError("data", name, options("simulation"))))
        return None
    try:
        keys = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (OmegaConfBaseException, ValueError) as error:
        mistakes.append(f"{path}: {str(error).splitlines()[0]}")
        return None
    if not isinstance(keys, dict):
        mistakes.append(f"{path}: a group of keys is wanted.")
        return None
    return {str(key): value for key, value in keys.items()}


def _set(keys: dict[str, Any], key: str, value: Any, mistakes: list[str]) -> None:
    """Set one dotted key in copies of the groups that it passes; every group below ``events`` must be there."""
    *groups, last = key.split(".")
    place = keys
    for depth, group in enumerate(groups):
        if group not in place and groups[0] == "events":
            mistakes.append(unknown_key(".".join(groups[:depth]), group, place))
            return
        inner = place.get(group, {})
        if not isinstance(inner, Mapping):
            mistakes.append(f"{key}: {'.'.join(groups[: depth + 1])} is no group of keys.")
            return
        place[group] = dict(inner)
        place = place[group]
    place[last] = value


def _job(name: str, keys: dict[str, Any], given: Mapping[str, Any], departs: str, mistakes: list[str]) -> SimulationJob:
    recipe = _recipe(keys.pop("events", None), mistakes)
    known = (*SimulationConfig.__dataclass_fields__, *_ELSEWHERE)
    mistakes += [unknown_key("", key, known) for key in keys if key not in known]
    _check_models(keys.get("transport"), mistakes)
    settings = Reader(mistakes, locate).record(SimulationConfig, {k: v for k, v in keys.items() if k in known})
    tables = _tables(keys.get("transport"), mistakes)
    if recipe is None or settings is None or tables is None or mistakes:
        raise ConfigError("\n".join(mistakes))
    transport = _transport(settings.transport, tables, recipe.medium)
    campaign = Campaign(recipe, transport, settings.seed, settings.n, settings.batch)
    compose_batch(recipe, settings.seed, settings.n - 1, settings.n)
    said = [f"{key}={_word(value)}" for key, value in given.items() if key not in _UNSAID]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return SimulationJob(
        campaign,
        settings.out or Path("data", f"{_stem(name, campaign, departs)}.h5").absolute(),
        settings.workers or cores,
        " ".join(["shiftlab simulate", f"data={name}", *said]),
    )


def _recipe(events: Any, mistakes: list[str]) -> Recipe | None:
    if not isinstance(events, Mapping):
        mistakes.append("events: missing; it says what starts each event.")
        return None
    try:
        return Recipe.from_config(events, locate)
    except ShiftlabError as error:
        mistakes.append(str(error))
        return None


def _check_models(given: Any, mistakes: list[str]) -> None:
    """Note models of Geant4 that are not offered, whatever else is wrong."""
    for key, allowed in (("hadronic", HADRONIC), ("electromagnetic", ELECTROMAGNETIC)):
        value = given.get(key, allowed[0]) if isinstance(given, Mapping) else allowed[0]
        if isinstance(value, str) and value not in allowed:
            mistakes.append(str(UnknownNameError(f"transport.{key}", value, allowed)))


def _tables(given: Any, mistakes: list[str]) -> Path | None:
    """Return the folder of Geant4's tables; what is not installed is noted."""
    named = given.get("tables") if isinstance(given, Mapping) else None
    try:
        return find_tables(locate(named) if isinstance(named, str) else None)
    except ConfigError as error:
        mistakes.append(str(error))
        return None


def _transport(given: TransportConfig, tables: Path, medium: str) -> Transport:
    side = given.side if given.side is not None else SIDES[medium]
    return Transport(tables, given.hadronic, given.electromagnetic, given.cut, given.latest, side, material=medium)


def _stem(name: str, campaign: Campaign, departs: str) -> str:
    """Return a file name that says what departs from the file's recipe and from the usual transport."""
    recipe, transport = campaign.recipe, campaign.transport
    own = Transport(transport.tables, side=SIDES[recipe.medium], material=recipe.medium)
    words = [Path(name).stem if name.endswith(".yaml") else name, f"n{campaign.count}", f"seed{campaign.seed}"]
    for key, prefix in (("hadronic", ""), ("electromagnetic", ""), ("cut", "cut"), ("latest", "us"), ("side", "side")):
        value = getattr(transport, key)
        if value != getattr(own, key):
            words.append(f"{prefix}{value:g}" if isinstance(value, float) else value)
    return "_".join([*words, *([f"events-{departs}"] if departs else [])])


def _word(value: Any) -> str:
    """Return a value as it may be typed."""
    if isinstance(value, bool):
        return str(value).lower()
    return "[" + ",".join(map(_word, value)) + "]" if isinstance(value, list) else str(value)
