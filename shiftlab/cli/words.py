"""What the sub-commands share: how a mistake is said."""

from __future__ import annotations

import sys
import traceback

from shiftlab.errors import ShiftlabError

__all__ = ["refuse"]


def refuse(error: ShiftlabError, *, debug: bool) -> int:
    """Say a mistake on stderr and return the exit code 2."""
    if debug:
        traceback.print_exception(error)
    for line in str(error).splitlines():
        print(f"shiftlab: {line}", file=sys.stderr)
    return 2
