"""The whole processing: what the defaults leave alone, what each setting does, and that record and workspace say so."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shiftlab.errors import ConfigError, UnknownNameError
from shiftlab.fit import fit
from shiftlab.responses import Responses
from shiftlab.templates import Templates, TemplateSettings, templates
from shiftlab.templates.lint import lint
from shiftlab.templates.processing import Correlation, ProcessingSettings

EXPOSURE = {"nue_cc": 200.0, "numu_cc": 1000.0, "photon_protons": 150.0}


def make(responses: Responses, processing: ProcessingSettings | None = None, **settings: object) -> Templates:
    chosen = TemplateSettings(processing=processing or ProcessingSettings(), **settings)  # type: ignore[arg-type]
    return templates(responses, exposure=EXPOSURE, settings=chosen)["scratch", 0]


@pytest.fixture(scope="module")
def built(responses: Responses) -> Templates:
    return make(responses)


@pytest.fixture(scope="module")
def bent(responses: Responses) -> Responses:
    """Both universes of the lifetime move the energy up by 5%; the one at -1 sigma a little less."""
    datasets = {task: data.copy(deep=True) for task, data in responses.datasets.items()}
    energy = datasets["energy"]["observable"]
    nominal = energy.sel(universe="nominal").values
    names = energy["universe"].values.tolist()
    energy.values[:, :, names.index("lifetime_tau+1")] = 1.08 * nominal
    energy.values[:, :, names.index("lifetime_tau-1")] = 1.05 * nominal
    return Responses(datasets, responses.attrs)


def entries(t: Templates, step: str, nuisance: str = "") -> list[dict[str, object]]:
    return [e.as_dict() for e in t.steps if e.step == step and (not nuisance or e.nuisance == nuisance)]


def test_defaults_leave_variations_as_simulated_and_record_the_tests(responses: Responses, built: Templates) -> None:
    raw = make(responses, ProcessingSettings(same_side="keep"))
    assert built.nuisances == raw.nuisances
    np.testing.assert_array_equal(built.up, raw.up)
    np.testing.assert_array_equal(built.down, raw.down)
    tests = entries(built, "significance")
    assert len(tests) == len(built.nuisances) * 2 * 3
    assert {e["done"] for e in tests if e["nuisance"] == "noise_enc"} == {"nothing moved"}
    found = {(e["channel"], e["sample"]): e["done"] for e in tests if e["nuisance"] == "gain_scale"}
    assert found["energy", "numu_cc"] == "significant"


def test_a_same_side_variation_becomes_an_odd_and_an_even_nuisance(bent: Responses) -> None:
    """At +1 of both the prediction is the simulated up, at (-1, +1) the simulated down; the rest stays."""
    raw, made = make(bent, ProcessingSettings(same_side="keep")), make(bent)
    assert [name for name in made.nuisances if name not in raw.nuisances] == ["lifetime_tau_even"]
    where = [(e["channel"], e["sample"]) for e in entries(made, "symmetrise") if e["done"] == "odd_even"]
    assert set(where) <= {("energy", sample) for sample in EXPOSURE}
    assert ("energy", "numu_cc") in where
    odd, even = made.nuisances.index("lifetime_tau"), made.nuisances.index("lifetime_tau_even")
    k = raw.nuisances.index("lifetime_tau")
    np.testing.assert_allclose(made.up[odd] + made.up[even] - made.nominal, raw.up[k], rtol=1e-12)
    np.testing.assert_allclose(made.down[odd] + made.up[even] - made.nominal, raw.down[k], rtol=1e-12)
    assert made.observations["injected"].nuisances["lifetime_tau_even"] == pytest.approx(1.2)
    assert made.observations["injected"].nuisances["lifetime_tau"] == pytest.approx(-1.2)
    assert {"odd_even"} == {f.code for f in made.findings if f.nuisance == "lifetime_tau" and f.severity == "note"}
    table = made.constraints().set_index("nuisance")
    assert table.loc["lifetime_tau_even", "information"] > 10.0 * table.loc["lifetime_tau_even", "fake_information"]


def test_sidecar_declares_the_even_part_and_the_linter_is_content(bent: Responses) -> None:
    kept, made = make(bent, ProcessingSettings(same_side="keep")), make(bent)

    def complaints(t: Templates) -> set[str]:
        found = lint(t.workspace(), t.meta())
        return {
            f.code
            for f in found
            if f.nuisance.startswith("lifetime_tau") and f.channel == "energy" and f.sample == "numu_cc"
        }

    assert complaints(kept) & {"same_side", "same_side_bins"}
    assert not complaints(made) & {"same_side", "same_side_bins", "identical_sides"}
    said = made.meta()["nuisances"]
    assert (said["lifetime_tau"]["part"], said["lifetime_tau_even"]["part"]) == ("odd", "even")
    assert said["lifetime_tau_even"]["even_part_of"] == "lifetime_tau"
    rows = made.meta()["processing"]["variations"]
    row = next(r for r in rows if (r["nuisance"], r["channel"], r["sample"]) == ("lifetime_tau", "energy", "numu_cc"))
    assert row["symmetrised"]
    assert not row["pruned"]


def test_a_quadratic_response_widens_the_even_nuisance(bent: Responses) -> None:
    made = make(bent, ProcessingSettings(even_response="quadratic"))
    plain = make(bent)
    k = made.nuisances.index("lifetime_tau_even")
    np.testing.assert_allclose(made.up[k] - made.nominal, np.sqrt(3.0) * (plain.up[k] - plain.nominal), rtol=1e-9)
    assert made.observations["injected"].nuisances["lifetime_tau_even"] == pytest.approx(1.44 / np.sqrt(3.0))


def test_two_sides_can_be_made_symmetric(responses: Responses, built: Templates) -> None:
    made = make(responses, ProcessingSettings(two_sided="symmetrise"))
    wanted = np.maximum(made.nominal + 0.5 * (built.up - built.down), 0.0)
    np.testing.assert_allclose(made.up, wanted, atol=1e-9)
    cut = sum(float(e["cut"]) for e in entries(made, "symmetrise") if e["done"] == "two_sided")  # type: ignore[arg-type]
    assert cut == pytest.approx((made.up + made.down - 2.0 * made.nominal).sum())
    np.testing.assert_allclose(made.odd_variance, built.odd_variance, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("how", "code"), [("mirror", "mirrored"), ("half_gaussian", "half_gaussian")])
def test_a_one_sided_parameter_is_flagged_either_way(responses: Responses, how: str, code: str) -> None:
    universes = [u for u in responses.universes if u != "lifetime_tau-1"]
    sides = ("nuisance", [name == "lifetime_tau" for name in responses.nuisances])
    few = {k: v.sel(universe=universes).assign_coords(one_sided=sides) for k, v in responses.datasets.items()}
    made = make(Responses(few, responses.attrs), ProcessingSettings(one_sided=how))  # type: ignore[arg-type]
    k = made.nuisances.index("lifetime_tau")
    wanted = made.up[k] if how == "half_gaussian" else np.maximum(2.0 * made.nominal - made.up[k], 0.0)
    np.testing.assert_allclose(made.down[k], wanted)
    assert [f.nuisance for f in made.findings if f.code == code] == ["lifetime_tau"]
    assert [e["done"] for e in entries(made, "symmetrise", "lifetime_tau")] == [how]
    assert not [f for f in lint(made.workspace(), made.meta()) if f.code == "identical_sides"]
    assert made.meta()["nuisances"]["lifetime_tau"]["mirrored"] == (how == "mirror")


def test_pruning_drops_modifiers_records_each_and_leaves_sigma(responses: Responses, built: Templates) -> None:
    made = make(responses, ProcessingSettings(prune="information", prune_each=0.01, prune_total=0.05))
    dropped = [e for e in entries(made, "prune") if e["done"] == "dropped"]
    assert len(dropped) > 3
    cumulated = [float(e["cumulated"]) for e in dropped]  # type: ignore[arg-type]
    assert cumulated == sorted(cumulated)
    assert cumulated[-1] <= 0.05

    def present(t: Templates) -> set[tuple[str, str, str]]:
        spec = t.workspace()
        return {
            (m["name"], c["name"], s["name"]) for c in spec["channels"] for s in c["samples"] for m in s["modifiers"]
        }

    gone = {(e["nuisance"], e["channel"], e["sample"]) for e in dropped}
    assert present(built) - present(made) == gone
    assert {
        (r["nuisance"], r["channel"], r["sample"]) for r in made.meta()["processing"]["variations"] if r["pruned"]
    } == gone
    before, after = (fit(t, refits=0).fits["asimov"].error for t in (built, made))
    assert after == pytest.approx(before, rel=0.05)
    assert "pruned" in {f.code for f in made.findings}


@pytest.mark.parametrize("how", ["penalised", "353qh"])
def test_smoothing_says_where_and_what_it_changed(responses: Responses, how: str) -> None:
    """Only significant variations of three bins or more are touched; the mirror of each shift stays its mirror."""
    made = make(responses, ProcessingSettings(smooth=how, two_sided="symmetrise"), bins=5)  # type: ignore[arg-type]
    raw = make(responses, ProcessingSettings(two_sided="symmetrise"), bins=5)
    done = entries(made, "smooth")
    touched = {(e["nuisance"], e["channel"], e["sample"]) for e in done if "not smoothed" not in str(e["done"])}
    assert {name for name, _, _ in touched} >= {"gain_scale"}
    assert all({"chi2", "ndf", "information_raw", "information_smooth"} <= set(e) for e in done if len(e) > 5)
    for k, name in enumerate(made.nuisances):
        for channel in made.channels:
            for s, sample in enumerate(made.samples):
                part = made.slice(channel)
                same = np.array_equal(made.up[k, s, part], raw.up[k, s, part])
                assert same or (name, channel, sample) in touched
    k = made.nuisances.index("gain_scale")
    assert not np.array_equal(made.up[k], raw.up[k])
    rows = made.meta()["processing"]["variations"]
    assert {(r["nuisance"], r["channel"], r["sample"]) for r in rows if r["smoothed"]} == touched


def test_empty_bins_are_raised_to_the_floor(responses: Responses) -> None:
    rows = np.sort(np.random.default_rng(1).permutation(responses.datasets["energy"].sizes["event"])[:250])
    small = Responses({k: v.isel(event=rows) for k, v in responses.datasets.items()}, responses.attrs)
    made = make(small, bins=5, empty="floor")
    assert (make(small, bins=5, empty="error").nominal == 0.0).any()
    assert min(made.nominal.min(), made.up.min(), made.down.min()) == 1e-6
    raised = entries(made, "bins")
    assert sum(len(e["bins"]) for e in raised) == (made.nominal == 1e-6).sum()  # type: ignore[arg-type, misc]
    np.testing.assert_array_equal(made.observations["asimov"].counts, made.expected)


def test_partial_correlation_lies_between_shared_and_independent(responses: Responses, built: Templates) -> None:
    """Per channel is what ``decorrelated`` gives; sigma of mu goes over from one to the other with rho."""

    def sigma(how: Correlation) -> float:
        made = make(responses, ProcessingSettings(correlate={"gain_scale": how}))
        return float(fit(made, refits=0).fits["asimov"].error)

    apart = make(responses, ProcessingSettings(correlate={"gain_scale": Correlation("per_channel")}))
    whole = built.decorrelated()
    for channel in built.channels:
        name = f"gain_scale__{channel}"
        np.testing.assert_allclose(apart.up[apart.nuisances.index(name)], whole.up[whole.nuisances.index(name)])
    ends = sigma(Correlation("shared")), sigma(Correlation("per_channel"))
    assert sigma(Correlation("partial", rho=0.0)) == pytest.approx(ends[1], rel=1e-3)
    assert sigma(Correlation("partial", rho=1.0)) == pytest.approx(ends[0], rel=1e-3)
    assert min(ends) < sigma(Correlation("partial", rho=0.5)) < max(ends)
    half = make(responses, ProcessingSettings(correlate={"gain_scale": Correlation("partial", rho=0.5)}))
    assert half.meta()["nuisances"]["gain_scale__z0"]["loadings"] == pytest.approx(
        {"flavour": 0.75**0.5, "energy": 0.75**0.5}
    )


@pytest.mark.parametrize("scope", ["channel", "sample", "all"])
def test_the_workspace_predicts_the_templates_in_every_scope(
    responses: Responses, built: Templates, scope: str, pyhf_model: Callable[[Templates], Any]
) -> None:
    made = make(responses, ProcessingSettings(norm_scope=scope, norm_minimum=0.0))  # type: ignore[arg-type]
    model = pyhf_model(made)
    for name in ("gain_scale", "lifetime_tau"):
        values = model.initial.copy()
        values[model.names.index(name)] = 1.0
        wanted = built.up[built.nuisances.index(name)].sum(axis=0)
        np.testing.assert_allclose(model.expected(values), wanted, rtol=1e-10)


def test_a_frozen_map_goes_by_one_name_for_all_its_throws(responses: Responses) -> None:
    made = make(responses, ProcessingSettings(correlate={"gain_spread": Correlation("per_sample")}))
    assert [name for name in made.nuisances if name.startswith("gain_spread_2")] == [
        f"gain_spread_2__{sample}" for sample in made.samples
    ]


def test_a_shape_only_variation_keeps_the_yield(responses: Responses, built: Templates) -> None:
    made = make(responses, ProcessingSettings(shape_only=("gain_scale",), norm_scope="sample"))
    k = made.nuisances.index("gain_scale")
    np.testing.assert_allclose(made.up[k].sum(axis=1), made.nominal.sum(axis=1), rtol=1e-12)
    assert not np.allclose(built.up[k].sum(axis=1), built.nominal.sum(axis=1), rtol=1e-6)
    assert len(entries(made, "shape_only")) == 6


def test_universes_beyond_one_sigma_are_compared(responses: Responses) -> None:
    """The fixture has gain_scale at +2: its observable moves linearly and the templates close; bent, they do not."""
    found = entries(make(responses), "closure")
    assert {(e["nuisance"], e["strength"]) for e in found} == {("gain_scale", 2.0)}
    assert len(found) == 6
    datasets = {task: data.copy(deep=True) for task, data in responses.datasets.items()}
    energy = datasets["energy"]["observable"]
    names = energy["universe"].values.tolist()
    energy.values[:, :, names.index("gain_scale+2")] = energy.values[:, :, names.index("nominal")]
    made = make(Responses(datasets, responses.attrs))
    assert ("no_closure", "energy") in {(f.code, f.channel) for f in made.findings}


def test_channels_can_hold_the_same_events_to_see_them_move(responses: Responses) -> None:
    """Every channel then predicts the whole exposure, and nothing is claimed of mu."""
    made, halves = make(responses, overlap="propagation"), make(responses)
    given = made.yields().set_index(["channel", "sample"])["exposure_events"]
    assert {given[channel, "numu_cc"] for channel in made.channels} == {1000.0}
    assert made.events.sum() == pytest.approx(2.0 * halves.events.sum(), rel=0.1)
    assert made.meta()["overlap"] == "propagation"
    assert "no error of mu" in made.meta()["event_overlap"]
    assert "overlap" in {f.code for f in made.findings}
    assert halves.meta()["overlap"] == "partition"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"overlap": "joint"}, r"templates\.overlap = 'joint', one histogram .* is not offered"),
        ({"overlap": "covariance"}, r"templates\.overlap = 'covariance', a Gaussian fit .* is not offered"),
        ({"overlap": "propagation", "shares": {"energy": 1.0}}, r"templates\.shares: with overlap 'propagation'"),
    ],
)
def test_overlaps_that_are_not_offered_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TemplateSettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [
        {"two_sided": "average"},
        {"same_side": "mirror"},
        {"one_sided": "keep"},
        {"smooth": "yes"},
        {"norm_scope": "bin"},
        {"prune": "size"},
        {"prune_each": -1.0},
        {"even_response": "cubic"},
    ],
)
def test_settings_that_are_not_allowed_name_their_key(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=rf"templates\.processing\.{next(iter(bad))} = "):
        ProcessingSettings(**bad)  # type: ignore[arg-type]


def test_nuisances_that_do_not_exist_are_refused(built: Templates, responses: Responses) -> None:
    with pytest.raises(UnknownNameError, match=r"templates\.processing\.shape_only"):
        make(responses, ProcessingSettings(shape_only=("gain_scal",)))
    with pytest.raises(UnknownNameError, match=r"templates\.processing\.correlate"):
        make(responses, ProcessingSettings(correlate={"gain_scal": Correlation("per_channel")}))
    assert replace(built, steps=()).meta()["processing"]["steps"] == []
