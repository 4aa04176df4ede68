"""A linter of pyhf workspaces: what is refused late, accepted in silence, or doubtful.

``lint(workspace)`` returns the findings, ``RULES`` is what is looked for.
"""

from shiftlab.templates.findings import Finding
from shiftlab.templates.lint.check import RULES, lint
from shiftlab.templates.lint.rule import Rule

__all__ = ["RULES", "Finding", "Rule", "lint"]
