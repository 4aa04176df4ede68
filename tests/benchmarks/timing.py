"""Times of things taken in turn in one run, so that their ratios hold when the machine's speed drifts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

Times = Mapping[str, "np.typing.NDArray[np.float64]"]


def interleaved(calls: Mapping[str, Callable[[], object]], budget: float = 0.5, most: int = 201) -> Times:
    """Return the seconds of each call, (round,): all are called once a round, for about ``budget`` seconds in all."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    begin = time.perf_counter()
    for number in range(most + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            settle()
            times[name].append(time.perf_counter() - start)
        spent = time.perf_counter() - begin
        if (number > 5 and spent > budget) or spent > 10 * budget:
            break
    # The first round warms caches up; it counts only where things are so slow that there is no other.
    return {name: np.array(taken[1:] or taken) for name, taken in times.items()}


def settle() -> None:
    """Wait until a graphics card has done its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ratio(times: Times, one: str, other: str) -> float:
    """Return the median over rounds of the time of ``one`` over that of ``other``."""
    return float(np.median(times[one] / times[other]))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in plain text."""
    words = [list(columns), *([_word(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in words) for i in range(len(columns))]
    lines = []
    for first, *others in words:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return "\n".join(["", title, *lines])


def _word(cell: object) -> str:
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)
