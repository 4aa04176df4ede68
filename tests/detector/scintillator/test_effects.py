"""How the tracker takes effects: their order, what it refuses, universes, and tokens of a file without deposits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from shiftlab.detector import (
    NOMINAL,
    Effect,
    Hits,
    Parameter,
    Response,
    ScintillatorDetector,
    TokenDetector,
    Universe,
    effects,
    multisim,
    scintillator_detector,
    unisim,
)
from shiftlab.errors import ConfigError, UnknownNameError
from shiftlab.events.tokens import Tokens
from studies.samples import __file__ as samples

DETECTOR = scintillator_detector()


def scale() -> Parameter:
    return Parameter("scale", 1.0, 0.1, "1", (0.0, 2.0), identity=1.0, source="test", doc="Test.")


class Weight(Effect[Tokens]):
    """Weights times a scale."""

    name: ClassVar[str] = "test_weight"
    stage: ClassVar[str] = "weigh"
    needs: ClassVar[tuple[str, ...]] = ("weight",)
    changes: ClassVar[tuple[str, ...]] = ("weight",)
    parameters = (scale(),)

    def apply(self, events, values, stream):
        """Scale the weights; and move features, which a weight must not."""
        weighted = replace(events.events, weight=events.events.weight * values["scale"])
        return replace(events, events=weighted, features=events.features + 1.0)


class Doubling(Effect[Tokens]):
    """Adds the scale less one to every feature."""

    name: ClassVar[str] = "test_token"
    stage: ClassVar[str] = "token"
    needs: ClassVar[tuple[str, ...]] = ("features",)
    changes: ClassVar[tuple[str, ...]] = ("features",)
    parameters = (scale(),)

    def apply(self, events, values, stream):
        """Move the features."""
        return replace(events, features=events.features + (values["scale"] - 1.0))


class Louder(Effect[Hits]):
    """Expected light times the scale."""

    name: ClassVar[str] = "test_couple"
    stage: ClassVar[str] = "couple"
    needs: ClassVar[tuple[str, ...]] = ("expected",)
    changes: ClassVar[tuple[str, ...]] = ("expected",)
    parameters = (scale(),)

    def apply(self, events, values, stream):
        """Scale the light."""
        return replace(events, expected=events.expected * events.per_row(values["scale"]))


class Nobody(Louder):
    """All light belongs to no particle."""

    name: ClassVar[str] = "test_nobody"
    changes: ClassVar[tuple[str, ...]] = ("owner",)

    def apply(self, events, values, stream):
        """Forget the particles."""
        return replace(events, owner=torch.full_like(events.owner, -1))


def test_effects_act_in_the_order_of_their_stages():
    names = ["test_weight", "test_couple", "light_yield", "test_token", "photostatistics"]
    kinds = {"test_weight": Weight, "test_couple": Louder, "test_token": Doubling}
    detector = ScintillatorDetector(effects=tuple((kinds.get(n) or effects().get(n))() for n in names))
    assert [effect.name for effect in detector.effects] == [
        "light_yield",
        "photostatistics",
        "test_couple",
        "test_token",
        "test_weight",
    ]
    assert [n.name for n in detector.nuisances] == [
        "light_yield_scale",
        "photostatistics_yield",
        "test_couple_scale",
        "test_token_scale",
        "test_weight_scale",
    ]


def test_each_stage_moves_what_it_is_for(neutrinos):
    plain = ScintillatorDetector().tokens(neutrinos)
    up = (("test_weight_scale", 1.0), ("test_token_scale", -1.0), ("test_couple_scale", 10.0))
    weight, token, couple = (
        ScintillatorDetector(effects=(kind(),)).tokens(neutrinos, Universe("up", (shift,)))
        for kind, shift in zip((Weight, Doubling, Louder), up, strict=True)
    )
    assert torch.equal(weight.events.weight, plain.events.weight * 1.1)
    assert torch.equal(weight.features, plain.features)
    torch.testing.assert_close(token.features, plain.features - 0.1)
    recoil = plain.global_columns.index("log_hadron_recoil")
    # Twice the light is twice the energy, where there is any; more strips pass the threshold.
    more = couple.globals[:, recoil].double().exp().sum() / plain.globals[:, recoil].double().exp().sum()
    assert 2.0 < float(more) < 2.1


def test_light_of_nobody_is_a_blob_and_its_energy_stays_in_the_recoil(neutrinos):
    tokens = ScintillatorDetector(effects=(Nobody(),)).tokens(neutrinos)
    assert set(tokens.particle.tolist()) <= {2, tokens.kinds.index("blob_aggregate")}
    assert not tokens.globals[:, tokens.global_columns.index("has_muon")].any()
    hits = ScintillatorDetector().record(neutrinos).hits
    recoil = tokens.globals[:, 2].double().exp()
    energy = torch.zeros(len(tokens), dtype=torch.float64).index_add_(0, hits.event, hits.energy)
    torch.testing.assert_close(recoil, energy + 1e-5, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: ScintillatorDetector(effects=(effects().get("gain")(),)), "effect gain acts at stage 'amplify'"),
        (lambda: ScintillatorDetector(effects=(Louder(), Louder())), "effect 'test_couple' is listed twice"),
        (lambda: TokenDetector((effects().get("light_yield")(),)), "this detector has the stages token, weigh"),
        (lambda: ScintillatorDetector(response=Response(birks=0.01), effects=DETECTOR.effects), "set both alike"),
        (lambda: TokenDetector.from_config({"effect": {}}), "Did you mean 'effects'"),
        (lambda: TokenDetector.from_config({"seed": 1.5}), "not a whole number"),
        (lambda: TokenDetector.from_config({"effects": {"light_yield": {}}}), "acts at stage 'respond'"),
    ],
)
def test_what_cannot_run_is_refused(made, words):
    with pytest.raises(ConfigError, match=words):
        made()


@pytest.mark.parametrize(("what", "name"), [("needs", "electrons"), ("changes", "charge")])
def test_an_effect_of_fields_that_its_stage_lacks_is_refused(what, name):
    kind = type("Lacking", (Louder,), {what: (name,)})
    with pytest.raises(ConfigError, match=f"test_couple {what} {name}, which stage couple does not have"):
        ScintillatorDetector(effects=(kind(),))


def test_an_effect_that_weighs_may_change_weights_only():
    kind = type("Greedy", (Weight,), {"changes": ("weight", "features")})
    with pytest.raises(ConfigError, match="stage weigh changes weight, features; allowed: weight"):
        TokenDetector((kind(),))


def test_causes_of_one_shift_are_not_counted_twice():
    pair = (effects().get("light_yield")(), effects().get("em_response")())
    with pytest.raises(ConfigError, match="light_yield_scale and em_response_scale are both uncertain"):
        ScintillatorDetector(effects=pair)
    allowed = ScintillatorDetector(effects=pair, allow_double_counting=("em_response_scale+light_yield_scale",))
    assert len(allowed.nuisances) == 2
    config = {"effects": {"light_yield": {}, "em_response": {"scale": {"sigma": 0.0}}}}
    assert [n.name for n in ScintillatorDetector.from_config(config).nuisances] == ["light_yield_scale"]


def test_universes_are_made_for_it_as_for_any_detector():
    names = [universe.name for universe in unisim(DETECTOR)]
    assert names[:4] == [
        "scintillator_birks_kb-1",
        "scintillator_birks_kb+1",
        "light_yield_scale-1",
        "light_yield_scale+1",
    ]
    assert len(names) == 2 * len(DETECTOR.nuisances)
    first, second = multisim(DETECTOR, 2, seed=1)
    assert [-value for _, value in first.nuisances] == [value for _, value in second.nuisances]
    with pytest.raises(UnknownNameError, match="Did you mean 'light_yield_scale'"):
        DETECTOR.values(Universe("up", (("light_yeild_scale", 1.0),)))


def test_the_nominal_tokens_are_those_without_effects(neutrinos):
    """Every default effect has its nominal value where the constants of the response are."""
    plain, found = ScintillatorDetector().tokens(neutrinos), DETECTOR.tokens(neutrinos)
    assert torch.equal(plain.features, found.features)
    assert torch.equal(plain.globals, found.globals)
    assert DETECTOR.response_in(NOMINAL) == DETECTOR.response


def test_priors_are_changed_by_the_configuration():
    config = {"effects": {"light_yield": {"scale": {"sigma": 0.05, "source": "own"}}, "scintillator_birks": None}}
    detector = ScintillatorDetector.from_config(config)
    assert detector.values(Universe("up", (("light_yield_scale", 1.0),)))["light_yield"]["scale"] == 1.05
    described = detector.to_dict()
    assert described["effects"]["light_yield"]["parameters"]["scale"]["source"] == "own"
    assert described["response"]["light_yield"] == 6.5
    both = ScintillatorDetector.from_config(
        {"response": {"birks": 0.008}, "effects": {"scintillator_birks": {"kb": 0.08}}}
    )
    assert both.values(NOMINAL)["scintillator_birks"]["kb"] == 0.08


def test_tokens_of_a_file_have_universes_too():
    """The shipped tokens, without the deposits that made them."""
    from shiftlab.events import read_tokens

    tokens = read_tokens(Path(samples).parent / "minerva_like_tokens.h5").take(range(40))
    detector = TokenDetector.from_config({"effects": {"em_response": {}}, "seed": 2})
    assert torch.equal(detector.record(tokens).features, tokens.features)
    (up,) = (universe for universe in unisim(detector) if universe.name == "em_response_scale+1")
    found = detector.record(tokens, up)
    photon = found.particle == tokens.kinds.index("photon")
    assert photon.any()
    assert not torch.equal(found.features[photon], tokens.features[photon])
    assert torch.equal(found.events.key, tokens.events.key)
    assert ScintillatorDetector().nuisances == ()
