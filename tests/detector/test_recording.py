"""A shifted universe enters the chain where it departs from the nominal one, and finds the bits of a whole pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from shiftlab.detector import NOMINAL, STAGES, ConfigError, Detector, Effect, Universe, effects, multisim
from shiftlab.detector.recording import Kept, bytes_of
from shiftlab.events.image import Image


def same(one: Image, other: Image) -> bool:
    names = ("offsets", "cell", "charge", "energy")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


def single(chamber: Detector, strengths: tuple[float, ...] = (-1.0, 1.0)) -> list[Universe]:
    """Every nuisance alone, in two throws."""
    return [
        Universe(f"{nuisance.name}{strength:+g}", ((nuisance.name, strength),), throw)
        for nuisance in chamber.nuisances
        for strength in (strengths if nuisance.parameter.two_sided else (1.0,))
        for throw in (0, 7)
    ]


def catalogue(chamber: Detector) -> Detector:
    """A chamber with every effect of the catalogue that a pixel chamber can have."""
    made: list[Effect] = []
    for name in effects().names():
        kind = effects().get(name)
        if kind.stage in STAGES and kind.stage != "generate" and kind.readout in ("any", "pixels"):
            try:
                effect = kind()
                Detector("one", chamber.geometry, (*chamber.effects, effect), allow_double_counting=True)
            except ConfigError as error:
                if "listed twice" not in str(error):
                    continue
            made.append(effect)
    return Detector("all", chamber.geometry, tuple(made), allow_double_counting=True)


def test_every_universe_has_the_bits_of_a_whole_pass(chamber, deposits):
    """One nuisance, several and none, in any order of universes and throws: what is kept changes nothing."""
    prepared = chamber.prepare(deposits)
    universes = [*single(chamber), *multisim(chamber, 2, seed=5), NOMINAL, Universe("other", (), 3)]
    for universe in (*universes, *reversed(universes)):
        assert same(chamber.image(prepared, universe), chamber.image(deposits, universe)), universe.name
    assert prepared.kept.states


def test_every_effect_of_the_catalogue_may_be_kept_or_made_anew(chamber, deposits):
    """The same with all effects in one chain: none depends on its throw, or on faint cells, in secret."""
    chain = catalogue(chamber)
    assert len(chain.effects) > len(chamber.effects)
    able = deposits.take([0, 2])
    prepared = chain.prepare(able)
    refused = chain.refused(prepared)
    universes = [u for u in single(chain, (1.0,)) if not {name for name, _ in u.nuisances} & set(refused)]
    chain.image(prepared)
    for universe in (NOMINAL, *universes):
        assert same(chain.image(prepared, universe), chain.image(able, universe)), universe.name


def test_nothing_before_the_departure_is_computed_again(chamber, deposits, monkeypatch):
    """After the nominal pass a shift of the gain needs no recombination, drift or noise; one of the lifetime does."""
    prepared = chamber.prepare(deposits)
    chamber.image(prepared)
    expected = chamber.image(deposits, Universe("gain", (("gain_scale", 1.0),)))
    calls = []
    for effect in chamber.effects:
        kind = type(effect)

        def spied(self, events, values, stream, *, inner=kind.apply):
            calls.append(self.name)
            return inner(self, events, values, stream)

        monkeypatch.setattr(kind, "apply", spied)
    assert same(chamber.image(prepared, Universe("gain", (("gain_scale", 1.0),))), expected)
    assert calls == ["gain", "dead_channels", "dead_chips", "threshold"]
    calls.clear()
    chamber.image(prepared, Universe("lifetime", (("lifetime_tau", 1.0),)))
    assert calls == ["lifetime", "noise", "gain", "dead_channels", "dead_chips", "threshold"]
    calls.clear()
    chamber.image(prepared, Universe("nominal again", (), 5))
    assert calls == []


def test_a_frozen_map_of_the_nominal_belongs_to_its_throw(chamber, deposits):
    """With a known spread of gains the nominal differs from throw to throw, and is not taken from another's."""
    gain = effects().get("gain")
    spread = replace(gain().parameter("spread"), nominal=0.02)
    effected = tuple(gain({"spread": spread}) if e.name == "gain" else e for e in chamber.effects)
    chain = Detector("spread", chamber.geometry, effected, allow_double_counting=True)
    prepared = chain.prepare(deposits)
    images = [chain.image(prepared, Universe("u", (("threshold_level", 1.0),), throw)) for throw in (0, 1, 0)]
    for throw, image in enumerate(images[:2]):
        assert same(image, chain.image(deposits, Universe("u", (("threshold_level", 1.0),), throw)))
    assert same(images[0], images[2])
    assert not same(images[0], images[1])


def test_another_detector_starts_from_its_own_states(chamber, deposits):
    """Events prepared once may be recorded by detectors that differ behind the read-out, or in their seed."""
    prepared = chamber.prepare(deposits)
    chamber.image(prepared)
    noise = effects().get("noise")
    louder = noise({"enc": replace(noise().parameter("enc"), nominal=550.0)})
    for other in (
        replace(chamber, seed=2),
        replace(chamber, effects=tuple(louder if e.name == "noise" else e for e in chamber.effects)),
    ):
        assert same(other.image(prepared), other.image(deposits))
    assert same(chamber.image(prepared), chamber.image(deposits))


def test_a_much_lower_floor_starts_at_the_readout(chamber, deposits):
    """A threshold or gain that lets through cells fainter than the kept ones does not miss them."""
    prepared = chamber.prepare(deposits)
    chamber.image(prepared)
    for universe in (
        Universe("low", (("threshold_level", -10.0),)),
        Universe("high", (("gain_scale", 8.0),)),
        Universe("up", (("threshold_level", 10.0),)),
    ):
        assert same(chamber.image(prepared, universe), chamber.image(deposits, universe))


def test_kept_states_take_no_more_than_the_events_themselves(chamber, deposits):
    """The bound that is stated; a kept state that would pass it is left out."""
    prepared = chamber.prepare(deposits)
    chamber.image(prepared)
    parts = prepared.charge, prepared.footprint, prepared.cells
    states = [state for state, _ in prepared.kept.states.values()]
    assert bytes_of(parts) < bytes_of([*parts, *states]) <= 2 * bytes_of(parts)
    small = Kept()
    small.keep(1, replace(prepared.cells, electrons=prepared.cells.electrons.repeat(100)), None, parts)
    assert not small.states
    small.keep(2, replace(prepared.cells, electrons=prepared.cells.electrons.clone()), None, parts)
    assert list(small.states) == [2]


@pytest.mark.parametrize("universe", [NOMINAL, Universe("u", (("noise_enc", 1.0),))])
def test_what_is_kept_is_never_written_to(chamber, deposits, universe):
    """Recording twice gives the same image, and the states keep their bytes."""
    prepared = chamber.prepare(deposits)
    first = chamber.image(prepared)
    before = {i: state.electrons.clone() for i, (state, _) in prepared.kept.states.items()}
    chamber.image(prepared, universe)
    assert all(torch.equal(prepared.kept.states[i][0].electrons, electrons) for i, electrons in before.items())
    assert same(first, chamber.image(prepared))
