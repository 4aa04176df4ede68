"""A rule of the linter, and one place of a workspace where it is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from shiftlab.templates.findings import Finding

if TYPE_CHECKING:
    from shiftlab.templates.lint.view import View

__all__ = ["Fault", "Rule", "Severity"]

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Fault:
    """One place where a rule is broken.

    Attributes:
        message: what is there, with the numbers; one line.
        channel: where, or empty.
        sample: where, or empty.
        nuisance: name of the modifier or parameter, or empty.
        bins: bins of the channel, from 0; empty where all or none are meant.
    """

    message: str
    channel: str = ""
    sample: str = ""
    nuisance: str = ""
    bins: tuple[int, ...] = ()


@dataclass(frozen=True)
class Rule:
    """One thing that the linter looks for.

    Attributes:
        name: as it is printed, and as ``--ignore`` takes it.
        severity: ``error`` where a likelihood is undefined, refused or not what was written; else ``warning``.
        about: what is found; one line.
        effect: what pyhf 0.7.6 does with it, or what it means for a fit; one line.
        check: pure function from the parsed workspace to the faults in it.
    """

    name: str
    severity: Severity
    about: str
    effect: str
    check: Callable[[View], Iterator[Fault]]

    def findings(self, view: View) -> Iterator[Finding]:
        """Return what the rule finds in a workspace."""
        for fault in self.check(view):
            yield Finding(
                self.severity, self.name, fault.message, fault.channel, fault.sample, fault.nuisance, fault.bins
            )
