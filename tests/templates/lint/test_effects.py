"""What pyhf does with a workspace that the linter objects to: refused, NaN, or something else in silence."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyhf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.templates.lint import lint

Spec = dict[str, Any]
pytestmark = pytest.mark.filterwarnings("ignore", "ignore:jsonschema.RefResolver:DeprecationWarning")

NAN, INFINITY = float("nan"), float("inf")


def evaluated(spec: Spec, **moved: float) -> float:
    """log L that pyhf gives at its own starting point, with some parameters moved."""
    workspace = pyhf.Workspace(spec)
    model = workspace.model()
    start = model.config.suggested_init()
    model.config.suggested_bounds()
    for name, value in moved.items():
        start[model.config.par_map[name]["slice"].start] = value
    return float(np.asarray(model.logpdf(start, workspace.data(model))).item())


def fixed(spec: Spec) -> set[str]:
    """Parameters that pyhf freezes."""
    config = pyhf.Workspace(spec).model().config
    return {name for name, frozen in zip(config.par_names, config.suggested_fixed(), strict=True) if frozen}


def background(spec: Spec) -> Spec:
    return spec["channels"][0]["samples"][1]


def noise(spec: Spec) -> Spec:
    return next(one["data"] for one in background(spec)["modifiers"] if one["name"] == "noise")


def test_the_sound_workspace_has_a_likelihood_and_freezes_nothing(clean: Spec) -> None:
    assert math.isfinite(evaluated(clean))
    assert fixed(clean) == set()


def test_templates_below_zero_give_nan_where_the_linter_says(clean: Spec) -> None:
    noise(clean)["lo_data"][0] = 32.0
    assert {one.code for one in lint(clean) if "negative" in one.code} == {"negative_at_three"}
    assert math.isfinite(evaluated(clean, noise=-1.0))
    assert math.isnan(evaluated(clean, noise=-3.0))
    noise(clean)["lo_data"][0] = -9.0
    assert math.isnan(evaluated(clean, noise=-1.0))
    assert "negative_at_one" in {one.code for one in lint(clean)}


def test_a_negative_total_without_data_makes_the_likelihood_too_high(clean: Spec) -> None:
    """The Poisson probability of 0 at rate -30 is e^30: more than one."""
    before = evaluated(clean | {"observations": [{"name": "SR", "data": [0, 71, 58]}, clean["observations"][1]]})
    background(clean)["data"][0] = -38.0
    clean["observations"][0]["data"][0] = 0
    assert evaluated(clean) > before + 60.0
    assert "negative_total" in {one.code for one in lint(clean)}


def test_an_error_on_an_empty_bin_is_frozen(clean: Spec) -> None:
    for sample in clean["channels"][0]["samples"]:
        sample["data"][2] = 0.0
    assert fixed(clean) == {"mcstat_SR[2]", "cosmics[2]"}
    assert {"lost_error", "lost_shapesys"} <= {one.code for one in lint(clean)}


def test_of_two_modifiers_of_one_name_the_last_counts(clean: Spec) -> None:
    background(clean)["modifiers"].append({"name": "noise", "type": "histosys", "data": copy.deepcopy(noise(clean))})
    once = evaluated(clean, noise=1.0)
    background(clean)["modifiers"][2]["data"]["hi_data"][0] = 1e4
    assert evaluated(clean, noise=1.0) == once
    assert "duplicate_modifier" in {one.code for one in lint(clean)}


def test_a_luminosity_without_a_width_has_one_of_its_own_in_silence(clean: Spec) -> None:
    parameters = clean["measurements"][0]["config"]["parameters"]
    parameters[1]["sigmas"] = [1.0]
    wide = evaluated(clean)
    del parameters[1]["sigmas"]
    assert evaluated(clean) == wide
    assert [one.code for one in lint(clean)] == ["lumi_unset"]


def test_a_same_side_template_depends_on_the_interpolation_that_the_file_does_not_hold(clean: Spec) -> None:
    noise(clean).update(lo_data=noise(clean)["hi_data"])
    workspace = pyhf.Workspace(clean)
    rates = []
    for code in ("code0", "code4p"):
        model = workspace.model(
            modifier_settings={"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": code}}
        )
        values = model.config.suggested_init()
        values[model.config.par_map["noise"]["slice"].start] = 0.5
        rates.append(model.expected_actualdata(values)[2:])
    assert np.abs(rates[0] / rates[1] - 1.0).max() > 0.001
    assert "identical_sides" in {one.code for one in lint(clean)}


@st.composite
def workspaces(draw: st.DrawFn) -> Spec:
    """Random models with positive yields, moderate effects and whole data."""

    def numbers(least: float, most: float, bins: int) -> list[float]:
        return draw(st.lists(st.floats(least, most), min_size=bins, max_size=bins))

    channels, observations = [], []
    for c in range(draw(st.integers(1, 3))):
        bins, samples = draw(st.integers(1, 4)), []
        for s in range(draw(st.integers(1, 3))):
            nominal = numbers(0.5, 1e3, bins)
            modifiers: list[Spec] = [{"name": "mu", "type": "normfactor", "data": None}] if s == 0 else []
            for k in range(draw(st.integers(0, 3))):
                hi, lo = draw(st.floats(0.8, 1.2)), draw(st.floats(0.8, 1.2))
                modifiers.append({"name": f"k{k}", "type": "normsys", "data": {"hi": hi, "lo": lo}})
                sides = {
                    side: [n * f for n, f in zip(nominal, numbers(0.6, 1.4, bins), strict=True)]
                    for side in ("hi_data", "lo_data")
                }
                modifiers.append({"name": f"k{k}", "type": "histosys", "data": sides})
            errors = [n * f for n, f in zip(nominal, numbers(0.01, 0.3, bins), strict=True)]
            per_bin = {"name": f"s{c}", "type": "staterror", "data": errors}
            if draw(st.booleans()):
                per_bin = {"name": f"p{c}{s}", "type": "shapesys", "data": errors}
            samples.append({"name": f"s{s}", "data": nominal, "modifiers": [*modifiers, per_bin]})
        channels.append({"name": f"c{c}", "samples": samples})
        data = draw(st.lists(st.integers(0, 2000), min_size=bins, max_size=bins))
        observations.append({"name": f"c{c}", "data": data})
    measurements = [{"name": "m", "config": {"poi": "mu", "parameters": []}}]
    return {"version": "1.0.0", "channels": channels, "observations": observations, "measurements": measurements}


@settings(max_examples=25)
@given(workspaces())
def test_a_random_sound_model_has_no_error_and_a_likelihood(spec: Spec) -> None:
    assert [one for one in lint(spec) if one.severity == "error"] == []
    assert math.isfinite(evaluated(spec))


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to every key and entry of a JSON value."""
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [found for key, one in inner for found in ((*path, key), *_leaves(one, (*path, key)))]


BAD: list[Any] = [NAN, INFINITY, -INFINITY, -1.0, 0.0, 1e6, None, True, "x", [], [1.0], {}, {"x": 1}]
CHANGES: list[Any] = ["remove", "double", *range(len(BAD))]


def _change(spec: Spec, path: tuple[Any, ...], change: Any) -> None:
    """Remove, double or replace one entry of a workspace."""
    owner: Any = spec
    for key in path[:-1]:
        owner = owner[key]
    if change == "remove":
        del owner[path[-1]]
    elif change != "double":
        owner[path[-1]] = copy.deepcopy(BAD[change])
    elif isinstance(owner, list):
        owner.append(copy.deepcopy(owner[path[-1]]))
    else:
        owner[f"{path[-1]}_2"] = copy.deepcopy(owner[path[-1]])


def _missed(spec: Spec) -> bool:
    """Whether pyhf refuses or cannot evaluate a workspace that the linter finds no error in."""
    if any(one.severity == "error" for one in lint(spec)):
        return False
    try:
        return not math.isfinite(evaluated(spec))
    except Exception:  # noqa: BLE001 (pyhf has errors of a dozen types)
        return True


@settings(max_examples=150)
@given(data=st.data())
def test_what_pyhf_refuses_or_cannot_evaluate_is_an_error(data: st.DataObject, make_clean: Callable[[], Spec]) -> None:
    """One entry of the sound workspace, anywhere, is removed, doubled, or replaced by something bad."""
    spec = make_clean()
    _change(spec, data.draw(st.sampled_from(_leaves(spec))), data.draw(st.sampled_from(CHANGES)))
    assert not _missed(spec)


@pytest.mark.slow
def test_no_change_of_any_entry_is_missed(make_clean: Callable[[], Spec]) -> None:
    missed = []
    for path in _leaves(make_clean()):
        for change in CHANGES:
            spec = make_clean()
            _change(spec, path, change)
            if _missed(spec):
                missed.append((path, change))
    assert missed == []


WORDS = (
    "channels observations measurements version name data samples modifiers type hi lo config poi parameters".split()
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["a", "normsys", "staterror", "1.0.0"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=25,
)


@given(JSON)
def test_any_json_is_judged_not_stumbled_over(value: Any) -> None:
    assert any(one.severity == "error" for one in lint(value))
