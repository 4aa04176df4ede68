"""Nominal tokens of whole files of events, piece by piece: what a foundation model of tokens is pre-trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shiftlab.arms.images.store import TrainingFile
from shiftlab.detector.scintillator.token_chain import TokenChain
from shiftlab.events.reader import stream
from shiftlab.events.sample.digest import refuse_changed
from shiftlab.events.tokens import Tokens, concatenate_tokens
from shiftlab.events.unique import SeenKeys

__all__ = ["recorded_tokens"]


def recorded_tokens(
    files: Sequence[TrainingFile], detector: TokenChain, advance: Callable[[int], object] = lambda events: None
) -> Tokens:
    """Return what the nominal detector makes of the events of some files that are trained on.

    Args:
        files: Files of what the detector takes, deposits or tokens, in the order in which their events follow.
        detector: Its nominal universe is used.
        advance: Called with the number of events done.

    Raises:
        DataError: a file cannot be used, holds what the detector does not take, two files share an event or differ in
            their columns, or no event is in the part of the manifest.
    """
    parts, keys = [], SeenKeys()
    for file in files:
        refuse_changed(file.path)
        done = 0
        for piece in stream(file.path):
            keys.add(piece.events.key.numpy(), done, file.path)
            parts.append(detector.image(detector.prepare(piece)))
            done += len(piece)
            advance(len(piece))
    tokens = concatenate_tokens(parts)
    first = files[0]
    return tokens if first.manifest is None else first.manifest.select(tokens, first.part)
