"""The sub-command that checks pyhf workspaces: ``shiftlab lint``."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shiftlab.errors import ConfigError

if TYPE_CHECKING:
    from shiftlab.templates.findings import Finding
    from shiftlab.templates.lint.files import Document

__all__ = ["add", "where"]

_DESCRIPTION = """\
Find what is wrong or doubtful in pyhf workspaces, those of other programs too. Files are only read. One line for each
finding; `workspace.meta.json` beside `workspace.json` is taken into account. Exits with 1 when there are errors."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the sub-command to the parser."""
    lint = commands.add_parser(
        "lint", parents=[common], help="find what is wrong or doubtful in pyhf workspaces", description=_DESCRIPTION
    )
    lint.add_argument(
        "workspaces", nargs="*", type=Path, metavar="WORKSPACE", help="JSON files, or folders with workspace.json"
    )
    lint.add_argument("--strict", action="store_true", help="exit with 1 on warnings, too")
    lint.add_argument("--asimov", action="store_true", help="observations are expectations, not counts")
    lint.add_argument("--ignore", action="append", default=[], metavar="RULE", help="leave a rule out (again for more)")
    lint.add_argument("--summary", action="store_true", help="only the number of findings of each rule")
    lint.add_argument(
        "--patchset", type=Path, metavar="FILE", help="check the workspace with each patch of a patch set"
    )
    lint.add_argument("--patch", action="append", default=[], metavar="NAME", help="only this patch (again for more)")
    lint.add_argument("--json", action="store_true", help="the findings as JSON")
    lint.add_argument("--rules", action="store_true", help="print the table of rules, and check nothing")
    lint.set_defaults(action=_lint)


def _lint(given: argparse.Namespace) -> int:
    """Print the findings; 1 when there are errors, or warnings with ``--strict``."""
    from shiftlab.templates.lint import lint
    from shiftlab.templates.lint.files import documents, patched
    from shiftlab.templates.lint.table import rule_table

    if given.rules:
        print(rule_table(), end="")
        return 0
    if not given.workspaces:
        raise ConfigError("no workspace is given: shiftlab lint FILE_OR_FOLDER ...")
    if given.patch and not given.patchset:
        raise ConfigError("--patch needs the patch set: --patchset FILE.")
    found: dict[str, tuple[Finding, ...]] = {}
    for path in given.workspaces:
        for document in documents(path):
            versions: Iterator[Document] | Sequence[Document] = (document,)
            if given.patchset:
                versions = patched(document, given.patchset, given.patch)
            for one in versions:
                found[one.name] = lint(one.spec, one.meta, asimov=given.asimov, ignore=given.ignore)
    _say(found, given)
    bad = ("error", "warning") if given.strict else ("error",)
    return int(any(finding.severity in bad for findings in found.values() for finding in findings))


def _say(found: dict[str, tuple[Finding, ...]], given: argparse.Namespace) -> None:
    if given.json:
        rows = [{"workspace": name, **one.as_dict()} for name, findings in found.items() for one in findings]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    for name, findings in found.items():
        if given.summary:
            for (severity, code), number in Counter((one.severity, one.code) for one in findings).items():
                print(f"{name}: {severity} {code}: {number}")
        else:
            for finding in findings:
                print(f"{name}: {finding.severity} {finding.code}: {where(finding)}{finding.message}")
        count = Counter(finding.severity for finding in findings)
        print(f"{name}: {_number(count['error'], 'error')}, {_number(count['warning'], 'warning')}", file=sys.stderr)


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def where(finding: Finding) -> str:
    """Return the place of a finding, as ``channel SR, sample bkg, nuisance JES, bins 2-4, 7: ``."""
    words = [f"{what} {value}" for what in ("channel", "sample", "nuisance") if (value := getattr(finding, what))]
    if finding.bins:
        words.append(f"bin{'s' if len(finding.bins) > 1 else ''} {_ranges(finding.bins)}")
    return f"{', '.join(words)}: " if words else ""


def _ranges(bins: Sequence[int]) -> str:
    """Return 0, 1, 2, 5 as ``0-2, 5``."""
    runs: list[list[int]] = []
    for b in bins:
        if runs and b == runs[-1][-1] + 1:
            runs[-1][1:] = [b]
        else:
            runs.append([b])
    return ", ".join("-".join(map(str, run)) for run in runs)
