"""Every rule is silent on a sound workspace, and names the place of its fault in one that is broken there."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from shiftlab.errors import DataError, UnknownNameError
from shiftlab.templates.lint import RULES, lint

Spec = dict[str, Any]
Break = Callable[[Spec], Any]
NAN = float("nan")


def sample(spec: Spec, channel: int, number: int) -> Spec:
    return spec["channels"][channel]["samples"][number]


def modifier(spec: Spec, channel: int, number: int, name: str, kind: str) -> Spec:
    found = (one for one in sample(spec, channel, number)["modifiers"] if (one["name"], one["type"]) == (name, kind))
    return next(found)


def add(spec: Spec, channel: int, number: int, name: str, kind: str, data: Any = None) -> None:
    sample(spec, channel, number)["modifiers"].append({"name": name, "type": kind, "data": data})


def settings(spec: Spec) -> list[Spec]:
    return spec["measurements"][0]["config"]["parameters"]


def noise(spec: Spec) -> Spec:
    """The histosys of the nuisance noise on the background of SR: nominal 60, 50, 40."""
    return modifier(spec, 0, 1, "noise", "histosys")["data"]


def gain(spec: Spec) -> Spec:
    return modifier(spec, 0, 0, "gain", "normsys")["data"]


SR, CR = ("SR", "", "", ()), ("CR", "", "", ())


def _dead_nuisance(spec: Spec) -> None:
    for channel, number in ((0, 1), (1, 0)):
        nominal = sample(spec, channel, number)["data"]
        modifier(spec, channel, number, "noise", "histosys")["data"].update(hi_data=[*nominal], lo_data=[*nominal])


def _small_signal(spec: Spec) -> None:
    other = copy.deepcopy(sample(spec, 0, 0)) | {"name": "signal_2", "data": [0.01, 0.01, 0.01]}
    other["modifiers"] = [one for one in other["modifiers"] if one["type"] == "normfactor"]
    spec["channels"][0]["samples"].append(other)


def _no_background(spec: Spec) -> None:
    for number in (1, 2):
        sample(spec, 0, number)["data"][0] = 0.0
    noise(spec)["hi_data"][0] = noise(spec)["lo_data"][0] = 0.0


def _no_signal(spec: Spec) -> None:
    sample(spec, 0, 0)["data"] = [0.0, 0.0, 0.0]
    modifier(spec, 0, 0, "gain", "histosys")["data"].update(hi_data=[0.0] * 3, lo_data=[0.0] * 3)


def _empty_bin(spec: Spec, observed: int) -> None:
    """The last bin of SR expects nothing from any sample."""
    for number in range(3):
        sample(spec, 0, number)["data"][2] = 0.0
        for one in sample(spec, 0, number)["modifiers"]:
            if one["type"] == "histosys":
                one["data"]["hi_data"][2] = one["data"]["lo_data"][2] = 0.0
    spec["observations"][0]["data"][2] = observed


def _negative_total(spec: Spec) -> None:
    sample(spec, 0, 1)["data"][0] = -60.0


def _rename_staterror(spec: Spec, channel: int, number: int, name: str) -> None:
    for one in sample(spec, channel, number)["modifiers"]:
        if one["type"] == "staterror":
            one["name"] = name


def _shared_staterror(spec: Spec) -> None:
    """Two samples that are in both channels."""
    spec["channels"][1]["samples"][1]["name"] = "signal"
    for channel, number in ((0, 0), (0, 1), (1, 0)):
        _rename_staterror(spec, channel, number, "mcstat")
    add(spec, 1, 1, "mcstat", "staterror", [1.0, 1.0])


def _set(spec: Spec, **setting: Any) -> None:
    settings(spec).append(setting)


def _without(spec: Spec, *keys: str) -> None:
    for key in keys:
        del settings(spec)[1][key]


CASES: list[tuple[str, Break, tuple[str, str, str, tuple[int, ...]]]] = [
    ("malformed", lambda s: s.update(metadata={}), ("", "", "", ())),
    ("malformed", lambda s: s.update(version="2.0.0"), ("", "", "", ())),
    ("malformed", lambda s: sample(s, 1, 0).pop("modifiers"), ("CR", "background", "", ())),
    ("malformed", lambda s: add(s, 1, 0, "x", "fudge"), ("CR", "background", "x", ())),
    ("malformed", lambda s: noise(s).update(hi_data="60"), ("SR", "background", "noise", ())),
    ("malformed", lambda s: gain(s).update(hi=True), ("SR", "signal", "gain", ())),
    ("malformed", lambda s: s["observations"][1].update(data=None), CR),
    ("wrong_length", lambda s: sample(s, 0, 2)["data"].pop(), ("SR", "cosmics", "", ())),
    ("wrong_length", lambda s: noise(s)["lo_data"].pop(), ("SR", "background", "noise", ())),
    ("wrong_length", lambda s: s["observations"][1]["data"].append(3), CR),
    ("duplicate_name", lambda s: s["channels"].append(copy.deepcopy(s["channels"][1])), CR),
    ("duplicate_name", lambda s: s["observations"].append(copy.deepcopy(s["observations"][0])), SR),
    ("duplicate_name", lambda s: s["measurements"].append(copy.deepcopy(s["measurements"][0])), ("", "", "", ())),
    (
        "duplicate_name",
        lambda s: s["channels"][0]["samples"].append(copy.deepcopy(sample(s, 0, 1))),
        ("SR", "background", "", ()),
    ),
    (
        "duplicate_modifier",
        lambda s: add(s, 0, 0, "gain", "normsys", {"hi": 1.03, "lo": 0.97}),
        ("SR", "signal", "gain", ()),
    ),
    ("name_reuse", lambda s: add(s, 0, 2, "gain", "normfactor"), ("", "", "gain", ())),
    ("name_reuse", lambda s: add(s, 0, 2, "noise", "staterror", [1.0, 1.0, 1.0]), ("", "", "noise", ())),
    ("name_reuse", lambda s: add(s, 0, 1, "cosmics", "shapesys", [1.0, 1.0, 1.0]), ("", "", "cosmics", ())),
    ("name_reuse", lambda s: add(s, 0, 1, "data_driven", "shapefactor"), ("", "", "data_driven", ())),
    ("not_finite", lambda s: noise(s)["hi_data"].__setitem__(1, NAN), ("SR", "background", "noise", (1,))),
    ("not_finite", lambda s: noise(s)["lo_data"].__setitem__(2, float("inf")), ("SR", "background", "noise", (2,))),
    ("not_finite", lambda s: sample(s, 1, 1)["data"].__setitem__(0, NAN), ("CR", "other", "", (0,))),
    ("not_finite", lambda s: gain(s).update(lo=NAN), ("SR", "signal", "gain", ())),
    ("not_finite", lambda s: s["observations"][0]["data"].__setitem__(2, NAN), ("SR", "", "", (2,))),
    (
        "not_finite",
        lambda s: modifier(s, 0, 2, "cosmics", "shapesys")["data"].__setitem__(1, NAN),
        ("SR", "cosmics", "cosmics", (1,)),
    ),
    ("factor_not_positive", lambda s: gain(s).update(lo=0.0), ("SR", "signal", "gain", ())),
    ("factor_not_positive", lambda s: gain(s).update(hi=-0.1), ("SR", "signal", "gain", ())),
    ("negative_nominal", lambda s: sample(s, 0, 2)["data"].__setitem__(1, -0.5), ("SR", "cosmics", "", (1,))),
    ("negative_total", _negative_total, ("SR", "", "", (0,))),
    ("negative_template", lambda s: noise(s)["lo_data"].__setitem__(2, -1.0), ("SR", "background", "noise", (2,))),
    ("negative_at_one", lambda s: noise(s)["lo_data"].__setitem__(0, -9.0), ("SR", "", "noise", (0,))),
    # 60 + 3 (32 - 60) = -24, and 8 events of other samples
    ("negative_at_three", lambda s: noise(s)["lo_data"].__setitem__(0, 32.0), ("SR", "", "noise", (0,))),
    ("empty_sample", _no_signal, ("SR", "signal", "", ())),
    ("impossible_data", lambda s: _empty_bin(s, 3), ("SR", "", "", (2,))),
    ("empty_bin", lambda s: _empty_bin(s, 0), ("SR", "", "", (2,))),
    ("no_background", _no_background, ("SR", "", "", (0,))),
    ("small_signal", _small_signal, ("SR", "signal_2", "", ())),
    (
        "negative_error",
        lambda s: modifier(s, 1, 0, "mcstat_CR", "staterror")["data"].__setitem__(1, -5.0),
        ("CR", "background", "mcstat_CR", (1,)),
    ),
    ("lost_error", lambda s: _empty_bin(s, 0), ("SR", "", "mcstat_SR", (2,))),
    ("lost_shapesys", lambda s: _empty_bin(s, 0), ("SR", "cosmics", "cosmics", (2,))),
    (
        "no_error",
        lambda s: modifier(s, 1, 0, "mcstat_CR", "staterror")["data"].__setitem__(1, 0.0),
        ("CR", "", "mcstat_CR", (1,)),
    ),
    (
        "no_error",
        lambda s: modifier(s, 0, 2, "cosmics", "shapesys")["data"].__setitem__(0, 0),
        ("SR", "cosmics", "cosmics", (0,)),
    ),
    (
        "few_events",
        lambda s: modifier(s, 1, 0, "mcstat_CR", "staterror")["data"].__setitem__(1, 70.0),
        ("CR", "", "mcstat_CR", (1,)),
    ),
    ("staterror_reuse", _shared_staterror, ("", "", "mcstat", ())),
    ("staterror_uneven", lambda s: _rename_staterror(s, 1, 0, "mcstat_SR"), ("", "", "mcstat_SR", ())),
    ("missing_observation", lambda s: s["observations"].pop(), CR),
    ("unknown_observation", lambda s: s["observations"].append({"name": "VR", "data": [3]}), ("VR", "", "", ())),
    ("negative_observation", lambda s: s["observations"][0]["data"].__setitem__(1, -2), ("SR", "", "", (1,))),
    ("fractional_observation", lambda s: s["observations"][0]["data"].__setitem__(1, 70.5), ("SR", "", "", (1,))),
    ("no_measurement", lambda s: s.update(measurements=[]), ("", "", "", ())),
    ("unknown_poi", lambda s: s["measurements"][0]["config"].update(poi="mv"), ("", "", "mv", ())),
    ("unknown_poi", lambda s: s["measurements"][0]["config"].update(poi="mcstat_SR"), ("", "", "mcstat_SR", ())),
    ("no_poi", lambda s: s["measurements"][0]["config"].update(poi=""), ("", "", "", ())),
    ("constrained_poi", lambda s: s["measurements"][0]["config"].update(poi="gain"), ("", "", "gain", ())),
    ("flat_poi", _no_signal, ("", "", "mu", ())),
    ("unknown_parameter", lambda s: _set(s, name="gian", fixed=True), ("", "", "gian", ())),
    ("duplicate_parameter", lambda s: _set(s, name="mu", fixed=False), ("", "", "mu", ())),
    ("wrong_setting", lambda s: _set(s, name="gain", inits=[0.0, 0.0]), ("", "", "gain", ())),
    ("wrong_setting", lambda s: _set(s, name="gain", sigmas=[1.0]), ("", "", "gain", ())),
    ("wrong_setting", lambda s: settings(s)[0].update(auxdata=[1.0]), ("", "", "mu", ())),
    ("bad_bounds", lambda s: settings(s)[0].update(bounds=[[10.0, 0.0]]), ("", "", "mu", ())),
    ("bad_bounds", lambda s: settings(s)[0].update(bounds=[[10.0]]), ("", "", "mu", ())),
    ("bad_init", lambda s: settings(s)[0].update(inits=[11.0]), ("", "", "mu", ())),
    ("bad_init", lambda s: settings(s)[0].update(inits=[NAN]), ("", "", "mu", ())),
    ("bad_width", lambda s: settings(s)[1].update(sigmas=[0.0]), ("", "", "lumi", ())),
    ("bad_width", lambda s: _set(s, name="gain", auxdata=[NAN]), ("", "", "gain", ())),
    ("shifted_prior", lambda s: _set(s, name="gain", auxdata=[0.5]), ("", "", "gain", ())),
    ("narrow_bounds", lambda s: _set(s, name="gain", bounds=[[-2.0, 5.0]]), ("", "", "gain", ())),
    ("fixed_parameter", lambda s: _set(s, name="gain", fixed=True), ("", "", "gain", ())),
    ("lumi_unset", lambda s: settings(s).pop(), ("", "", "lumi", ())),
    ("lumi_unset", lambda s: _without(s, "sigmas"), ("", "", "lumi", ())),
    ("dead_nuisance", _dead_nuisance, ("", "", "noise", ())),
    (
        "dead_modifier",
        lambda s: noise(s).update(hi_data=[60.0, 50.0, 40.0], lo_data=[60.0, 50.0, 40.0]),
        ("SR", "background", "noise", ()),
    ),
    ("identical_sides", lambda s: noise(s).update(lo_data=noise(s)["hi_data"]), ("SR", "background", "noise", ())),
    ("same_side", lambda s: noise(s).update(lo_data=[61.0, 50.0, 40.0]), ("SR", "background", "noise", ())),
    ("same_side_bins", lambda s: noise(s)["lo_data"].__setitem__(0, 59.0), ("SR", "background", "noise", (0,))),
    ("empty_side", lambda s: noise(s).update(lo_data=[0.0, 0.0, 0.0]), ("SR", "background", "noise", ())),
    ("large_yield", lambda s: gain(s).update(hi=1.2, lo=0.9), ("SR", "signal", "gain", ())),
    (
        "no_shape",
        lambda s: noise(s).update(hi_data=[61.2, 51.0, 40.8], lo_data=[58.8, 49.0, 39.2]),
        ("SR", "background", "noise", ()),
    ),
]


def test_nothing_is_found_in_the_sound_workspace(clean: Spec) -> None:
    assert lint(clean) == ()


@pytest.mark.parametrize(("rule", "breaks", "place"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)])
def test_a_fault_is_found_where_it_is(
    rule: str, breaks: Break, place: tuple[str, str, str, tuple[int, ...]], clean: Spec
) -> None:
    breaks(clean)
    before = copy.deepcopy(clean)
    found = [one for one in lint(clean) if one.code == rule]
    assert [(one.channel, one.sample, one.nuisance, one.bins) for one in found] == [place]
    assert repr(clean) == repr(before)  # only read; NaN is not itself
    severity = {one.name: one.severity for one in RULES}[rule]
    assert {one.severity for one in found} == {severity}


def test_every_rule_has_a_case_or_one_of_its_own() -> None:
    assert {case[0] for case in CASES} | {"fake_constraint"} == {rule.name for rule in RULES}
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_errors_come_first_and_rules_can_be_left_out(clean: Spec) -> None:
    gain(clean).update(hi=1.2, lo=0.0)
    severities = [one.severity for one in lint(clean)]
    assert severities == sorted(severities)
    assert {one.code for one in lint(clean, ignore=("factor_not_positive",))} == {"large_yield"}
    with pytest.raises(UnknownNameError, match="Did you mean 'same_side'"):
        lint(clean, ignore=("same_sde",))


def test_an_even_part_may_move_both_sides_the_same_way_when_the_sidecar_says_so(clean: Spec) -> None:
    noise(clean).update(lo_data=noise(clean)["hi_data"])
    gain(clean).update(hi=1.02, lo=1.01)
    assert {one.code for one in lint(clean)} == {"identical_sides", "same_side"}
    meta = {"nuisances": {"noise": {"part": "even"}, "gain": {"part": "even"}}}
    assert lint(clean, meta) == ()
    assert {one.nuisance for one in lint(clean, {"nuisances": {"noise": {"part": "even"}, "gain": {}}})} == {"gain"}


def test_the_sidecar_gives_the_constraint_that_noise_fakes(clean: Spec) -> None:
    limits = {
        "gain": {"information": 0.1, "fake_information": 0.3, "fake_sigma": 0.877},
        "noise": {"information": 2.0, "fake_information": 0.3, "fake_sigma": 0.877},
    }
    (found,) = lint(clean, {"monte_carlo_limits": limits})
    assert (found.code, found.nuisance) == ("fake_constraint", "gain")
    assert "0.88 of its prior" in found.message
    with pytest.raises(DataError, match="the sidecar has not the form"):
        lint(clean, {"monte_carlo_limits": {"gain": {"information": 0.1}}})


@pytest.mark.parametrize("signal", [0.0, 1.0])
def test_asimov_data_need_not_be_whole(signal: float, clean: Spec) -> None:
    """Data that are the prediction, with or without signal, are no counts, and are not taken for such."""
    samples = [one["data"] for one in clean["channels"][0]["samples"]]
    data = [signal * s + b + c + 0.0 for s, b, c in zip(*samples, strict=True)]
    sample(clean, 0, 1)["data"][0] += 0.25
    noise(clean)["hi_data"][0] += 0.25
    noise(clean)["lo_data"][0] += 0.25
    data[0] += 0.25
    clean["observations"][0]["data"] = data
    assert lint(clean) == ()
    data[0] += 0.5
    assert [one.code for one in lint(clean)] == ["fractional_observation"]
    assert lint(clean, asimov=True) == ()
    other = {"injected": {"counts": [*data, 325.0, 221.0]}}
    assert lint(clean, {"observations": other}) == ()
    other["injected"]["counts"][0] += 0.1
    assert [one.code for one in lint(clean, {"observations": other})] == ["fractional_observation"]
