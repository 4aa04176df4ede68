"""The command line; each family of sub-commands is one module of this package.

Nothing heavy is imported before a sub-command needs it, so that help comes at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from shiftlab import __version__
from shiftlab.cli import (
    adopt,
    catalogue,
    drift,
    emulate,
    events,
    fit,
    impacts,
    lint,
    place,
    pretrain,
    record,
    simulate,
    split,
    study,
    templates,
    toys,
    validate,
)
from shiftlab.cli.words import refuse
from shiftlab.errors import ShiftlabError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command.

    Args:
        argv: Words after the program's name; None takes those of the process.

    Returns:
        0, 1 where a check failed, or 2 after a mistake of the user's, which is named on stderr; 130 after Ctrl-C.
    """
    given = _read(argv)
    try:
        return int(given.action(given))
    except ShiftlabError as error:
        return refuse(error, debug=given.debug)
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


_FAMILIES = (
    *(study, drift, emulate, place, templates, lint, fit, impacts, toys),
    *(pretrain, events, split, simulate, record, catalogue, validate, adopt),
)
"""Commands, in the order of the help."""


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    parser = argparse.ArgumentParser(
        prog="shiftlab",
        description="How far every result of a neutrino analysis moves when the detector differs from its simulation.",
    )
    parser.add_argument("--version", action="version", version=f"shiftlab {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for family in _FAMILIES:
        family.add(commands, common)
    return parser
