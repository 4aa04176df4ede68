"""What every effect of the registry promises, whoever wrote it."""

from __future__ import annotations

import inspect
import math
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from shiftlab.detector import STAGES, Cells, Charge, ConfigError, Effect, Parameter, Stream, effects
from shiftlab.detector.effect import DEPOSIT_STAGES, LATTICE_STAGES

State = Any


def tensors(events: State) -> dict[str, Tensor]:
    return {f.name: getattr(events, f.name) for f in fields(events) if isinstance(getattr(events, f.name), Tensor)}


def equal(one: State, other: State) -> bool:
    mine, theirs = tensors(one), tensors(other)
    return all(torch.equal(mine[name], theirs[name]) for name in mine)


def displaced(effect: Effect[Any]) -> list[dict[str, float]]:
    """Nominal values, and every parameter alone at one sigma up and down (a choice: the other choice)."""
    nominal = {parameter.name: parameter.nominal for parameter in effect.parameters}
    found = [nominal]
    for parameter in effect.parameters:
        for nuisance in (-1.0, 1.0) if parameter.two_sided else (1.0,):
            if parameter.sigma > 0 or parameter.choices:
                found.append({**nominal, parameter.name: parameter.value(nuisance)})
    return found


def same_rows(after: State, before: State) -> Tensor:
    """Mask of the rows that were there before."""
    return torch.isin(after.address, before.address) if isinstance(after, Cells) else after.event >= 0


def of_event(events: State, index: int) -> dict[str, Tensor]:
    """The rows of one event, without the numbering of events."""
    rows = events.event == index
    names = ["electrons", "position"] if isinstance(events, Charge) else ["electrons", "cell", "key"]
    return {name: getattr(events, name)[rows] for name in names}


def test_it_says_what_it_is(effect):
    """Stage, documentation, source, grade and bounds are there for whoever reads a prior."""
    assert effect.stage in (*DEPOSIT_STAGES, *LATTICE_STAGES)
    assert effect.stage in STAGES
    assert inspect.getdoc(type(effect))
    assert effect.parameters
    for parameter in effect.parameters:
        assert parameter.doc.endswith(".")
        assert parameter.source
        assert parameter.confidence in "ABC"
        assert parameter.unit
        if parameter.identity is not None:
            parameter.check(parameter.identity)


def test_name_of_file_and_class_are_found_by_name(effect):
    assert effects().get(effect.name) is type(effect)


def test_identity_leaves_every_bit(effect, events, nominal, stream):
    """At identity of all parameters that have one, output equals input bit for bit."""
    if not any(p.identity is not None for p in effect.parameters):
        pytest.skip("no identity: charge always recombines")
    values = {p.name: nominal[p.name] if p.identity is None else p.identity for p in effect.parameters}
    assert equal(effect.apply(events, values, stream), events)


def test_same_input_gives_the_same_bytes_and_stays_untouched(effect, events, stream):
    """The effect is pure: a replay of key and values gives the same bytes, and the input is not written to."""
    for values in displaced(effect):
        before = {name: tensor.clone() for name, tensor in tensors(events).items()}
        first = effect.apply(events, values, stream)
        again = effect.apply(events, dict(values), Stream(stream.seed, stream.effect, stream.throw))
        assert equal(first, again)
        assert all(torch.equal(before[name], tensor) for name, tensor in tensors(events).items())


def test_undeclared_fields_keep_every_bit(effect, events, stream):
    for values in displaced(effect):
        after = effect.apply(events, values, stream)
        assert after.geometry == events.geometry
        for name, tensor in tensors(after).items():
            assert name in effect.changes or torch.equal(tensor, getattr(events, name)), name


def test_events_stay_even_when_their_charge_is_gone(effect, events, stream):
    """The table is the same, and rows stay in the order of events and cells."""
    for values in displaced(effect):
        after = effect.apply(events, values, stream)
        assert after.table is events.table
        assert bool((after.event[1:] >= after.event[:-1]).all())
        assert bool(torch.isfinite(after.electrons).all())
        if isinstance(after, Cells):
            assert bool((after.address[1:] > after.address[:-1]).all())
            assert torch.equal(after.key, after.table.key[after.event])


def test_batch_and_order_change_no_bit(effect, events, deposits, bare, state, stream):
    """Each event alone, and all in reverse order, give the bytes of the batch."""
    for values in displaced(effect):
        together = effect.apply(events, values, stream)
        turned = effect.apply(state(effect, bare.prepare(deposits.take([4, 3, 2, 1, 0]))), values, stream)
        for index in range(5):
            alone = effect.apply(state(effect, bare.prepare(deposits.take([index]))), values, stream)
            expected = of_event(together, index)
            for name, tensor in of_event(alone, 0).items():
                assert torch.equal(tensor, expected[name])
            for name, tensor in of_event(turned, 4 - index).items():
                assert torch.equal(tensor, expected[name])


def test_a_value_per_event_acts_like_one_number(effect, events, stream):
    """A tensor (event,) of equal values gives the same bits; unequal ones act on their own event only."""
    for values in displaced(effect):
        single = effect.apply(events, values, stream)
        each = {name: torch.full((5,), value, dtype=torch.float64) for name, value in values.items()}
        several = effect.apply(events, each, stream)
        assert equal(single, several)
        mixed = {name: tensor.clone() for name, tensor in each.items()}
        for parameter in effect.parameters:
            mixed[parameter.name][0] = parameter.nominal
        other = effect.apply(events, mixed, stream)
        assert all(torch.equal(t, of_event(other, 3)[n]) for n, t in of_event(single, 3).items())


def test_gradients_follow_the_physics(effect, events, nominal, stream):
    """Where only charge changes, its derivative by each continuous parameter is that of finite differences."""
    if effect.changes != ("electrons",):
        pytest.skip("the set of cells changes, which has no derivative")
    if not effect.smooth:
        pytest.skip("codes are whole numbers, which have no derivative")
    for parameter in effect.parameters:
        idle = parameter.requires and nominal[parameter.requires[0]] != parameter.requires[1]
        if parameter.choices or parameter.sigma == 0 or idle:
            continue
        here = parameter.nominal if math.isfinite(parameter.nominal) else 1.0
        value = torch.full((5,), here, dtype=torch.float64, requires_grad=True)
        total = effect.apply(events, {**nominal, parameter.name: value}, stream).electrons.sum()
        (gradient,) = torch.autograd.grad(total, value)
        step = 1e-5 * max(abs(here), 1e-2)
        up, down = (
            effect.apply(events, {**nominal, parameter.name: here + sign * step}, stream).electrons.sum()
            for sign in (1, -1)
        )
        assert float(gradient.sum()) == pytest.approx(float((up - down) / (2 * step)), rel=1e-4, abs=1e-2)


def test_values_outside_the_bounds_are_refused(effect):
    for parameter in effect.parameters:
        if parameter.sigma == 0:
            continue
        low, high = parameter.bounds
        assert parameter.value(0.0) == parameter.nominal
        if parameter.scale == "linear":
            with pytest.raises(ConfigError, match=parameter.name):
                parameter.value((high - parameter.nominal) / parameter.sigma * 1.01 + 1.0)
            with pytest.raises(ConfigError, match=parameter.name):
                parameter.value((low - parameter.nominal) / parameter.sigma * 1.01 - 1.0)
        else:
            with pytest.raises(ConfigError, match=parameter.name):
                parameter.value(-1e3)


def test_no_charge_can_pass_that_the_effect_said_could_not(effect, events, stream):
    """Charge just below ``least(level)`` stays below the level; with no threshold behind, nothing is cut."""
    if effect.stage not in LATTICE_STAGES or effect.stage == "add_noise":
        pytest.skip("least charge matters behind the noise only")
    for values in displaced(effect):
        assert effect.least(float("-inf"), values) <= max(values.get("level", 0.0), 0.0)
        least = effect.least(5000.0, values)
        below = replace(events, electrons=torch.full_like(events.electrons, least * (1 - 1e-12)))
        assert bool((effect.apply(below, values, stream).electrons < 5000.0).all())


def pairs(parameter: Parameter) -> tuple[float, float]:
    """Two values above the identity, in the direction in which the effect grows."""
    if parameter.algebra == "rate":
        return parameter.nominal, 0.7 * parameter.nominal
    if parameter.algebra == "multiply":
        return 1.03, 0.96
    if parameter.algebra == "nest":
        return parameter.nominal - parameter.sigma, parameter.nominal + 0.3 * (parameter.bounds[1] - parameter.nominal)
    return parameter.nominal + 0.5 * parameter.sigma, parameter.nominal + 2 * parameter.sigma


def test_declared_algebra(effect, events, nominal, stream):
    """Gains multiply, rates add, noise and spread are linear in their size, thresholds and dead masks nest."""
    for parameter in effect.parameters:
        if parameter.algebra == "none":
            continue
        low, high = pairs(parameter)
        one, two = ({**nominal, parameter.name: value} for value in (low, high))
        first, second = effect.apply(events, one, stream), effect.apply(events, two, stream)
        if parameter.algebra in ("multiply", "rate"):
            both = low * high if parameter.algebra == "multiply" else 1.0 / (1.0 / low + 1.0 / high)
            expected = effect.apply(events, {**nominal, parameter.name: both}, stream)
            after = effect.apply(first, two, stream)
            torch.testing.assert_close(after.electrons, expected.electrons, rtol=1e-12, atol=0.0)
        elif parameter.algebra == "linear":
            start = events.electrons
            change = [part.electrons[same_rows(part, events)] - start for part in (first, second)]
            torch.testing.assert_close(change[0] * high, change[1] * low, rtol=1e-9, atol=1e-6)
        else:
            assert bool(torch.isin(second.address, first.address).all())
            assert len(second.cell) < len(first.cell)
