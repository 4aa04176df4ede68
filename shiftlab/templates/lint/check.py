"""The linter: every rule over one parsed workspace."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np

from shiftlab.errors import UnknownNameError
from shiftlab.templates.findings import Finding
from shiftlab.templates.lint import measured, observed, per_bin, shifts, structure, values, yields
from shiftlab.templates.lint.parse import parse
from shiftlab.templates.lint.rule import Rule
from shiftlab.templates.lint.sidecar import Sidecar

__all__ = ["RULES", "lint"]

RULES: Final[tuple[Rule, ...]] = (
    *structure.RULES,
    *values.RULES,
    *yields.RULES,
    *per_bin.RULES,
    *observed.RULES,
    *measured.RULES,
    *shifts.RULES,
)
"""All rules, in the order in which their findings come, errors before warnings."""


def lint(
    workspace: Mapping[str, Any],
    meta: Mapping[str, Any] | None = None,
    *,
    asimov: bool = False,
    ignore: Collection[str] = (),
) -> tuple[Finding, ...]:
    """Return what is wrong (errors) or doubtful (warnings) in a pyhf workspace.

    Any workspace of pyhf's schema 1.0.0 will do, whoever wrote it; it is only read, and neither pyhf nor a fit is
    needed. A part that cannot be read is a finding of the rule ``malformed``, and the rest is checked.

    Args:
        workspace: the JSON object of a workspace.
        meta: the object of its ``workspace.meta.json``, if there is one.
        asimov: the observations are expectations, so that they need not be whole numbers.
        ignore: names of rules to leave out.

    Raises:
        UnknownNameError: ``ignore`` names a rule that there is not.
        DataError: ``meta`` has not the form that shiftlab writes.
    """
    names = {rule.name for rule in RULES}
    for name in ignore:
        if name not in names:
            raise UnknownNameError("rule of the linter", name, names)
    view = parse(workspace, Sidecar.read(meta) if meta is not None else None, asimov=asimov)
    with np.errstate(all="ignore"):  # what is not a number is said by a rule of its own
        found = [finding for rule in RULES if rule.name not in ignore for finding in rule.findings(view)]
    return tuple(sorted(found, key=lambda finding: finding.severity != "error"))
