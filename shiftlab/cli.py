"""The command line: ``shiftlab run``, ``train``, ``list``, ``show`` and ``report``.

Nothing heavy is imported before a sub-command needs it, so that help comes at once.
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shiftlab import __version__
from shiftlab.errors import ConfigError, DataError, ShiftlabError

if TYPE_CHECKING:
    from shiftlab.config import Job
    from shiftlab.detector import Parameter

__all__ = ["main"]

_KINDS = ("effects", "arms", "tasks", "studies", "readers")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command.

    Args:
        argv: Words after the program's name; None takes those of the process.

    Returns:
        0, or 2 after a mistake of the user's, which is named on stderr; 130 after Ctrl-C.
    """
    given = _read(argv)
    try:
        return int(given.action(given))
    except ShiftlabError as error:
        return _refuse(error, debug=given.debug)
    except KeyboardInterrupt:
        print("shiftlab: stopped; the same command goes on from here.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _read(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the words; ``key=value`` may stand before and after options, which argparse alone refuses."""
    parser = _parser()
    given, rest = parser.parse_known_args(argv)
    if rest and (not hasattr(given, "words") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognised: {' '.join(rest)}")
    if rest:
        given.words += rest
    return given


def _refuse(error: ShiftlabError, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    for line in str(error).splitlines():
        print(f"shiftlab: {line}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    parser = argparse.ArgumentParser(
        prog="shiftlab",
        description="How far every result of a neutrino analysis moves when the detector differs from its simulation.",
    )
    parser.add_argument("--version", action="version", version=f"shiftlab {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", parents=[common], help="run a study and write its report")
    run.add_argument("words", nargs="*", metavar="KEY=VALUE", help="study=demo, and whatever departs from it")
    run.add_argument("-m", "--multirun", action="store_true", help="several values of study, data or arms: run all")
    run.add_argument("--fresh", action="store_true", help="discard a run of another identity in the same folder")
    run.set_defaults(action=_run)

    train = commands.add_parser("train", parents=[common], help="train the arms of a study")
    train.add_argument("words", nargs="*", metavar="KEY=VALUE", help="study=demo data.train=FILE, say")
    train.add_argument("--fresh", action="store_true", help="discard what was trained before")
    train.set_defaults(action=_train)

    listing = commands.add_parser("list", parents=[common], help="list what is registered")
    listing.add_argument("kind", choices=_KINDS)
    listing.add_argument("--json", action="store_true", help="as JSON, with everything that is known")
    listing.set_defaults(action=_list)

    show = commands.add_parser("show", help="draw an event or an effect")
    shown = show.add_subparsers(required=True, metavar="WHAT")
    event = shown.add_parser("event", parents=[common], help="draw one event of a file")
    event.add_argument("file", type=Path)
    event.add_argument("number", type=int, metavar="N", help="from 0")
    event.add_argument("-o", "--output", type=Path, help="PNG to write (default: event_N.png)")
    event.set_defaults(action=_show_event)
    effect = shown.add_parser("effect", parents=[common], help="draw what an effect does to an event")
    effect.add_argument("name")
    effect.add_argument("-o", "--output", type=Path, help="PNG to write (default: NAME.png)")
    effect.set_defaults(action=_show_effect)

    report = commands.add_parser("report", parents=[common], help="write the report of a finished run again")
    report.add_argument("folder", type=Path, metavar="DIR")
    report.set_defaults(action=_report)
    return parser


def _run(given: argparse.Namespace) -> int:
    """Validate every run first, then let Hydra run them."""
    from shiftlab.config import combinations, compose_study, config_dir, read_words

    words = [*given.words, "fresh=true"] if given.fresh else list(given.words)
    mistakes: list[str] = []
    accepted = read_words(words, mistakes, sweep=given.multirun)
    if mistakes and given.multirun:
        raise ConfigError("\n".join(mistakes))
    for single in combinations(accepted) if given.multirun else [words]:
        compose_study(single)

    import hydra

    typed, status = sys.argv, _Status(debug=given.debug)
    sys.argv = ["shiftlab", *(["--multirun"] if given.multirun else []), *accepted]
    try:
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="config")(status.run)()
    finally:
        sys.argv = typed
    return status.code


class _Status:
    """The outcome of Hydra's jobs, which does not hand on exit codes."""

    def __init__(self, *, debug: bool) -> None:
        self.debug = debug
        self.code = 0
        self.process = os.getpid()

    def run(self, composed: Any) -> None:
        """Run one composed study; a mistake is named, and the next job of a sweep goes on."""
        from omegaconf import OmegaConf

        from shiftlab.config import build

        try:
            plain: Any = OmegaConf.to_container(composed, resolve=True)
            print(_run_one(build(plain)))
        except ShiftlabError as error:
            self.code = _refuse(error, debug=self.debug)
            if os.getpid() != self.process:  # a launcher's job: only Hydra can tell that it failed
                raise


def _run_one(job: Job) -> Path:
    from shiftlab.run import run_study

    return run_study(job.study, root=job.root, fresh=job.fresh)


def _train(given: argparse.Namespace) -> int:
    from shiftlab.config import compose_study

    job = compose_study(given.words, purpose="train")
    from shiftlab.run import train_study

    print(train_study(job.study, fresh=given.fresh or job.fresh))
    return 0


def _list(given: argparse.Namespace) -> int:
    from shiftlab.config import registry, study_titles

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


def _entry(kind: type[Any]) -> dict[str, Any]:
    """Return what is known of a registered class, as JSON values."""
    entry: dict[str, Any] = {"name": kind.name, "about": (inspect.getdoc(kind) or "").split("\n", 1)[0]}
    for attribute in ("stage", "statistic", "unit", "level", "observable_label"):
        value = getattr(kind, attribute, None)
        if isinstance(value, str):
            entry[attribute] = value
    parameters = getattr(kind, "parameters", ())
    if parameters:
        entry["parameters"] = [_parameter(kind.name, one) for one in parameters]
    entry["module"] = kind.__module__
    return entry


def _parameter(effect: str, one: Parameter) -> dict[str, Any]:
    """Return what is known of a parameter; its nuisance is None when it has no uncertainty."""
    keys = ("name", "nominal", "sigma", "scale", "unit", "source", "confidence", "choices", "requires", "doc")
    return {
        "nuisance": f"{effect}_{one.name}" if one.sigma and not one.choices else None,
        "bounds": [bound if math.isfinite(bound) else None for bound in one.bounds],
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
    middle = row.get("stage") or row.get("statistic") or ""
    if nuisances:
        middle = f"{middle}: {', '.join(nuisances)}"
    return row["name"], middle, row.get("about") or row.get("title") or ""


def _columns(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(2)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, [*widths, 0], strict=True) if width or text).rstrip()
        for row in rows
    ]


def _show_event(given: argparse.Namespace) -> int:
    from shiftlab.detector import detector
    from shiftlab.events import read
    from shiftlab.report.show import show_event

    deposits = read(given.file)
    if not 0 <= given.number < len(deposits):
        raise DataError(f"{given.file}: event {given.number} is asked for; it has events 0 to {len(deposits) - 1}.")
    output = given.output or Path(f"event_{given.number}.png")
    print(show_event(deposits, given.number, output, detector=detector("pixel_lar")))
    return 0


def _show_effect(given: argparse.Namespace) -> int:
    from shiftlab.config import locate
    from shiftlab.detector import detector, effects
    from shiftlab.events import read
    from shiftlab.report.show import show_effect

    effects().get(given.name)
    output = given.output or Path(f"{given.name}.png")
    deposits = read(locate("studies/samples/lar_evaluation.h5"))
    print(show_effect(detector("pixel_lar"), deposits, given.name, output))
    return 0


def _report(given: argparse.Namespace) -> int:
    from shiftlab.run import report_folder

    print(report_folder(given.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
