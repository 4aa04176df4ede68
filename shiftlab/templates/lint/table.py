"""The table of the linter's rules, as the documentation has it."""

from __future__ import annotations

from collections.abc import Iterator

from shiftlab.templates.lint.check import RULES

__all__ = ["rule_table"]


def rule_table() -> str:
    """Return the rules, errors and warnings apart, as Markdown tables written from the registry."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    for severity in ("error", "warning"):
        yield from (f"### {severity.capitalize()}s", "")
        yield from ("| rule | what is found | what pyhf 0.7.6 does, or what it means |", "| --- | --- | --- |")
        yield from (f"| {one.name} | {one.about} | {one.effect} |" for one in RULES if one.severity == severity)
        yield ""
