"""Toy experiments in blocks of their own seeds, so that a stopped series goes on where it was."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from shiftlab.errors import ConfigError, RunError
from shiftlab.fit.likelihood import Likelihood
from shiftlab.fit.likelihood.toys import Toys, toys
from shiftlab.provenance import claim_folder, write_text

__all__ = ["BLOCK", "toy_blocks"]

Floats = npt.NDArray[np.float64]

BLOCK: Final = 250
"""Toys of a block: what is lost at most when a series is stopped."""


def toy_blocks(
    model: Likelihood,
    number: int,
    seed: int,
    *,
    values: Floats,
    poi: str,
    ratio: bool = True,
    folder: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    fresh: bool = False,
    progress: bool = False,
) -> Toys:
    """Return toys, drawn and fitted block by block; the first toys of a longer series are those of a shorter one.

    Args:
        model: nature, and what is fitted.
        number: how many.
        seed: of the draws; each block has a seed made of it and the block's number.
        values: (parameter,) true parameters.
        poi: the parameter to look at.
        ratio: fit with ``poi`` at its true value too.
        folder: where finished blocks are kept and taken from; None keeps nothing.
        identity: what decides the numbers besides the seed and ``values``, plain values.
        fresh: discard blocks of another identity.
        progress: show a progress bar.

    Raises:
        ConfigError: ``number`` is not positive, or the seed is negative.
        RunError: the folder holds blocks of another identity, or cannot be written.
    """
    if number < 1:
        raise ConfigError(f"toys = {number}; at least one is needed.")
    if seed < 0:
        raise ConfigError(f"seed = {seed}; it must not be negative.")
    series = _Series(model, number, seed, values, poi, ratio, progress)
    if folder is None:
        return series.run(None)
    known = {**(identity or {}), "seed": seed, "truth": values.tolist(), "poi": poi, "ratio": ratio, "block": BLOCK}
    with claim_folder(folder, known, fresh=fresh):
        return series.run(folder)


class _Series:
    """One series of toys."""

    def __init__(
        self, model: Likelihood, number: int, seed: int, values: Floats, poi: str, ratio: bool, progress: bool
    ) -> None:
        self.model, self.number, self.seed = model, number, seed
        self.values, self.poi, self.ratio, self.progress = values, poi, ratio, progress

    def run(self, folder: Path | None) -> Toys:
        tables = []
        with tqdm(total=self.number, desc="toys", unit="toy", disable=not self.progress, leave=False) as bar:
            for block in range(-(-self.number // BLOCK)):
                count = min(BLOCK, self.number - block * BLOCK)
                tables.append(self._block(block, folder)[:count])
                bar.update(count)
        table = pd.concat(tables, ignore_index=True)
        index = self.model.parameters.index(self.poi)
        return Toys(
            poi=self.poi,
            truth=float(self.values[index]),
            parameters=table["estimate"].to_numpy(np.float64)[:, None],
            error=table["error"].to_numpy(np.float64),
            rise=table["rise"].to_numpy(np.float64),
            goodness=table["goodness"].to_numpy(np.float64),
            status=tuple(table["status"]),
            reason=tuple(table["reason"]),
            index=0,
        )

    def _block(self, block: int, folder: Path | None) -> pd.DataFrame:
        """Return the whole block; the toys of a short one would not be the first of a long one."""
        file = None if folder is None else folder / f"block_{block:05d}.csv"
        if file is not None and file.is_file():
            return _read(file)
        own = int(np.random.SeedSequence([self.seed, block]).generate_state(1, np.uint64)[0])
        found = toys(self.model, BLOCK, own, values=self.values, poi=self.poi, ratio=self.ratio).table()
        if file is not None:
            write_text(file, found.to_csv(index=False))
        return found


def _read(file: Path) -> pd.DataFrame:
    """Return a finished block; numbers come back to the last digit, an empty cell as NaN."""
    numbers, words = ("estimate", "error", "goodness", "rise"), ("status", "reason")
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        if len(rows) != BLOCK:
            raise ValueError(f"{len(rows)} toys")
        columns: dict[str, Any] = {name: [float(row[name] or "nan") for row in rows] for name in numbers}
        return pd.DataFrame(columns | {name: [row[name] for row in rows] for name in words})
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{file} is not readable ({error}); remove it, and its toys are made again.") from error
