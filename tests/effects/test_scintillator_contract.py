"""What every effect of a scintillator tracker promises, whoever wrote it, on Geant4 events in polystyrene."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from shiftlab.detector import (
    NOMINAL,
    ConfigError,
    Effect,
    Hits,
    Response,
    ScintillatorDetector,
    Stream,
    TokenDetector,
    Universe,
    effects,
)
from shiftlab.detector.effect import SCINTILLATOR_STAGES
from shiftlab.detector.scintillator.owners import owners
from shiftlab.detector.scintillator.photostatistics import calibrate, collect, count, illuminate
from shiftlab.detector.scintillator.stages import STATES
from shiftlab.events import read
from shiftlab.events.deposits import Deposits
from shiftlab.events.tokens import Tokens

State = Response | Hits | Tokens
BARE = ScintillatorDetector("bare")
EVENTS = 6
DARK = 3
"""Number of the event that leaves no light."""


@pytest.fixture(scope="module")
def deposits() -> Deposits:
    """Six composed neutrino events in polystyrene; the fourth is moved out of the detector."""
    found = read(Path(__file__).parents[1] / "data" / "ch_neutrino.h5").take(range(EVENTS))
    position = found.position.clone()
    position[found.event_index == DARK] += 1.0e4
    return replace(found, position=position)


@pytest.fixture(scope="module")
def tokens(deposits: Deposits) -> Tokens:
    return BARE.tokens(deposits)


@pytest.fixture(params=[kind.name for kind in effects() if kind.stage in SCINTILLATOR_STAGES])
def effect(request: pytest.FixtureRequest) -> Effect[Any]:
    """Every effect of the scintillator trackers in turn."""
    return effects().get(request.param)()


@pytest.fixture
def stream(effect: Effect[Any]) -> Stream:
    return Stream(seed=3, effect=effect.name, throw=2)


@pytest.fixture
def nominal(effect: Effect[Any]) -> dict[str, float]:
    return {parameter.name: parameter.nominal for parameter in effect.parameters}


def state(effect: Effect[Any], deposits: Deposits) -> State:
    """The state that the effect's stage works on."""
    if effect.stage == "respond":
        return Response()
    if effect.stage == "couple":
        return lit(deposits, Response())
    return BARE.tokens(deposits)


@pytest.fixture
def events(effect: Effect[Any], deposits: Deposits) -> State:
    return state(effect, deposits)


def lit(deposits: Deposits, response: Response) -> Hits:
    light = illuminate(deposits, owners(deposits)[1], BARE.geometry, response)
    return collect(light, deposits.events.key, BARE.geometry)


def content(found: State) -> dict[str, Tensor]:
    """Every number of a state by name; those of the events' table and of truth among them."""
    if isinstance(found, Response):
        return {f.name: torch.as_tensor(getattr(found, f.name), dtype=torch.float64) for f in fields(found)}
    result = {f.name: getattr(found, f.name) for f in fields(found) if isinstance(getattr(found, f.name), Tensor)}
    if isinstance(found, Tokens):
        table = found.events
        result |= {f"truth.{name}": value for name, value in found.truth.items()}
        result |= {f"events.{name}": value for name, value in table.truth.items()}
        result |= {name: getattr(table, name) for name in ("key", "vertex", "weight", "selected")}
    return result


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Equal bits; what is NaN on both sides counts as equal."""
    return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)


def alike(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one, other) or torch.equal(one.nan_to_num(-1e30), other.nan_to_num(-1e30))


def displaced(effect: Effect[Any]) -> list[dict[str, float]]:
    """Nominal values, and every parameter alone at one sigma up and down (a choice: the other choice)."""
    nominal = {parameter.name: parameter.nominal for parameter in effect.parameters}
    found = [nominal]
    for parameter in effect.parameters:
        for nuisance in (-1.0, 1.0) if parameter.two_sided else (1.0,):
            if parameter.sigma > 0 or parameter.choices:
                found.append({**nominal, parameter.name: parameter.value(nuisance)})
    return found


def universes(effect: Effect[Any]) -> list[Universe]:
    """Every parameter alone at one sigma up and down."""
    return [
        Universe(f"{effect.name}_{p.name}{nuisance:+g}", ((f"{effect.name}_{p.name}", nuisance),), throw=2)
        for p in effect.parameters
        for nuisance in ((-1.0, 1.0) if p.two_sided else (1.0,))
        if p.sigma > 0 or p.choices
    ]


def seen(effect: Effect[Any], found: State, deposits: Deposits) -> Hits | Tokens:
    """What is seen of the state event by event: calibrated hits where it is the response, else the state itself."""
    if not isinstance(found, Response):
        return found
    stream = Stream(5, "photons")
    return calibrate(count(lit(deposits, found), found, stream), Response())


def of_event(found: Hits | Tokens, index: int) -> dict[str, Tensor]:
    """The numbers of one event, without the numbering of events and of their particles."""
    if isinstance(found, Tokens):
        return content(found.take([index]))
    rows = found.event == index
    return {name: getattr(found, name)[rows] for name in ("plane", "strip", "expected", "count", "energy", "along")}


def test_it_says_what_it_is(effect):
    """Stage, catalogue number, documentation, source, grade and bounds are there for whoever reads a prior."""
    assert effect.stage in SCINTILLATOR_STAGES
    assert effect.catalogue
    assert inspect.getdoc(type(effect))
    assert effect.parameters
    assert effect.changes
    for parameter in effect.parameters:
        assert parameter.doc.endswith(".")
        assert parameter.source
        assert parameter.confidence in "ABC"
        assert parameter.unit
        if parameter.identity is not None:
            parameter.check(parameter.identity)


def test_a_detector_takes_it_at_its_stage_only(effect):
    """Needs and changes are fields of the stage's state, which a detector checks; no stage takes another's effects."""
    assert ScintillatorDetector(effects=(effect,)).effects == (effect,)
    known = {field.name for field in fields(STATES[effect.stage])}
    assert set(effect.needs) & known
    if effect.stage in ("respond", "couple"):
        with pytest.raises(ConfigError, match=f"effect {effect.name} acts at stage '{effect.stage}'"):
            TokenDetector((effect,))


def test_identity_leaves_every_bit(effect, events, nominal, stream):
    if not any(p.identity is not None for p in effect.parameters):
        pytest.skip("no identity: the parameter is a constant of the response")
    values = {p.name: nominal[p.name] if p.identity is None else p.identity for p in effect.parameters}
    assert same(content(effect.apply(events, values, stream)), content(events))


def test_at_nominal_values_the_tokens_are_those_without_it(effect, deposits, tokens):
    """Unless the effect declares a known amount: a nominal that is not its identity."""
    known = [p.name for p in effect.parameters if p.identity is not None and p.nominal != p.identity]
    found = ScintillatorDetector("bare", effects=(effect,)).tokens(deposits)
    if known:
        assert all(parameter.two_sided for parameter in effect.parameters if parameter.name in known)
    else:
        assert same(content(found), content(tokens))


def test_same_input_gives_the_same_bytes_and_stays_untouched(effect, events, stream):
    """A replay of key and values gives the same bytes, and the input is not written to."""
    for values in displaced(effect):
        before = {name: tensor.clone() for name, tensor in content(events).items()}
        first = effect.apply(events, values, stream)
        again = effect.apply(events, dict(values), Stream(stream.seed, stream.effect, stream.throw))
        assert same(content(first), content(again))
        assert same(content(events), before)


def test_undeclared_fields_keep_every_bit(effect, events, stream):
    """The truth of the events never moves."""
    old = content(events)
    for values in displaced(effect):
        after = effect.apply(events, values, stream)
        assert type(after) is type(events)
        for name, tensor in content(after).items():
            declared = name in effect.changes or (name.startswith("truth.") and "truth" in effect.changes)
            assert declared or alike(tensor, old[name]), name


def test_something_moves(effect, deposits):
    """Every parameter changes what is recorded: at one sigma, or for what is rare in six events at up to 20."""
    detector = ScintillatorDetector("one", effects=(effect,))
    plain = content(detector.tokens(deposits, replace(NOMINAL, throw=2)))
    for universe in universes(effect):
        ((name, strength),) = universe.nuisances
        stronger = [replace(universe, nuisances=((name, factor * strength),)) for factor in (1.0, 5.0, 20.0)]
        assert any(not same(content(detector.tokens(deposits, one)), plain) for one in stronger), universe.name


def test_events_stay_even_when_their_light_is_gone(effect, events, deposits, stream):
    """The table is the same, rows stay in order, and every number is finite."""
    for values in displaced(effect):
        after = seen(effect, effect.apply(events, values, stream), deposits)
        if isinstance(after, Tokens):
            after.check("shifted")
            assert torch.equal(after.events.key, deposits.events.key)
            assert bool((after.counts >= 0).all())
            assert int(after.offsets[-1]) == len(after.features) == len(after.particle) == len(after.valid)
            assert bool((after.features[~after.valid] == 0).all())
            assert bool((torch.isfinite(after.events.weight) & (after.events.weight >= 0)).all())
            continue
        channels = after.geometry.planes * after.geometry.strips
        assert bool((torch.diff(after.event * channels + after.channel) > 0).all())
        assert torch.equal(after.key, deposits.events.key)
        for name in ("expected", "count", "energy", "along"):
            assert bool(torch.isfinite(getattr(after, name)).all())
        assert bool((after.expected >= 0).all())


def test_batch_and_order_change_no_bit(effect, deposits):
    """Each event alone, and all in reverse order, give the tokens of the batch."""
    detector = ScintillatorDetector("one", effects=(effect,))
    turned = list(range(EVENTS))[::-1]
    for universe in universes(effect):
        together = detector.tokens(deposits, universe)
        back = detector.tokens(deposits.take(turned), universe)
        assert same(content(back.take(turned)), content(together))
        for index in (0, DARK, EVENTS - 1):
            alone = detector.tokens(deposits.take([index]), universe)
            assert same(content(alone), content(together.take([index])))


def test_a_value_per_event_acts_like_one_number(effect, events, deposits, stream):
    """A tensor (event,) of equal values gives the same bits; unequal ones act on their own event only."""
    for values in displaced(effect):
        single = seen(effect, effect.apply(events, values, stream), deposits)
        each = {name: torch.full((EVENTS,), value, dtype=torch.float64) for name, value in values.items()}
        several = seen(effect, effect.apply(events, each, stream), deposits)
        assert same(content(several), content(single))
        mixed = {name: tensor.clone() for name, tensor in each.items()}
        for parameter in effect.parameters:
            mixed[parameter.name][0] = parameter.nominal
        other = seen(effect, effect.apply(events, mixed, stream), deposits)
        for index in range(1, EVENTS):
            assert same(of_event(other, index), of_event(single, index))
        nominal = {parameter.name: parameter.nominal for parameter in effect.parameters}
        first = of_event(seen(effect, effect.apply(events, nominal, stream), deposits), 0)
        assert same(of_event(other, 0), first)


def test_values_outside_the_bounds_are_refused(effect):
    for parameter in effect.parameters:
        if parameter.sigma == 0:
            continue
        low, high = parameter.bounds
        assert parameter.value(0.0) == parameter.nominal
        if parameter.scale == "linear":
            for bound, beyond in ((high, 1.0), (low, -1.0)):
                if math.isfinite(bound):
                    with pytest.raises(ConfigError, match=parameter.name):
                        parameter.value((bound - parameter.nominal) / parameter.sigma * 1.01 + beyond)
        else:
            with pytest.raises(ConfigError, match=parameter.name):
                parameter.value(1e3)
        name = f"{effect.name}_{parameter.name}"
        if math.isfinite(high):
            with pytest.raises(ConfigError, match=f"universe 'far'.*{parameter.name}"):
                ScintillatorDetector(effects=(effect,)).values(Universe("far", ((name, 1e3),)))


def test_declared_algebra(effect, events, nominal, stream):
    """Scales multiply, and what a larger value keeps, a smaller one keeps too."""
    for parameter in effect.parameters:
        if parameter.algebra == "multiply":
            one, two, both = ({**nominal, parameter.name: value} for value in (1.03, 0.96, 1.03 * 0.96))
            after = content(effect.apply(effect.apply(events, one, stream), two, stream))
            expected = content(effect.apply(events, both, stream))
            for name in expected:
                # Features of tokens are float32 logarithms; anything else is float64.
                tolerance = {"rtol": 1e-5, "atol": 2e-6} if expected[name].dtype == torch.float32 else {"rtol": 1e-12}
                torch.testing.assert_close(after[name], expected[name], **{"atol": 0.0, **tolerance}, equal_nan=True)
        elif parameter.algebra == "nest":
            low, high = parameter.nominal, min(parameter.bounds[1], parameter.nominal + 20 * parameter.sigma)
            few, many = (kept(effect.apply(events, {**nominal, parameter.name: v}, stream)) for v in (high, low))
            assert few < many
        else:
            assert parameter.algebra == "none", "no check of this algebra yet"


def kept(found: Hits | Tokens) -> set[tuple[float, ...]]:
    """The rows of a state as a set."""
    if isinstance(found, Hits):
        return set(zip(found.event.tolist(), found.channel.tolist(), strict=True))
    rows = torch.cat([found.event_index[:, None].double(), found.features.double()], dim=1)
    return {tuple(row) for row in rows.tolist()}


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.floats(-1.0, 1.0), throw=st.integers(0, 5))
def test_any_universe_within_the_bounds_can_be_recorded(effect, deposits, size, throw):
    """Up to four sigma, joint in all parameters: finite tokens, the same events, and a replay of the record."""
    shifts = []
    for parameter in effect.parameters:
        if parameter.sigma > 0 and not parameter.choices:
            limit = min(4.0, parameter.limit())
            nuisance = limit * (size if parameter.two_sided else abs(size))
            shifts.append((f"{effect.name}_{parameter.name}", nuisance))
    universe = Universe("any", tuple(shifts), throw)
    few = deposits.take([0, DARK])
    found = ScintillatorDetector("one", effects=(effect,)).tokens(few, universe)
    found.check("any")
    assert torch.equal(found.events.key, few.events.key)
    record = universe.to_dict()
    again = Universe("again", tuple(record["nuisances"].items()), record["throw"])
    assert same(content(ScintillatorDetector("one", effects=(type(effect)(),)).tokens(few, again)), content(found))


def test_tokens_of_a_file_are_shifted_like_those_of_the_chain(effect, deposits, tokens):
    """What needs no deposits gives the same tokens behind the chain and on a file's tokens."""
    if effect.stage in ("respond", "couple"):
        pytest.skip("works on deposits")
    chain, alone = ScintillatorDetector("bare", effects=(effect,)), TokenDetector((effect,))
    for universe in (NOMINAL, *universes(effect)):
        assert same(content(alone.record(tokens, universe)), content(chain.tokens(deposits, universe)))
