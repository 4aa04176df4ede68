"""The table of the linter's rules, as the documentation has it."""

from __future__ import annotations

from shiftlab.templates.lint.check import RULES

__all__ = ["rule_table"]


def rule_table() -> str:
    """Return the rules as a Markdown table, written from the registry."""
    head = "| rule | severity | what is found | what pyhf 0.7.6 does, or what it means |\n| --- | --- | --- | --- |\n"
    rows = (f"| `{rule.name}` | {rule.severity} | {rule.about} | {rule.effect} |\n" for rule in RULES)
    return head + "".join(rows)
