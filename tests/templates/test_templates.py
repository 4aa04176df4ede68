"""Templates from responses: exposure, partition, paired errors, throws, findings."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyhf
import pytest
import xarray as xr

from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.responses import Responses
from shiftlab.templates import Templates, TemplateSettings, templates
from shiftlab.templates.binning import bin_number
from shiftlab.templates.findings import inspect_templates
from shiftlab.templates.partition import partition
from shiftlab.templates.workspace import sidecar

EXPOSURE = {"nue_cc": 200.0, "numu_cc": 1000.0, "photon_protons": 150.0}


def edited(responses: Responses, change: Callable[..., None]) -> Responses:
    """The same responses after ``change(dataset)`` on a copy of each dataset."""
    datasets = {}
    for task, data in responses.datasets.items():
        datasets[task] = data.copy(deep=True)
        change(datasets[task])
    return Responses(datasets, responses.attrs)


@pytest.fixture(scope="module")
def built(responses: Responses) -> Templates:
    return templates(responses, exposure=EXPOSURE)["scratch", 0]


def test_channels_predict_their_share_of_the_exposure_before_the_selection(responses: Responses) -> None:
    """With everything selected, each sample's channels add up to its exposure."""

    def select_all(data: object) -> None:
        data["selected"][:] = True  # type: ignore[index]

    shares = {"flavour": 3.0, "energy": 1.0}
    found = templates(edited(responses, select_all), exposure=EXPOSURE, settings=TemplateSettings(shares=shares))
    one = found["scratch", 0]
    np.testing.assert_allclose(one.nominal.sum(axis=1), [200.0, 1000.0, 150.0], rtol=1e-12)
    np.testing.assert_allclose(one.nominal[:, one.slice("flavour")].sum(axis=1), [150.0, 750.0, 112.5], rtol=1e-12)
    assert one.yields()["efficiency"].to_numpy() == pytest.approx(1.0)


def test_efficiency_is_in_the_template(built: Templates) -> None:
    """The fixture selects 80% of the events, and of those the large ones."""
    table = built.yields()
    assert table["efficiency"].between(0.65, 0.82).all()
    assert (table["selected"] <= table["exposure_events"]).all()


def test_no_injected_vertex_is_in_a_template_and_no_vertex_in_two_channels(responses: Responses) -> None:
    """Moving the observable of held-out, or of the other channel's, events leaves a channel's bins alone."""
    rule = partition(responses.tasks, None, 0.2, 0)
    base = templates(responses, exposure=EXPOSURE)["scratch", 0]
    edges = {name: base.edges[name] for name in base.channels}

    def scramble(part: Callable[[np.ndarray], np.ndarray]) -> Templates:
        def change(data: object) -> None:
            mask = part(data["vertex_uid"].values)  # type: ignore[index]
            data["observable"].values[..., mask] *= -3.0  # type: ignore[index]

        return templates(edited(responses, change), exposure=EXPOSURE, edges=edges)["scratch", 0]

    held = scramble(rule.held_out)
    np.testing.assert_array_equal(held.nominal, base.nominal)
    np.testing.assert_array_equal(held.up, base.up)
    assert not np.array_equal(held.observations["injected"].counts, base.observations["injected"].counts)
    other = scramble(lambda uid: rule.channel(uid) == 1)
    first = base.slice("flavour")
    np.testing.assert_array_equal(other.nominal[:, first], base.nominal[:, first])
    assert not np.array_equal(other.nominal[:, base.slice("energy")], base.nominal[:, base.slice("energy")])


def test_templates_are_deterministic_and_do_not_depend_on_event_order(responses: Responses, built: Templates) -> None:
    order = np.random.default_rng(0).permutation(responses.datasets["energy"].sizes["event"])
    shuffled = Responses({k: v.isel(event=order) for k, v in responses.datasets.items()}, responses.attrs)
    again = templates(shuffled, exposure=EXPOSURE)["scratch", 0]
    np.testing.assert_allclose(again.nominal, built.nominal, rtol=1e-12)
    np.testing.assert_allclose(again.up_variance, built.up_variance, rtol=1e-9, atol=1e-12)


def test_paired_variance_counts_only_migrating_events(responses: Responses, built: Templates) -> None:
    """By hand for one sample: sum of squared weights of the events whose bin changes."""
    data = responses.datasets["flavour"].sel(arm="scratch", seed=0)
    rule = partition(responses.tasks, None, 0.2, 0)
    uid = data["vertex_uid"].values
    mine = (rule.channel(uid) == 0) & ~rule.held_out(uid) & (data["sample"].values == "numu_cc")
    weight = data["weight"].values[mine] * 500.0 / data["weight"].values[mine].sum()

    def places(universe: str) -> np.ndarray:
        values = data["observable"].sel(universe=universe).values[mine].astype(float)
        chosen = data["selected"].sel(universe=universe).values[mine]
        return np.where(chosen[:, None], np.eye(3)[bin_number(values, built.edges["flavour"])], 0.0) * weight[:, None]

    nominal, up, down = places("nominal"), places("gain_scale+1"), places("gain_scale-1")
    k, s, part = built.nuisances.index("gain_scale"), built.samples.index("numu_cc"), built.slice("flavour")
    np.testing.assert_allclose(built.nominal[s, part], nominal.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(built.variance[s, part], (nominal**2).sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(built.up[k, s, part], up.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(built.up_variance[k, s, part], ((up - nominal) ** 2).sum(axis=0), rtol=1e-9)
    np.testing.assert_allclose(built.odd_variance[k, s, part], ((up - down) ** 2).sum(axis=0) / 4, rtol=1e-9)
    assert (built.up_variance[k, s, part] < 0.5 * built.variance[s, part]).all()


def test_events_of_one_vertex_fluctuate_together(responses: Responses) -> None:
    """Two throws of each vertex: the variance of the nominal is twice that of as many single events."""

    def twins(data: object) -> None:
        uid = data["vertex_uid"].values  # type: ignore[index]
        uid[1::2] = uid[: len(uid) - 1 : 2]

    single = templates(responses, exposure=EXPOSURE, settings=TemplateSettings(holdout=0.0))["scratch", 0]
    paired = templates(edited(responses, twins), exposure=EXPOSURE, settings=TemplateSettings(holdout=0.0))
    ratio = paired["scratch", 0].variance.sum() / single.variance.sum()
    assert 1.2 < ratio < 2.2


def test_throws_of_a_frozen_map_keep_their_mean_covariance(responses: Responses) -> None:
    """sum_t d_t d_t^T of the scaled shifts is the average over throws, for odd and even parts."""
    one = templates(responses, exposure=EXPOSURE)["scratch", 0]
    names = [f"gain_spread_{t}" for t in range(4)]
    assert [name for name in one.nuisances if name.startswith("gain_spread")] == names

    def keep(throw: int) -> Templates:
        universes = responses.datasets["energy"]["universe"].values.tolist()
        chosen = [u for u in universes if not u.startswith("gain_spread") or u.endswith(f"throw{throw}")]
        few = Responses({k: v.sel(universe=chosen) for k, v in responses.datasets.items()}, responses.attrs)
        return templates(few, exposure=EXPOSURE)["scratch", 0]

    def odd(t: Templates, name: str) -> np.ndarray:
        k = t.nuisances.index(name)
        return 0.5 * (t.up[k] - t.down[k]).sum(axis=0)

    def even(t: Templates, name: str) -> np.ndarray:
        k = t.nuisances.index(name)
        return (0.5 * (t.up[k] + t.down[k]) - t.nominal).sum(axis=0)

    full = [keep(t) for t in range(4)]
    for part in (odd, even):
        covariance = sum(np.outer(part(one, n), part(one, n)) for n in names)
        expected = sum(np.outer(part(t, "gain_spread"), part(t, "gain_spread")) for t in full) / 4
        np.testing.assert_allclose(covariance, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_few_events_give_no_negative_template(make: Callable[..., Responses], seed: int) -> None:
    """Empty nominal bins that fill in one universe stay non-negative in scaled throws."""
    few = make()
    rows = np.random.default_rng(seed).permutation(few.datasets["energy"].sizes["event"])[:250]
    small = Responses({k: v.isel(event=np.sort(rows)) for k, v in few.datasets.items()}, few.attrs)
    one = templates(small, settings=TemplateSettings(partition_seed=seed))["scratch", 0]
    assert (one.nominal == 0.0).any()
    assert min(one.up.min(), one.down.min()) >= 0.0


def test_fake_constraint_is_the_expected_information_of_a_null_nuisance(responses: Responses) -> None:
    """A shift of random signs has information E[dI] = sum Var / lambda on average (statistics of shared events)."""
    one = templates(responses, exposure=EXPOSURE)["scratch", 0]
    table = one.constraints().set_index("nuisance")
    k = one.nuisances.index("gain_spread_2")
    fake = float((one.odd_variance[k].sum(axis=0) / one.expected).sum())
    assert table.loc["gain_spread_2", "fake_information"] == pytest.approx(fake)
    assert table.loc["gain_spread_2", "fake_sigma"] == pytest.approx((1.0 + fake) ** -0.5)
    assert table.loc["noise_enc", "information"] == 0.0
    assert not table.loc["gain_scale", "mc_limited"]


def test_injected_universe_comes_with_its_true_nuisances(built: Templates) -> None:
    injected = built.observations["injected"]
    assert injected.universe == "joint_00"
    assert injected.nuisances == {"gain_scale": 0.7, "noise_enc": 0.0, "lifetime_tau": -1.2}
    assert (injected.shift_variance < injected.variance).all()
    assert injected.counts.sum() == pytest.approx(built.expected.sum(), rel=0.1)


def test_recalibrated_templates_take_the_recalibrated_universes(responses: Responses) -> None:
    one = templates(responses, exposure=EXPOSURE, recalibrate="mip")["scratch", 0]
    assert one.record["variations"]["gain_scale"]["up"] == "gain_scale+1_mip"
    assert "injected" not in one.observations
    assert {f.code for f in one.findings} >= {"not_injected"}


def test_a_nuisance_without_a_recalibrated_pair_keeps_its_plain_one(responses: Responses) -> None:
    def keep(data: xr.Dataset) -> xr.Dataset:
        dropped = [name for name in data["universe"].values if name.startswith("noise_enc") and name.endswith("_mip")]
        return data.drop_sel(universe=dropped)

    partly = Responses({task: keep(data) for task, data in responses.datasets.items()}, responses.attrs)
    found = templates(partly, recalibrate="mip")["scratch", 0]
    plain = templates(responses)["scratch", 0]
    assert found.nuisances == plain.nuisances
    k = found.nuisances.index("noise_enc")
    np.testing.assert_array_equal(found.up[k], plain.up[k])


def test_one_set_per_arm_and_seed(make: Callable[..., Responses]) -> None:
    many = make(arms=("foundation", "scratch"), seeds=(0, 1))
    assert list(templates(many)) == [("foundation", 0), ("foundation", 1), ("scratch", 0), ("scratch", 1)]
    assert list(templates(many, arm="scratch", seed=1)) == [("scratch", 1)]


def test_given_edges_and_merges_are_recorded(responses: Responses) -> None:
    edges = {"energy": [0.0, 1.0, 600.0, 900.0, 1500.0]}
    one = templates(responses, exposure=EXPOSURE, edges=edges)["scratch", 0]
    assert one.edges["energy"].tolist() == [0.0, 600.0, 900.0, 1500.0]
    record = one.record["channels"]["energy"]
    assert record["edges_rule"] == "given"
    assert [merge["removed_edge"] for merge in record["merges"]] == [1.0]
    assert "merged" in {f.code for f in one.findings}
    low = {"energy": [-9000.0, -8000.0, 600.0]}
    with pytest.raises(DataError, match="channel 'energy': bin 0 expects no events"):
        templates(responses, exposure=EXPOSURE, edges=low, settings=TemplateSettings(empty="error"))


def test_same_side_empty_and_negative_templates_are_found(built: Templates) -> None:
    k, s, part = built.nuisances.index("lifetime_tau"), 1, built.slice("energy")
    up, down = built.up.copy(), built.down.copy()
    quiet = {name: np.zeros_like(array) for name, array in built.covariance.items()}
    up[k, s, part], down[k, s, part] = built.nominal[s, part] * 1.3, built.nominal[s, part] * 1.2
    same = replace(built, up=up, down=down, covariance=quiet)
    assert ("same_side", "energy", "numu_cc", "lifetime_tau") in codes(same)
    up[k, s, part] = 0.0
    assert ("empty", "energy", "numu_cc", "lifetime_tau") in codes(replace(built, up=up))
    up[k, s, part] = -1.0
    negative = replace(built, up=up)
    found = inspect_templates(negative)
    assert found[0].severity == "error"
    assert (found[0].code, found[0].sample, found[0].nuisance) == ("negative", "numu_cc", "lifetime_tau")
    with pytest.raises(DataError, match="up is negative in channel 'energy', sample 'numu_cc', bin 0"):
        negative.workspace()
    down[k, :, part] = 0.5 * built.nominal[:, part]
    up[k, :, part] = 0.5 * built.nominal[:, part]
    up[k, :, part.start] *= 0.1
    far = replace(built, up=up, down=down)
    assert ("negative_extrapolation", "energy", "", "lifetime_tau") in codes(far)


def codes(templates: Templates) -> set[tuple[str, str, str, str]]:
    return {(f.code, f.channel, f.sample, f.nuisance) for f in inspect_templates(templates)}


def test_thin_and_dead_variations_are_found(built: Templates) -> None:
    found = {(f.code, f.nuisance) for f in built.findings}
    assert ("no_effect", "noise_enc") in found
    assert any(code == "mc_limited" and name.startswith("gain_spread") for code, name in found)


def test_table_of_templates_has_every_bin_sample_and_variation(built: Templates) -> None:
    table = built.frame()
    assert len(table) == len(built.expected) * (len(built.samples) + 1) * (len(built.nuisances) + 1)
    total = table.query("sample == 'total' and nuisance == 'gain_scale'")
    np.testing.assert_allclose(total["up"], built.up[0].sum(axis=0))
    np.testing.assert_allclose(total["odd_error"] ** 2, built.odd_variance[0].sum(axis=0))


def test_user_errors_name_what_is_wrong(responses: Responses) -> None:
    with pytest.raises(UnknownNameError, match="unknown arm 'scrach'"):
        templates(responses, arm="scrach")
    with pytest.raises(UnknownNameError, match="unknown sample"):
        templates(responses, exposure={"nue": 1.0})
    with pytest.raises(ConfigError, match=r"exposure\.nue_cc = -1"):
        templates(responses, exposure={"nue_cc": -1.0})
    with pytest.raises(ConfigError, match="no events of the signal sample 'nue_cc'"):
        templates(responses, exposure={"numu_cc": 10.0})
    with pytest.raises(UnknownNameError, match="unknown channel"):
        templates(responses, edges={"enrgy": [0.0, 1.0]})
    with pytest.raises(UnknownNameError, match="unknown recalibration"):
        templates(responses, recalibrate="mpi")
    with pytest.raises(UnknownNameError, match="unknown universe"):
        templates(responses, settings=TemplateSettings(inject="joint_99"))


def test_a_missing_side_names_the_nuisance(responses: Responses) -> None:
    universes = [u for u in responses.universes if u != "lifetime_tau-1"]
    few = Responses({k: v.sel(universe=universes) for k, v in responses.datasets.items()}, responses.attrs)
    with pytest.raises(DataError, match="nuisance 'lifetime_tau' has no universe at -1 sigma"):
        templates(few)


@pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")
def test_a_one_sided_parameter_is_mirrored_and_flagged(responses: Responses) -> None:
    """The template at -1 sigma is the mirror image, the sidecar and a finding say so, and pyhf takes the workspace."""
    universes = [u for u in responses.universes if u != "lifetime_tau-1"]
    sides = ("nuisance", [name == "lifetime_tau" for name in responses.nuisances])
    few = {k: v.sel(universe=universes).assign_coords(one_sided=sides) for k, v in responses.datasets.items()}
    built = templates(Responses(few, responses.attrs), exposure=EXPOSURE)["scratch", 0]
    both = templates(responses, exposure=EXPOSURE)["scratch", 0]
    k = built.nuisances.index("lifetime_tau")
    np.testing.assert_allclose(built.up[k], both.up[k])
    np.testing.assert_allclose(built.down[k], 2.0 * built.nominal - built.up[k])
    assert [f.nuisance for f in built.findings if f.code == "mirrored"] == ["lifetime_tau"]
    record = sidecar(built)["nuisances"]["lifetime_tau"]
    assert record["mirrored"]
    assert record["down"] is None
    pyhf.Workspace(built.workspace()).model()


def test_an_empty_selection_names_the_channel(responses: Responses) -> None:
    def drop(data: object) -> None:
        data["selected"][:] = False  # type: ignore[index]

    with pytest.raises(DataError, match="channel 'flavour': the selection is empty"):
        templates(edited(responses, drop))


def test_a_task_without_a_background_is_refused(responses: Responses) -> None:
    """A channel that lacks a sample would leave it out of the expectation."""
    datasets = dict(responses.datasets)
    energy = datasets["energy"]
    datasets["energy"] = energy.isel(event=np.flatnonzero(energy["sample"].values != "numu_cc"))
    with pytest.raises(DataError, match=r"channel 'energy': no event of sample 'numu_cc' in its part \(0 in all"):
        templates(Responses(datasets, responses.attrs))


def test_arrays_that_are_not_finite_name_the_place(built: Templates) -> None:
    up = built.up.copy()
    up[0, 1, 4] = np.nan
    with pytest.raises(DataError, match=r"'up' is not finite at nuisance gain_scale, sample numu_cc, bin energy\[1\]"):
        replace(built, up=up)
    with pytest.raises(DataError, match="'nominal' has shape"):
        replace(built, nominal=built.nominal[:, :2])


def test_settings_outside_their_range_are_refused() -> None:
    for bad in ({"bins": 0}, {"holdout": 1.0}, {"empty": "flor"}, {"minimum_effective": -1.0}):
        with pytest.raises(ConfigError, match=r"templates\."):
            TemplateSettings(**bad)  # type: ignore[arg-type]
