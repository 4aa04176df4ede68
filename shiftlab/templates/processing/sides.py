"""What becomes of the two sides of a variation: policies for one-sided, two-sided and same-side ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shiftlab.templates.processing.pairs import Pair, Sketch, blocks
from shiftlab.templates.processing.record import Entry
from shiftlab.templates.processing.settings import ProcessingSettings
from shiftlab.templates.processing.significance import chi_square
from shiftlab.templates.processing.symmetrise import EVEN_FACTOR, even_part, odd_even, same_side, symmetrise

if TYPE_CHECKING:
    from shiftlab.templates.templates import Templates

__all__ = ["symmetrised"]

Floats = npt.NDArray[np.float64]


def symmetrised(t: Templates, pair: Pair, settings: ProcessingSettings) -> tuple[list[Pair], list[Entry]]:
    """Apply the policies for one-sided, two-sided and same-side variations; the even part comes as a second pair."""
    if t.record.get("variations", {}).get(pair.name, {}).get("mirrored", False):
        return _one_sided(t, pair, settings)
    odd, even, split = Sketch(pair), Sketch(pair, t.nominal), False
    entries: list[Entry] = []
    for block in blocks(t):
        where = (pair.name, block.channel, block.sample)
        rows = block.take(t, pair)
        numbers = _even_numbers(*rows) if settings.same_side == "odd_even" else {}
        if numbers and numbers["p_value"] < settings.same_side_p:
            parts = odd_even(*rows, settings.even_response)
            numbers["cut"] = odd.put(block, parts[0]) + even.put(block, parts[1])
            entries.append(Entry("symmetrise", "odd_even", *where, numbers=numbers))
            split = True
            continue
        if numbers:
            entries.append(Entry("symmetrise", "kept: the even part is consistent with noise", *where, numbers=numbers))
        if settings.two_sided == "symmetrise":
            cut = odd.put(block, symmetrise(*rows, "two_sided"))
            entries.append(Entry("symmetrise", "two_sided", *where, numbers={"cut": cut}))
    if not split:
        return [odd.pair()], entries
    name = f"{pair.name}_even"
    factor = EVEN_FACTOR[settings.even_response]
    says = {"part": "even", "even_part_of": pair.name, "response": settings.even_response, "factor": factor}
    second = replace(even.pair(), name=name, truth=settings.even_response, says=says)
    return [replace(odd.pair(), says={"part": "odd", "even_part": name}), second], entries


def _even_numbers(nominal: Floats, up: Floats, down: Floats, covariance: Floats) -> dict[str, float]:
    """Return the test of the even part of a same-side variation; nothing where the sides differ in sign."""
    if not same_side(nominal, up, down, covariance).any():
        return {}
    chi2, ndf, p_value = chi_square(*even_part(nominal, up, down, covariance))
    return {"chi2": chi2, "ndf": ndf, "p_value": p_value}


def _one_sided(t: Templates, pair: Pair, settings: ProcessingSettings) -> tuple[list[Pair], list[Entry]]:
    """Leave the mirror image that the histograms come with, flagged, or put the simulated side in its place."""
    if settings.one_sided == "mirror":
        return [pair], [Entry("symmetrise", "mirror", pair.name)]
    sketch = Sketch(pair)
    for block in blocks(t):
        sketch.put(block, symmetrise(*block.take(t, pair), "half_gaussian"))
    says = {"part": "even", "mirrored": False, "response": "half_gaussian"}
    return [replace(sketch.pair(), truth="linear", says=says)], [Entry("symmetrise", "half_gaussian", pair.name)]
