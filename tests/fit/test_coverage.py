"""Coverage with redrawn templates: what gammas cover, what they do not, and how a failed redraw is counted."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from shiftlab.fit.coverage import coverage_rows, template_coverage, without_gammas
from shiftlab.fit.likelihood.toys import toys
from shiftlab.fit.measurement import likelihood
from shiftlab.templates import Templates

Build = Callable[..., Templates]
NOMINAL = {"x": [[20.0, 60.0, 120.0, 60.0], [300.0, 200.0, 100.0, 60.0]]}


@pytest.fixture(scope="module")
def nature(build: Build) -> Templates:
    """As many simulated events as data."""
    made = build(NOMINAL, {"tilt": (np.array([0.05, 0.0, -0.02, -0.05]), np.array([-0.05, 0.0, 0.02, 0.05]))})
    return replace(made, variance=made.nominal, events=made.nominal)


def redrawn(nature: Templates, number: int, seed: int) -> list[Templates]:
    """Simulations of Poisson numbers of events, the variations with their nominal's fluctuation."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(number):
        drawn = rng.poisson(nature.nominal).astype(float)
        ratio = drawn / nature.nominal
        found.append(
            replace(nature, nominal=drawn, variance=drawn, events=drawn, up=nature.up * ratio, down=nature.down * ratio)
        )
    return found


def test_gammas_cover_the_fluctuation_of_the_nominal_and_fits_without_do_not(nature: Templates) -> None:
    """As many simulated as data events: without gammas 68.3% intervals cover erf(1 / 2) = 52%, with them 68.3%."""
    table = template_coverage(nature, redrawn(nature, 150, 5), 3, number=500)
    assert list(table.columns[:4]) == ["toys", "interval", "level", "coverage"]
    assert len(table) == 4 * 2 * 2
    found = table[table["interval"] == "error"].set_index(["toys", "level"])
    assert (found["failed"] == 0).all()
    for kind in ("parameters", "nominal redrawn", "templates redrawn"):
        for level in (0.6827, 0.95):
            row = found.loc[(kind, level)]
            assert abs(row["coverage"] - level) < 3.5 * row["error"] + 0.01
    bare = found.loc[("templates redrawn, no gammas", 0.6827)]
    assert abs(bare["coverage"] - 0.52) < 3.5 * bare["error"]
    assert bare["spread"] > 1.25 * bare["claimed"]
    # Variations that keep their ratio to the nominal: to redraw them adds nothing.
    assert found.loc[("nominal redrawn", 0.6827), "coverage"] == pytest.approx(
        found.loc[("templates redrawn", 0.6827), "coverage"], abs=1e-9
    )


def test_a_redraw_that_leaves_a_bin_empty_is_counted_as_failed(nature: Templates) -> None:
    empty = nature.nominal.copy()
    empty[:, 2] = 0.0
    bad = replace(nature, nominal=empty, up=empty[None], down=empty[None])
    table = template_coverage(nature, [nature, bad, nature], 3, number=20)
    counts = table.groupby("toys")["failed"].unique()
    assert counts["templates redrawn"].tolist() == [1]
    assert counts["parameters"].tolist() == [0]


def test_without_gammas_the_errors_of_the_simulation_are_fixed(nature: Templates) -> None:
    model = likelihood(nature)
    found = toys(without_gammas(model), 5, 1)
    gammas = model.parameters.of_kind("staterror")
    assert len(gammas) == 4
    np.testing.assert_array_equal(found.parameters[:, gammas], 1.0)
    rows = coverage_rows("some", found)
    assert rows["counted"].tolist() == [5, 5, 0, 0]
    assert rows["claimed"].iloc[0] < np.median(toys(model, 5, 1).error)
