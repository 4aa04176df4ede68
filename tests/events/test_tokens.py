"""Tokens keep their bits when taken and joined; MeV and GeV differ by ln(1000) in a logarithm."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.errors import DataError
from shiftlab.events import EventTable, Tokens, concatenate_tokens
from shiftlab.events.tokens import in_units
from shiftlab.events.units_check import energy_reading

HERE = Path("tokens")
COUNTS = st.lists(st.integers(0, 4), min_size=1, max_size=6)


def tokens_of(counts: list[int], seed: int = 0, first_key: int = 0) -> Tokens:
    """Tokens in log(MeV), one entry of four masked, with truth and globals in MeV."""
    draw = torch.Generator().manual_seed(seed)
    total, events = sum(counts), len(counts)
    valid = torch.rand((total, 3), generator=draw) > 0.25
    key = torch.arange(first_key, first_key + events)
    ones = torch.ones(events, dtype=torch.float64)
    return Tokens(
        offsets=torch.tensor([0, *torch.tensor(counts).cumsum(0).tolist()]),
        features=torch.where(valid, 3 * torch.randn((total, 3), generator=draw), 0.0),
        columns=("phi", "log_E", "log_dEdx"),
        units=("rad", "log(MeV)", "log(MeV/cm)"),
        valid=valid,
        particle=torch.randint(0, 2, (total,), generator=draw),
        kinds=("muon", "blob"),
        globals=torch.rand((events, 2), generator=draw),
        global_columns=("mass", "n"),
        global_units=("MeV", "1"),
        global_valid=torch.ones((events, 2), dtype=torch.bool),
        events=EventTable(key, key, ones, ("a",) * events, {"label": ones}, ones.bool()),
        truth={"label": torch.arange(total).double()},
    )


@given(COUNTS, st.integers(0, 99))
def test_only_energies_move_and_by_the_logarithm_of_a_thousand(counts: list[int], seed: int) -> None:
    tokens = tokens_of(counts, seed)
    there = in_units(tokens, "GeV")
    assert there.units == ("rad", "log(GeV)", "log(MeV/cm)")
    wanted = (tokens.features[:, 1].double() - math.log(1000)).float()
    assert torch.equal(there.features[:, 1], torch.where(tokens.valid[:, 1], wanted, 0.0))
    assert torch.equal(there.features[:, [0, 2]], tokens.features[:, [0, 2]])
    assert there.global_units == ("GeV", "1")
    assert torch.equal(there.globals[:, 0], (tokens.globals[:, 0].double() / 1000).float())
    assert torch.equal(there.globals[:, 1], tokens.globals[:, 1])


@given(COUNTS, st.integers(0, 99))
def test_there_and_back_is_off_by_roundings_only_and_the_same_unit_changes_nothing(
    counts: list[int], seed: int
) -> None:
    tokens = tokens_of(counts, seed)
    back = in_units(in_units(tokens, "GeV"), "MeV")
    assert back.units == tokens.units
    # One rounding of a number below 16 each way: at most half a unit of 2^-20, twice.
    assert float((back.features - tokens.features).abs().sum()) <= 2**-20 * max(len(tokens.features), 1)
    assert in_units(tokens, "MeV").features is tokens.features


def test_a_unit_that_is_none_is_refused() -> None:
    with pytest.raises(DataError, match="'keV'; allowed: MeV, GeV"):
        in_units(tokens_of([1]), "keV")  # type: ignore[arg-type]


@given(COUNTS)
def test_events_taken_apart_and_joined_are_the_same(counts: list[int]) -> None:
    tokens = tokens_of(counts)
    joined = concatenate_tokens([tokens.take([i]) for i in range(len(tokens))])
    for name in ("offsets", "features", "valid", "particle", "globals", "global_valid"):
        assert torch.equal(getattr(joined, name), getattr(tokens, name)), name
    assert torch.equal(joined.truth["label"], tokens.truth["label"])
    assert torch.equal(joined.events.key, tokens.events.key)


def test_truth_that_one_part_lacks_is_nan_there() -> None:
    joined = concatenate_tokens([replace(tokens_of([2]), truth={}), tokens_of([1], first_key=5)])
    assert torch.isnan(joined.truth["label"]).tolist() == [True, True, False]


def test_tokens_in_different_units_are_not_joined() -> None:
    with pytest.raises(DataError, match="different units"):
        concatenate_tokens([tokens_of([1]), in_units(tokens_of([1], first_key=5), "GeV")])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_feature_that_is_no_number_is_refused_by_event_token_and_column(value: float) -> None:
    tokens = tokens_of([2, 0, 3])
    tokens.features[3, 1] = value
    with pytest.raises(DataError, match="event 2, token 1: log_E is NaN or infinite"):
        tokens.check(HERE)


def test_large_finite_features_whose_sum_overflows_are_fine() -> None:
    tokens = tokens_of([3])
    tokens.features[:] = torch.finfo(torch.float32).max
    tokens.check(HERE)


@pytest.mark.parametrize(
    ("median", "unit", "alarm"), [(1.43, "GeV", False), (8.34, "GeV", True), (3.0, "MeV", False), (-3.9, "MeV", True)]
)
def test_energies_a_thousand_off_are_told(median: float, unit: str, alarm: bool) -> None:
    text = energy_reading(torch.tensor([median, median - 1, median + 1, math.nan]), unit)
    assert text.startswith("WARNING") == alarm
    assert f"is {median:.2f}" in text
