"""Sub-commands that show what there is: ``shiftlab list`` and ``show``."""

from __future__ import annotations

import argparse
import inspect
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shiftlab.errors import ConfigError, DataError

if TYPE_CHECKING:
    from shiftlab.detector import Parameter

__all__ = ["add"]

_KINDS = ("effects", "arms", "bodies", "objectives", "tasks", "studies", "readers")


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the sub-commands to the parser."""
    listing = commands.add_parser("list", parents=[common], help="list what is registered")
    listing.add_argument("kind", choices=_KINDS)
    listing.add_argument("--json", action="store_true", help="as JSON, with everything that is known")
    listing.add_argument("--markdown", action="store_true", help="effects as the page of the documentation")
    listing.set_defaults(action=_list)

    show = commands.add_parser("show", help="draw an event or an effect, tell what arms cost, or rank them")
    shown = show.add_subparsers(required=True, metavar="WHAT")
    event = shown.add_parser("event", parents=[common], help="draw one event of a file")
    event.add_argument("file", type=Path)
    event.add_argument("number", type=int, metavar="N", help="from 0")
    event.add_argument("--detector", default="pixel_lar", metavar="NAME", help="that records it, say wire_lar")
    event.add_argument("-o", "--output", type=Path, help="PNG to write (default: event_N.png)")
    event.set_defaults(action=_show_event)
    arms = shown.add_parser("arms", parents=[common], help="what the arms of a checkpoint folder are, and cost")
    arms.add_argument("folder", type=Path, help="folder of checkpoints, say studies/checkpoints/demo")
    arms.add_argument("--json", action="store_true", help="as JSON, one row per arm and seed")
    arms.set_defaults(action=_show_arms)
    board = shown.add_parser("leaderboard", parents=[common], help="which arms of finished runs are the most robust")
    board.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a finished run; several are ranked")
    board.add_argument("--json", action="store_true", help="as JSON, one row per arm")
    board.set_defaults(action=_show_leaderboard)
    effect = shown.add_parser("effect", parents=[common], help="draw what an effect does to an event")
    effect.add_argument("name")
    effect.add_argument("--events", type=Path, metavar="FILE", help="events to draw (default: a shipped sample)")
    effect.add_argument("--number", type=int, metavar="N", help="event of an image, from 0 (default: one that changes)")
    effect.add_argument("-o", "--output", type=Path, help="PNG to write (default: NAME.png)")
    effect.set_defaults(action=_show_effect)


def _list(given: argparse.Namespace) -> int:
    from shiftlab.config import registry, study_titles

    if given.markdown:
        return _markdown(given.kind)
    if given.kind == "studies":
        rows = [{"name": name, "title": title} for name, title in study_titles().items()]
    else:
        rows = [_entry(kind) for kind in registry(given.kind)]
    if given.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    short = [_short(row) for row in rows]
    for line in _columns(short):
        print(line)
    return 0


def _markdown(kind: str) -> int:
    from shiftlab.cli.effect_pages import catalogue_page
    from shiftlab.detector import effects

    if kind != "effects":
        raise ConfigError(f"--markdown writes the page of effects; there is none of {kind}.")
    print(catalogue_page(effects()), end="")
    return 0


def _entry(kind: type[Any]) -> dict[str, Any]:
    """Return what is known of a registered class, as JSON values."""
    entry: dict[str, Any] = {
        "name": kind.name,
        "about": getattr(kind, "summary", None) or (inspect.getdoc(kind) or "").split("\n", 1)[0],
    }
    for attribute in ("stage", "letter", "input", "statistic", "unit", "level", "observable_label"):
        value = getattr(kind, attribute, None)
        if isinstance(value, str):
            entry[attribute] = value
    for attribute in ("catalogue", "double_counts"):
        if getattr(kind, attribute, ()):
            entry[attribute] = getattr(kind, attribute)
    for attribute in ("sizes", "augmentations"):
        if isinstance(getattr(kind, attribute, None), Mapping):
            entry[attribute] = {name: _plain(value) for name, value in getattr(kind, attribute).items()}
    parameters = getattr(kind, "parameters", ())
    if isinstance(parameters, tuple | list) and parameters:
        entry["parameters"] = [_parameter(kind.name, one) for one in parameters]
    entry["module"] = kind.__module__
    return entry


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _parameter(effect: str, one: Parameter) -> dict[str, Any]:
    """Return what is known of a parameter; its nuisance is None when it has no uncertainty."""
    keys = (
        "name",
        "nominal",
        "sigma",
        "scale",
        "unit",
        "scope",
        "two_sided",
        "algebra",
        "source",
        "confidence",
        "choices",
        "requires",
        "doc",
    )
    return {
        "nuisance": f"{effect}_{one.name}" if one.sigma and not one.choices else None,
        "bounds": [bound if math.isfinite(bound) else None for bound in one.bounds],
        "identity": one.identity if one.identity is None or math.isfinite(one.identity) else str(one.identity),
        **{key: getattr(one, key) for key in keys},
    }


def _short(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the columns of the plain listing: name, what marks it, one line about it."""
    parameters = row.get("parameters", ())
    nominal = {one["name"]: one["nominal"] for one in parameters}
    nuisances = [
        one["nuisance"]
        for one in parameters
        if one["nuisance"] and (one["requires"] is None or nominal[one["requires"][0]] == one["requires"][1])
    ]
    middle = row.get("stage") or row.get("statistic") or row.get("letter") or ""
    if "sizes" in row or "augmentations" in row:
        middle = ", ".join((row.get("input", ""), *row.get("sizes", ())))
    if nuisances:
        middle = f"{middle}: {', '.join(nuisances)}"
    if "catalogue" in row:
        middle = f"{' '.join(row['catalogue'])} {middle}"
    return row["name"], middle, row.get("about") or row.get("title") or ""


def _columns(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(2)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, [*widths, 0], strict=True) if width or text).rstrip()
        for row in rows
    ]


def _show_arms(given: argparse.Namespace) -> int:
    from shiftlab.arms import arms
    from shiftlab.arms.training.spending import accounts, as_rows, in_columns

    found = accounts(given.folder, {kind.name: kind.letter for kind in arms()})
    if given.json:
        print(json.dumps(as_rows(found), indent=1))
        return 0
    for line in in_columns(found):
        print(line)
    return 0


def _show_leaderboard(given: argparse.Namespace) -> int:
    from shiftlab.report.board import board_lines, leaderboard_of

    table = leaderboard_of(given.runs)
    if given.json:
        print(table.to_json(orient="records", indent=1, double_precision=9))
        return 0
    for line in board_lines(table):
        print(line)
    return 0


def _show_event(given: argparse.Namespace) -> int:
    from shiftlab.config import detector_config
    from shiftlab.detector import Detector
    from shiftlab.events import read
    from shiftlab.report.show import show_event

    recorder = Detector.from_config(detector_config(given.detector))
    deposits = read(given.file)
    if not 0 <= given.number < len(deposits):
        raise DataError(f"{given.file}: event {given.number} is asked for; it has events 0 to {len(deposits) - 1}.")
    output = given.output or Path(f"event_{given.number}.png")
    print(show_event(deposits, given.number, output, detector=recorder))
    return 0


def _show_effect(given: argparse.Namespace) -> int:
    from shiftlab.detector.effect import SCINTILLATOR_STAGES, effects
    from shiftlab.detector.scintillator.stages import TOKEN_STAGES

    kind = effects().get(given.name)
    output = given.output or Path(f"{given.name}.png")
    if kind.stage == "generate":
        raise ConfigError(
            f"effect {given.name} takes whole events from a second file of the same vertices, which is not shipped, so "
            "there is no picture of it. `shiftlab show event FILE N` draws an event of either file; "
            f"`shiftlab run study=demo detector.effects.{given.name}={{}} data.evaluation=NOMINAL.h5 "
            f"data.variations.{given.name}=TWIN.h5` measures the difference (page 'Two models of generation')."
        )
    if kind.stage in SCINTILLATOR_STAGES:
        print(_show_tokens(given, tokens=kind.stage in TOKEN_STAGES, output=output))
    else:
        print(_show_image(given, wires=kind.readout == "wires", output=output))
    return 0


def _show_image(given: argparse.Namespace, *, wires: bool, output: Path) -> Path:
    """Draw an effect of a liquid-argon detector on an event of the shipped sample, or of the file."""
    from shiftlab.config import detector_config, locate
    from shiftlab.detector import Detector
    from shiftlab.events import read
    from shiftlab.report.show_effect import show_effect

    file = given.events or locate("studies/samples/lar_evaluation.h5")
    chamber = Detector.from_config(detector_config("wire_lar" if wires else "pixel_lar"))
    return show_effect(chamber, read(file), given.name, output, n=given.number)


def _show_tokens(given: argparse.Namespace, *, tokens: bool, output: Path) -> Path:
    """Draw an effect of a scintillator tracker on the shipped tokens or deposits, or on those of the file."""
    from shiftlab.config import locate
    from shiftlab.events import read, read_tokens
    from shiftlab.report.show_token_effect import show_token_effect

    sample = "minerva_like_tokens" if tokens else "ch_neutrino"
    file = given.events or locate(f"studies/samples/{sample}.h5")
    return show_token_effect(given.name, read_tokens(file) if tokens else read(file), output)
