"""Writer of minerva-ml's token files, which that project's own loader reads."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shiftlab.errors import DataError
from shiftlab.events.minerva_ml.columns import (
    COLUMNS,
    GLOBAL_UNITS,
    GLOBALS,
    KIND_COLUMN,
    KINDS,
    MOST_TOKENS,
    TRUTH,
    UNITS,
    blank_globals,
    blank_tokens,
    stored_dedx,
)
from shiftlab.events.tokens import Tokens
from shiftlab.provenance import write_whole

__all__ = ["write_minerva_ml"]


def write_minerva_ml(path: str | Path, tokens: Tokens) -> None:
    """Write tokens as ``torch.save`` of jagged ``data``, ``global_features`` and ``truth_labels``, whole or not at all.

    Values stay as they are, in MeV. Entries that are not valid become what the format puts there (0, or
    log(0.1) for dE/dx; -1 for the energy ratio and zeros for the pion of the truth). Further entries, which
    minerva-ml leaves alone, keep the keys, vertices, weights, samples and selection of the events, truth beyond
    the 15 columns, and masks of tokens that the format's own rules would not give back: reading returns the same bits.

    Raises:
        DataError: columns, units, kinds or globals are not the format's, a truth column is missing or has NaN where
            the format has no sign for it, kinematics or a global are not valid, or an event has more than 33 tokens.
        RunError: the file cannot be written.
    """
    path = Path(path)
    _refuse_other_layout(path, tokens)
    tokens.check(path)
    too_many = torch.nonzero(tokens.counts > MOST_TOKENS)
    if len(too_many):
        event = int(too_many[0])
        raise DataError(f"{path}: event {event} has {int(tokens.counts[event])} tokens; at most {MOST_TOKENS} fit.")
    features = _features(path, tokens)
    values = torch.cat(
        [features[:, :KIND_COLUMN], tokens.particle.to(torch.float32)[:, None], features[:, KIND_COLUMN:]], dim=1
    )
    globals_ = _globals(path, tokens)
    table = tokens.events
    content: dict[str, Any] = {
        "data": torch.nested.nested_tensor_from_jagged(values, tokens.offsets.clone()),
        "truth_labels": _truth(path, tokens),
        "global_features": globals_,
        "event_key": table.key.clone(),
        "vertex_uid": table.vertex.clone(),
        "weight": table.weight.clone(),
        "selected": table.selected.clone(),
        "sample": list(table.sample),
        "dataset": table.dataset,
        "more_truth": {name: column.clone() for name, column in table.truth.items() if name not in TRUTH},
    }
    if not torch.equal(tokens.valid, ~blank_tokens(features, tokens.particle)):
        content["valid"] = tokens.valid.clone()
    if not torch.equal(tokens.global_valid, ~blank_globals(globals_)):
        content["global_valid"] = tokens.global_valid.clone()
    # To a stream, not to a path: the archive's inner folder would be called after the temporary file.
    with write_whole(path) as temporary, temporary.open("wb") as stream, _no_notice():
        torch.save(content, stream)


@contextmanager
def _no_notice() -> Iterator[None]:
    """Keep torch's notice on its tracer, which saving a jagged tensor sets off, from the user's terminal."""
    logger = logging.getLogger("torch.fx._symbolic_trace")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _refuse_other_layout(path: Path, tokens: Tokens) -> None:
    wanted = {
        "columns": COLUMNS,
        "units": UNITS,
        "kinds": KINDS,
        "global_columns": GLOBALS,
        "global_units": GLOBAL_UNITS,
    }
    for name, allowed in wanted.items():
        given = getattr(tokens, name)
        if tuple(given) != allowed:
            odd = next((f"'{a}' where '{b}' must be" for a, b in zip(given, allowed, strict=False) if a != b), None)
            raise DataError(f"{path}: {name} of the tokens: {odd or f'{len(given)} where {len(allowed)} must be'}.")
    if tokens.truth:
        raise DataError(f"{path}: the format has no truth of tokens; these have {', '.join(tokens.truth)}.")


def _features(path: Path, tokens: Tokens) -> Tensor:
    """Return float32 (token, column) with the format's own signs for "no value".

    Raises:
        DataError: eta, phi, pT or E of a token is not valid; the format has no sign for that.
    """
    bad = torch.nonzero(~tokens.valid[:, :KIND_COLUMN])
    if len(bad):
        row, column = bad[0].tolist()
        event = int(torch.searchsorted(tokens.offsets, row, right=True)) - 1
        where = f"event {event}, token {row - int(tokens.offsets[event])}"
        raise DataError(f"{path}: {where}: '{COLUMNS[column]}' is not valid; the format has no sign for that.")
    features = torch.where(tokens.valid, tokens.features, 0.0)
    dedx = COLUMNS.index("log_dEdx")
    features[:, dedx] = torch.where(tokens.valid[:, dedx], features[:, dedx], stored_dedx(tokens.particle))
    return features


def _globals(path: Path, tokens: Tokens) -> Tensor:
    """Return float32 (event, 16); the mass of a photon pair is 0 where there is none.

    Raises:
        DataError: another global is not valid; the format has no sign for that.
    """
    values = torch.where(tokens.global_valid, tokens.globals, 0.0)
    bad = torch.nonzero(~tokens.global_valid & ~blank_globals(values))
    if len(bad):
        event, column = bad[0].tolist()
        raise DataError(
            f"{path}: event {event}: global '{GLOBALS[column]}' is not valid; the format has no sign for that."
        )
    return values


def _truth(path: Path, tokens: Tokens) -> Tensor:
    """Return float64 (event, 15)."""
    truth = tokens.events.truth
    missing = [name for name in TRUTH if name not in truth]
    if missing:
        raise DataError(f"{path}: the events have no truth '{missing[0]}'; they have {', '.join(truth) or 'none'}.")
    matrix = torch.stack([truth[name] for name in TRUTH], dim=1)
    ratio = TRUTH.index("neutrino_over_muon_energy")
    matrix[:, ratio] = torch.where(torch.isnan(matrix[:, ratio]), -1.0, matrix[:, ratio])
    no_pion = torch.isnan(matrix[:, -4:]).all(dim=1)
    matrix[no_pion, -4:] = 0.0
    bad = torch.nonzero(~torch.isfinite(matrix))
    if len(bad):
        event, column = bad[0].tolist()
        raise DataError(f"{path}: event {event}: truth '{TRUTH[column]}' is {float(matrix[event, column])}.")
    return matrix
