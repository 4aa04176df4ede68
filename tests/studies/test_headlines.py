"""The headline of every study quotes the largest bias that may be quoted, and no other."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from shiftlab.run import studies

FITS = {("foundation", 0): SimpleNamespace(summary={"sigma": 0.2, "sigma_systematic": 0.1})}


def bias(**second):
    """Two universes of one result: a small bias, and a larger one with whatever is said of it."""
    row = {"arm": "foundation", "seed": 0, "task": "energy", "statistic": "mean(reco/true - 1)", "group": "unisim"}
    row |= {"recalibrate": "none", "bias_error": 0.001, "mc_limited": False, "not_quoted": ""}
    small = row | {"universe": "gain_scale+1", "bias": 0.02, "bias_over_sigma_data": 3.0}
    large = row | {"universe": "noise_enc+1", "bias": -0.5, "bias_over_sigma_data": -9.0} | second
    columns = ["arm", "seed", "recalibrate", "excess"]
    return SimpleNamespace(table=pd.DataFrame([small, large]), excess=pd.DataFrame([], columns=columns))


@pytest.fixture(params=["demo", "minerva", "wires"])
def study(request):
    return studies().get(request.param)()


def said(study, table):
    return "\n".join(study.headline(table, FITS))


def test_the_largest_bias_in_units_of_the_datas_error_is_quoted(study):
    lines = said(study, bias())
    assert "noise_enc+1" in lines
    assert "-0.5 ± 0.001, 9.00 data statistical errors" in lines
    assert "sigma(mu) = 0.200, of which detector systematics 0.100" in lines


@pytest.mark.parametrize(
    "mark",
    [
        {"mc_limited": True},
        {"not_quoted": "too few vertices"},
        {"not_quoted": "no variance", "bias_over_sigma_data": np.nan},
        {"recalibrate": "mip"},
        {"group": "multisim"},
    ],
    ids=str,
)
def test_a_bias_that_is_not_to_be_quoted_is_no_headline(study, mark):
    lines = said(study, bias(**mark))
    assert "noise_enc+1" not in lines
    assert "gain_scale+1" in lines
    assert "nan" not in lines
