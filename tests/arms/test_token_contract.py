"""Units travel with a model of tokens: MeV never passes for GeV, blanks are as declared, no token is lost."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.arms.tokens.batch import TokenBatch
from shiftlab.arms.tokens.contract import OMNILEARNED, TokenContract
from shiftlab.config import locate
from shiftlab.errors import ConfigError, DataError
from shiftlab.events import read_tokens
from shiftlab.events.tokens import Tokens, in_units


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return read_tokens(locate("studies/samples/minerva_like_tokens.h5"), events=slice(0, 120))


@pytest.fixture(scope="module")
def contract(tokens: Tokens) -> TokenContract:
    return TokenContract.of(tokens)


def test_tokens_in_mev_are_refused_by_a_contract_in_gev(tokens, contract):
    assert contract.energy_unit == "GeV"
    with pytest.raises(ConfigError, match=r"log_pT in log\(GeV\), but the tokens have log\(MeV\).*in_units"):
        TokenBatch.of(tokens, contract)


def test_converted_energies_differ_by_the_logarithm_of_a_thousand(tokens, contract):
    batch = TokenBatch.of(contract.converted(tokens), contract)
    torch.testing.assert_close(
        tokens.features[:, 2:4] - batch.values[:, 2:4], torch.full((len(batch.values), 2), 6.907755)
    )
    mev = TokenContract.of(tokens, energy_unit="MeV")
    same = TokenBatch.of(mev.converted(tokens), mev)
    torch.testing.assert_close(same.summed_energy, batch.summed_energy, rtol=1e-5, atol=0)
    assert torch.equal(same.values, torch.where(tokens.valid, tokens.features, 0.0))
    # A photon pair of mass 135 MeV is one of 0.135 GeV.
    pair = tokens.global_columns.index("photon_pair_mass")
    there = tokens.global_valid[:, pair]
    np.testing.assert_allclose(batch.numbers[there, pair] * 1000, tokens.globals[there, pair], rtol=1e-5)


def test_a_contract_in_mev_and_one_in_gev_differ_by_the_same_shift(tokens, contract):
    mev = TokenContract.of(tokens, energy_unit="MeV")
    shift = np.subtract(mev.centre, contract.centre)
    np.testing.assert_allclose(shift, [0, 0, math.log(1000), math.log(1000), 0, 0, 0, 0, 0], atol=2e-4)
    np.testing.assert_allclose(mev.spread, contract.spread, rtol=1e-3)


def test_summed_energy_is_that_of_a_loop_over_tokens(tokens, contract):
    batch = TokenBatch.of(contract.converted(tokens), contract)
    for event in (0, 7, 55):
        rows = slice(int(tokens.offsets[event]), int(tokens.offsets[event + 1]))
        wanted = sum(math.exp(value) for value in tokens.column("log_E")[rows].tolist())
        assert float(batch.summed_energy[event]) == pytest.approx(wanted, rel=1e-5)


def test_a_contract_comes_back_from_json_and_an_edited_one_is_refused(contract):
    assert TokenContract.from_plain(contract.plain()) == contract
    for change in ({"maximum": 0}, {"blank": "-999"}, {"units": ["1"]}, {"colour": 1}, {"input": "images"}):
        with pytest.raises(ConfigError, match="token contract"):
            TokenContract.from_plain({**contract.plain(), **change})
    with pytest.raises(ConfigError, match="one of MeV, GeV"):
        dataclasses.replace(contract, units=(*contract.units[:3], "log(MeV)", *contract.units[4:]))


def test_columns_that_are_no_momentum_are_refused(contract):
    with pytest.raises(ConfigError, match="two angles, log_pT"):
        TokenContract(columns=("x", "y", "z", "t"), units=("1",) * 4, centre=(0.0,) * 4, spread=(1.0,) * 4)


def test_a_missing_column_a_strange_kind_or_another_unit_is_named(tokens, contract):
    there = contract.converted(tokens)
    lacking = dataclasses.replace(there, columns=("eta", "phi", "log_pT", "log_E", "dedx", "x", "y", "z", "t"))
    with pytest.raises(ConfigError, match="the column log_dEdx"):
        TokenBatch.of(lacking, contract)
    strange = dataclasses.replace(there, kinds=("tau", *there.kinds[1:]))
    with pytest.raises(ConfigError, match="kind tau"):
        TokenBatch.of(strange, contract)
    cm = dataclasses.replace(there, units=(*there.units[:5], "cm", *there.units[6:]))
    with pytest.raises(ConfigError, match="x in mm/10000, but the tokens have cm"):
        contract.converted(cm)


def test_columns_and_kinds_are_found_by_name_not_by_place(tokens, contract):
    there = contract.converted(tokens)
    order = [3, 2, 1, 0, 8, 7, 6, 5, 4]
    kinds = len(there.kinds)
    turned = dataclasses.replace(
        there,
        features=there.features[:, order],
        valid=there.valid[:, order],
        columns=tuple(there.columns[i] for i in order),
        units=tuple(there.units[i] for i in order),
        kinds=there.kinds[::-1],
        particle=kinds - 1 - there.particle,
    )
    one, other = TokenBatch.of(there, contract), TokenBatch.of(turned, contract)
    assert torch.equal(one.values, other.values)
    assert torch.equal(one.valid, other.valid)
    assert torch.equal(one.kind, other.kind)


def test_a_jet_contract_takes_its_four_columns_of_richer_tokens(tokens):
    batch = TokenBatch.of(in_units(tokens, "GeV"), OMNILEARNED)
    assert batch.values.shape == (len(tokens.features), 4)
    assert batch.numbers.shape == (len(tokens), 0)


@pytest.mark.parametrize("blank", ["zero", "centre"])
def test_blank_entries_are_what_the_contract_says(tokens, blank):
    contract = TokenContract.of(tokens, blank=blank)
    batch = TokenBatch.of(contract.converted(tokens), contract)
    column = contract.columns.index("log_dEdx")
    empty = ~batch.valid[:, column]
    assert empty.any()
    wanted = 0.0 if blank == "zero" else contract.centre[column]
    torch.testing.assert_close(batch.values[empty, column], torch.full((int(empty.sum()),), wanted))
    assert torch.equal(batch.valid, tokens.valid)


def test_means_do_not_see_blank_entries(tokens, contract):
    column = contract.columns.index("log_dEdx")
    values = tokens.features[:, column][tokens.valid[:, column]].double().numpy()
    assert contract.centre[column] == pytest.approx(values.mean(), rel=1e-4)
    assert contract.spread[column] == pytest.approx(values.std(), rel=1e-4)


def test_longer_events_are_counted_and_whole(tokens, contract):
    short = dataclasses.replace(contract, maximum=8)
    long = short.too_long(contract.converted(tokens))
    assert torch.equal(long, tokens.counts > 8)
    assert torch.equal(TokenBatch.of(contract.converted(tokens), short).lengths, tokens.counts)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_take_and_between_give_the_events_that_are_asked_for(tokens, contract, data):
    batch = TokenBatch.of(contract.converted(tokens), contract)
    chosen = data.draw(st.lists(st.integers(0, len(batch) - 1), min_size=1, max_size=9))
    taken = batch.take(torch.tensor(chosen))
    for place, event in enumerate(chosen):
        one, whole = taken.between(place, place + 1), batch.between(event, event + 1)
        for field in dataclasses.fields(one):
            assert torch.equal(getattr(one, field.name), getattr(whole, field.name))
    first = data.draw(st.integers(0, len(batch)))
    last = data.draw(st.integers(first, len(batch)))
    rows = torch.arange(first, last)
    run, picked = batch.between(first, last).to("cpu"), batch.take(rows)
    for field in dataclasses.fields(run):
        assert torch.equal(getattr(run, field.name), getattr(picked, field.name))


def test_no_tokens_have_no_mean(tokens):
    with pytest.raises(DataError, match="not one"):
        TokenContract.of(tokens.take([]))
