"""The sub-command that fixes which vertices are trained on and which are judged: ``shiftlab split``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shiftlab.errors import ConfigError

if TYPE_CHECKING:
    from shiftlab.events.splits import Manifest

__all__ = ["add"]


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the sub-command to the parser."""
    split = commands.add_parser(
        "split",
        parents=[common],
        help="divide the vertices of files into parts, in a manifest that is never changed",
        description="Divide the vertices of files into parts. Every event of a vertex is in one part.",
    )
    split.add_argument(
        "words",
        nargs="+",
        metavar="FILE|KEY=VALUE",
        help="event files, and train=0.8 validation=0.1 test=0.1 seed=1 (any part names); "
        "stratify=sample,neutrino_pdg (columns that are labels; none for one stratum); revision=v2",
    )
    split.add_argument("-o", "--output", type=Path, required=True, help="the manifest, JSON")
    split.add_argument("--skip-bad", action="store_true", help="leave bad events out of every part, and list them")
    split.add_argument("--mix-revisions", action="store_true", help="allow two revisions of one data set")
    split.set_defaults(action=_split)


def _split(given: argparse.Namespace) -> int:
    """Make the manifest and say what is in it."""
    files, settings = _sorted_words(given.words)
    seed = _number("seed", settings.pop("seed", "1"), int)
    stratify = settings.pop("stratify", "sample").strip("[]")
    revision = settings.pop("revision", "")
    fractions = {name: _number(name, value, float) for name, value in settings.items()}

    from shiftlab.events.reader import BadEvent
    from shiftlab.events.splits import make_manifest

    bad: list[BadEvent] = []
    manifest = make_manifest(
        files,
        fractions,
        seed=seed,
        stratify=() if stratify in ("", "none") else tuple(name.strip() for name in stratify.split(",")),
        revision=revision,
        mix_revisions=given.mix_revisions,
        skipped=bad if given.skip_bad else None,
    )
    manifest.save(given.output)
    print("\n".join(_lines(given.output, manifest)))
    if bad:
        print(f"left out {len(bad)} bad events:", file=sys.stderr)
    for one in bad:
        print(f"  event {one.number}: {one.reason}", file=sys.stderr)
    return 0


def _sorted_words(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the files and the settings; ``./a=b.h5`` is a file, ``a=b.h5`` a setting."""
    files, settings = [], {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (equals and name.replace("-", "_").isidentifier()):
            files.append(word)
        elif name in settings:
            raise ConfigError(f"{name}: given twice.")
        else:
            settings[name] = value
    if not files:
        raise ConfigError("no event file is given.")
    return files, settings


def _number(name: str, text: str, kind: type[Any]) -> Any:
    try:
        return kind(text)
    except ValueError as error:
        wanted = "a whole number" if kind is int else "the share of a part, as 0.8,"
        raise ConfigError(f"{name}={text}: {wanted} is wanted.") from error


def _lines(path: Path, manifest: Manifest) -> list[str]:
    names = list(next(iter(manifest.counts.values())))
    width = max(map(len, [*manifest.parts, "part"]))
    lines = [f"{'part'.ljust(width)}  {'vertices':>10}  " + "  ".join(names)]
    for part, uids in manifest.parts.items():
        cells = "  ".join(str(manifest.counts[part][name]).rjust(len(name)) for name in names)
        lines.append(f"{part.ljust(width)}  {len(uids):>10}  {cells}")
    return [*lines, f"{path}: digest {manifest.digest}"]
