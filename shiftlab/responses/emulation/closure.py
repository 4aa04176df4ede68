"""Closure of emulated universes: how far they are from directly simulated ones that they were not made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from shiftlab.errors import DataError
from shiftlab.responses.emulation.settings import EmulationSettings

__all__ = ["Check", "Closure", "Kind", "over", "refuse_open"]

Kind = Literal["strength", "pair", "joint"]


@dataclass(frozen=True)
class Check:
    """One head in one directly simulated universe that no response was made from.

    Attributes:
        arm: Name of the arm.
        seed: Its seed.
        task: Name of the task.
        universe: Name of the universe.
        kind: ``strength`` where it displaces one nuisance, ``pair`` where two, ``joint`` where more or drawn from the
            prior.
        nuisances: What it displaces.
        shift: Statistic there minus at nominal, in the task's unit.
        difference: Emulated minus directly simulated statistic.
        difference_error: Statistical error of that difference, from the events.
        events: Root mean square over events and outputs of emulated minus direct displacement, over that of the direct
            displacement, on the unbounded scale; 1 is no better than no emulation.
    """

    arm: str
    seed: int
    task: str
    universe: str
    kind: Kind
    nuisances: tuple[str, ...]
    shift: float
    difference: float
    difference_error: float
    events: float


@dataclass(frozen=True)
class Closure:
    """The closure of one head.

    Attributes:
        arm: Name of the arm.
        seed: Its seed.
        task: Name of the task.
        expected: Size of a joint shift by the one-sigma universes: root of the summed mean squares over nuisances.
        error: Statistical error of the nominal statistic on these events.
        checks: Every universe that was compared.
        floor: Part of ``error`` below which the size of a shift does not matter.
        bent: The nuisance whose response is the least straight: largest |up + down - 2 nominal| of the statistic.
    """

    arm: str
    seed: int
    task: str
    expected: float
    error: float
    checks: tuple[Check, ...]
    floor: float
    bent: str = ""

    def relative(self, check: Check) -> float:
        """Return the size of the difference in one universe over the largest of shift, ``expected`` and the floor."""
        return over(abs(check.difference), max(abs(check.shift), self.expected, self.floor * self.error))

    @property
    def joint(self) -> float:
        """Root mean square of the differences in joint universes over that of the shifts (or the floor); NaN: none."""
        own = [check for check in self.checks if check.kind == "joint"]
        if not own:
            return float("nan")
        difference, shift = (np.sqrt(np.mean([getattr(c, key) ** 2 for c in own])) for key in ("difference", "shift"))
        return over(float(difference), max(float(shift), self.floor * self.error))

    @property
    def noise(self) -> float:
        """What ``joint`` would be from the statistical error of the differences alone; NaN: no joint universe."""
        own = [check for check in self.checks if check.kind == "joint"]
        if not own:
            return float("nan")
        error, shift = (
            float(np.sqrt(np.mean([getattr(check, key) ** 2 for check in own])))
            for key in ("difference_error", "shift")
        )
        return over(error, max(shift, self.floor * self.error))

    @property
    def worst(self) -> Check | None:
        """The universe of one or two nuisances that differs most; None where none was compared."""
        return max((check for check in self.checks if check.kind != "joint"), key=self.relative, default=None)

    @property
    def largest(self) -> float:
        """The largest relative difference of the statistic: of joint universes together, and of every other one."""
        alone = 0.0 if self.worst is None else self.relative(self.worst)
        return float(np.nanmax([self.joint, alone]))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold (None for what is undefined)."""
        own = {"joint": self.joint, "noise": self.noise, "expected": self.expected, "error": self.error}
        checks = [{**asdict(check), "relative": self.relative(check)} for check in self.checks]
        head = {"arm": self.arm, "seed": self.seed, "task": self.task, "bent": self.bent}
        return {**head, **_plain(own), "checks": [_plain(check) for check in checks]}


def over(size: float, scale: float) -> float:
    """Return size / scale; 0 where both vanish, infinite where only the scale does or where either has no value."""
    if np.isfinite(size) and scale > 0:
        return size / scale
    return 0.0 if size == 0 and scale == 0 else float("inf")


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record with None for numbers that are not finite."""
    return {
        key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in record.items()
    }


def refuse_open(closures: Sequence[Closure], settings: EmulationSettings) -> None:
    """Refuse heads whose emulated universes do not agree with direct ones.

    Raises:
        DataError: naming arm, seed, task, and nuisance or universes, worst first, with what may help.
    """
    found: list[tuple[float, str]] = []
    for one in closures:
        head = f"arm '{one.arm}', seed {one.seed}, task '{one.task}'"
        if one.joint > settings.limit:
            noise = f"event noise alone would give {one.noise:.0%}"
            bent = f"; its response to nuisance '{one.bent}' is the least straight" if one.bent else ""
            told = f"{head}: joint universes differ by {one.joint:.0%} of their shift ({noise}){bent}"
            found.append((one.joint, told))
        for check in one.checks:
            named = f"{head}, universe '{check.universe}' ({_listed(check.nuisances)})"
            relative = one.relative(check)
            if check.kind != "joint" and relative > settings.limit:
                found.append((relative, f"{named}: {relative:.0%} of the shift"))
            if settings.event_limit is not None and check.events > settings.event_limit:
                found.append(
                    (check.events, f"{named}: single events differ by {check.events:.0%} of their displacement")
                )
    if found:
        found.sort(key=lambda pair: -pair[0])
        rest = f"\n  and {len(found) - 8} more" if len(found) > 8 else ""
        raise DataError(
            f"emulated universes do not agree with directly simulated ones within {settings.limit:.0%}:\n  "
            + "\n  ".join(text for _, text in found[:8])
            + rest
            + "\nLeave such tasks out (tasks=[...]); add unisims at two sigma, more anchors for form 'interpolated'; "
            "take pairs=True with universes of two nuisances; leave the bent nuisance out of the study; take more "
            "events where their noise alone is beyond the limit; run frozen maps in the throws of the universes that "
            "test them; "
            "or raise emulation.limit."
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
