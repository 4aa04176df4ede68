"""How numbers are written in sentences and cells: with their errors, intervals and a true minus sign."""

from __future__ import annotations

import math

__all__ = ["counted", "decimals", "fixed", "interval", "joined", "percent", "shift_label", "with_error"]


def decimals(error: float) -> int:
    """Return the decimal places that show two significant figures of ``error`` (0 to 6; 3 where it is no size)."""
    if not math.isfinite(error) or error <= 0:
        return 3
    return min(6, max(0, 1 - math.floor(math.log10(error))))


def fixed(value: float, places: int, *, sign: bool = False) -> str:
    """Return ``value`` with so many decimal places, a true minus sign and never ``-0.0``; a dash for NaN."""
    if not math.isfinite(value):
        return "–"
    rounded = round(value, places) + 0.0
    return f"{rounded:{'+' if sign else ''}.{places}f}".replace("-", "−")


def with_error(value: float, error: float, *, sign: bool = True) -> str:
    """Return ``value ± error``, both to two significant figures of the error."""
    if not math.isfinite(value):
        return "–"
    if not math.isfinite(error):
        return fixed(value, 2, sign=sign)
    places = decimals(error)
    return f"{fixed(value, places, sign=sign)} ± {fixed(error, places)}"


def interval(value: float, lo: float, hi: float, places: int = 2, *, sign: bool = False) -> str:
    """Return ``value [lo, hi]``; only the value where the interval is unknown, a dash where the value is."""
    if not math.isfinite(value):
        return "–"
    if not (math.isfinite(lo) and math.isfinite(hi)):
        return fixed(value, places, sign=sign)
    parts = [fixed(number, places, sign=sign) for number in (value, lo, hi)]
    return f"{parts[0]} [{parts[1]}, {parts[2]}]"


def percent(value: float, places: int = 0) -> str:
    """Return a fraction as a percentage."""
    return f"{fixed(100 * value, places)} %" if math.isfinite(value) else "–"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 template`` or ``3 templates``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def joined(words: list[str]) -> str:
    """Return ``a``, ``a and b`` or ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def shift_label(nuisance: str, direction: int, strength: float = 1.0, throw: int = 0) -> str:
    """Return how a shift is called, say ``gain_scale +1σ``; the throw is named unless it is 0."""
    sign = "+" if direction > 0 else "−"
    suffix = f" (throw {throw})" if throw else ""
    return f"{nuisance} {sign}{abs(strength):g}σ{suffix}"
