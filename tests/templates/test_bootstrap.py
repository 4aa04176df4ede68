"""Event bootstrap of templates: against plain loops, against closed-form paired covariances, and its bad input."""

from collections.abc import Callable

import numpy as np
import pytest

from shiftlab.bias.bootstrap import poisson_weights
from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.responses import Responses
from shiftlab.templates import Templates, TemplateSettings, templates
from shiftlab.templates.binning import bin_number
from shiftlab.templates.bootstrap import Replicas, bootstrap
from shiftlab.templates.covariance import variation_covariance
from shiftlab.templates.partition import partition
from shiftlab.templates.replicate import migrations

EXPOSURE = {"nue_cc": 200.0, "numu_cc": 1000.0, "photon_protons": 150.0}


@pytest.fixture(scope="module")
def built(responses: Responses) -> Templates:
    return templates(responses, exposure=EXPOSURE)["scratch", 0]


@pytest.fixture(scope="module")
def many(responses: Responses, built: Templates) -> Replicas:
    return bootstrap(responses, built, replicas=1500, seed=4, renormalise=False)


def test_a_replica_is_what_its_weighted_events_give(responses: Responses, built: Templates) -> None:
    """By a plain histogram of one sample in one channel; the weights are those of the bias's bootstrap."""
    found = bootstrap(responses, built, replicas=range(3, 6), seed=11)
    data = responses.datasets["energy"].sel(arm="scratch", seed=0)
    rule, uid = partition(responses.tasks, None, 0.2, 0), data["vertex_uid"].values
    position = responses.tasks.index("energy")
    mine = (rule.channel(uid) == position) & ~rule.held_out(uid) & (data["sample"].values == "numu_cc")
    drawn = poisson_weights(uid[mine], range(3, 6), 11)[1]
    weight = drawn * data["weight"].values[mine]
    weight *= EXPOSURE["numu_cc"] / 2 / weight.sum()
    s, part = built.samples.index("numu_cc"), built.slice("energy")
    k = found.templates.nuisances.index("gain_scale")
    edges = built.edges["energy"]
    for name, array in (
        ("nominal", found.nominal),
        ("gain_scale+1", found.up[:, k]),
        ("gain_scale-1", found.down[:, k]),
    ):
        one = data.sel(universe=name)
        use = one["selected"].values[mine]
        number = bin_number(one["observable"].values[mine][use].astype(float), edges)
        wanted = np.bincount(number, weights=weight[use], minlength=len(edges) - 1)
        np.testing.assert_allclose(array[1, s, part], wanted, rtol=1e-5)
    one = data.sel(universe="nominal")
    use = one["selected"].values[mine]
    number = bin_number(one["observable"].values[mine][use].astype(float), edges)
    copies, each = drawn[use], weight[use] / np.maximum(drawn[use], 1.0)
    np.testing.assert_allclose(found.variance[1, s, part], np.bincount(number, weights=copies * each**2), rtol=1e-6)
    np.testing.assert_allclose(found.events[1, s, part], np.bincount(number, weights=copies))


def test_replicas_do_not_depend_on_how_they_are_asked_for(responses: Responses, built: Templates) -> None:
    """In parts, and with the events in another order, replica 70 stays replica 70."""
    whole = bootstrap(responses, built, replicas=80, seed=2)
    part = bootstrap(responses, built, replicas=range(70, 75), seed=2)
    np.testing.assert_allclose(part.up, whole.up[70:75], rtol=1e-5)
    order = np.random.default_rng(0).permutation(responses.datasets["energy"].sizes["event"])
    shuffled = Responses({k: v.isel(event=order) for k, v in responses.datasets.items()}, responses.attrs)
    again = bootstrap(shuffled, built, replicas=range(70, 75), seed=2)
    np.testing.assert_allclose(again.nominal, part.nominal, rtol=1e-9)
    assert not np.allclose(bootstrap(responses, built, replicas=range(70, 75), seed=3).nominal, part.nominal)


def test_closed_form_covariances_are_those_of_the_bootstrap(many: Replicas) -> None:
    """Odd, even, upper and lower parts, and the nominal: variances within the bootstrap's own error, all bins.

    The variance of R replicas of a sum of Poisson weights, sum_v W_v d_v, has the relative variance
    2 / (R - 1) + sum d^4 / (R (sum d^2)^2); with at least a few migrating events the second term is below 1/R.
    """
    built = many.templates
    error = np.sqrt(2.5 / len(many))
    for up, down, closed in (
        (0.5, -0.5, built.odd_variance),
        (1.0, 0.0, built.up_variance),
        (0.0, 1.0, built.down_variance),
        (0.5, 0.5, None),
    ):
        found = np.diagonal(many.covariance(up, down), axis1=1, axis2=2)
        wanted = np.diagonal(variation_covariance(built, up, down), axis1=1, axis2=2)
        if closed is not None:
            np.testing.assert_allclose(wanted, closed.sum(axis=1), rtol=1e-12)
        moved = wanted > 0.0
        pulls = (found[moved] / wanted[moved] - 1.0) / error
        assert np.abs(pulls).max() < 5.0
        assert abs(pulls.mean()) < 0.8
        assert np.abs(found[~moved]).max(initial=0.0) < 1e-6
    ratio = many.nominal.sum(axis=1).var(axis=0, ddof=1) / built.variance.sum(axis=0)
    assert np.abs(ratio - 1.0).max() < 5.0 * error
    np.testing.assert_allclose(many.nominal.mean(axis=0), built.nominal, atol=5 * np.sqrt(built.variance.max() / 1500))


def test_covariance_between_bins_is_that_of_the_bootstrap(many: Replicas) -> None:
    """Migration from one bin to the next anticorrelates them; channels of different events are uncorrelated."""
    found, wanted = many.covariance(), variation_covariance(many.templates)
    size = np.sqrt(np.einsum("kb,kc->kbc", *(np.diagonal(wanted, axis1=1, axis2=2),) * 2))
    use = size > 0.0
    assert (wanted[use] / size[use]).min() < -0.2
    # The error of a correlation of R replicas is at most 1 / sqrt(R).
    assert np.abs((found - wanted)[use] / size[use]).max() < 5.0 * np.sqrt(2.5 / len(many))
    flavour, energy = many.templates.slice("flavour"), many.templates.slice("energy")
    assert (wanted[:, flavour, energy] == 0.0).all()


def test_what_the_exposure_fixes_does_not_fluctuate(responses: Responses, built: Templates, many: Replicas) -> None:
    """A new simulation is normalised to the same exposure: the nominal spreads less than sums of squared weights say.

    For equal weights a bin with the share p of a sample's events has the variance of a binomial, (1 - p) of Poisson's.
    """
    scaled = bootstrap(responses, built, replicas=1500, seed=4)
    yields = built.yields().set_index(["channel", "sample"])
    for s, sample in enumerate(built.samples):
        for channel in built.channels:
            part = built.slice(channel)
            p = built.nominal[s, part] / yields.loc[(channel, sample), "exposure_events"]
            use = built.events[s, part] > 30
            ratio = scaled.nominal[:, s, part].var(axis=0, ddof=1)[use] / built.variance[s, part][use]
            np.testing.assert_allclose(ratio, 1.0 - p[use], atol=0.2)
    assert scaled.nominal.sum(axis=(1, 2)).std() < 0.7 * many.nominal.sum(axis=(1, 2)).std()


def test_replicas_are_processed_as_the_original(make: Callable[..., Responses]) -> None:
    """Floored bins, and channels of the same events: the original is found again, and each replica processed anew."""
    responses = make()
    for settings in (TemplateSettings(empty="floor", bins=4), TemplateSettings(overlap="propagation", holdout=0.0)):
        one = templates(responses, exposure=EXPOSURE, settings=settings)["scratch", 0]
        found = bootstrap(responses, one, replicas=3)
        for replica in found:
            assert replica.processing == one.processing
            assert replica.edges.keys() == one.edges.keys()
            assert (replica.nominal >= 0.0).all()
            assert (replica.up >= 0.0).all()
            assert not np.allclose(replica.nominal, one.nominal)


def test_channels_of_the_same_events_fluctuate_together(responses: Responses) -> None:
    """Where every event is in every channel, the replicas show the covariance that the closed form leaves out."""
    settings = TemplateSettings(overlap="propagation", holdout=0.0)
    one = templates(responses, exposure=EXPOSURE, settings=settings)["scratch", 0]
    found = bootstrap(responses, one, replicas=300, renormalise=False)
    flavour, energy = (found.nominal[:, :, one.slice(c)].sum(axis=(1, 2)) for c in ("flavour", "energy"))
    assert np.corrcoef(flavour, energy)[0, 1] > 0.9


def test_a_universe_without_events_leaves_no_rounding_behind() -> None:
    """All events leave a cell: its sum is exactly zero, not what single precision leaves of it."""
    cells = np.array([[0, 0, 1, 1], [1, 1, 1, -1], [-1, -1, -1, -1]], dtype=np.int32)
    weight, vertex = np.array([0.1, 0.7, 0.3, 1e-3]), np.array([0, 1, 2, 2], dtype=np.int32)
    found = migrations(lambda u, some: cells[u, some], 2, weight, vertex, (2, 3))
    drawn = np.array([[1.0, 3.0], [1.0, 0.0], [1.0, 2.0]], dtype=np.float32)
    sums = found.replicas(drawn)
    np.testing.assert_allclose(sums[0], [[0.8, 0.3], [0.301, 0.602]], rtol=1e-12)
    np.testing.assert_allclose(sums[1], [[0.0, 0.0], [1.1, 0.9]], rtol=1e-6)
    assert (sums[1, 0] == 0.0).all()
    assert (sums[2] == 0.0).all()
    np.testing.assert_allclose(found.variance(drawn), [[0.5, 0.03], [0.301**2, 2 * 0.301**2]], rtol=1e-12)


def test_bad_requests_are_refused(responses: Responses, built: Templates, make: Callable[..., Responses]) -> None:
    with pytest.raises(ConfigError, match="replicas = 0"):
        bootstrap(responses, built, replicas=0)
    with pytest.raises(DataError, match="is not that of the responses"):
        bootstrap(make(scale=1.3), built, replicas=2)
    with pytest.raises(UnknownNameError, match="classic"):
        bootstrap(make(arms=("classic",)), built, replicas=2)
