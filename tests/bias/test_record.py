"""The bias record on disk: the published columns, the same bytes for the same numbers, plain summary values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shiftlab.bias import Bias, Mean, bias
from shiftlab.bias.excess import EXCESS_COLUMNS
from shiftlab.bias.matched import MATCHED_COLUMNS
from shiftlab.bias.standing import LEADERBOARD_COLUMNS
from shiftlab.errors import RunError

COLUMNS = {
    "bias.csv": "arm,seed,task,statistic,unit,nuisance,direction,throw,universe,group,recalibrate,nominal,"
    "nominal_error,bias,bias_error,unpaired_error,sigma_data,bias_over_sigma_data,significance,mc_limited,strength,q_value,mirrored,not_quoted,"
    "z,p_value,holm,rho_pair,pair_gain,error_from,resolution,bias_over_resolution,parameter_shift,parameter_error",
    "correlation.csv": "arm,seed,task_a,task_b,rho,lo,hi,recalibrate,flag",
    "csv/performance.csv": "arm,seed,task,statistic,unit,value,lo,hi,reference,reference_value,n_events,lo95,hi95",
    "csv/exposure.csv": "task,sample,evaluated,effective,data,declared",
    "csv/unisims.csv": "arm,seed,recalibrate,nuisance,task,odd,odd_error,even,even_error,contribution,throws,"
    "mirrored,one_sided",
    "csv/reliability.csv": "arm,seed,recalibrate,task,systematic,systematic_raw,systematic_upper,reliability,reliable",
    "csv/seed_range.csv": "arm,recalibrate,task_a,task_b,rho_min,rho_max,seeds",
    "csv/excess.csv": ",".join(EXCESS_COLUMNS),
    "csv/closure.csv": "arm,seed,measure,value,lo,hi,expected_lo,expected_hi,universes,recalibrate",
    "csv/joint_significance.csv": "arm,seed,universe,group,recalibrate,t_squared,tasks,p_value,q_value,holm",
    "csv/joint_correlation.csv": "arm,recalibrate,task_a,task_b,rho,lo,hi,note",
    "csv/structure.csv": "arm,recalibrate,source,measure,value,lo,hi,tasks,seeds,note",
    "csv/modes.csv": "arm,seed,recalibrate,mode,name,fraction,task,loading,lo,hi",
    "csv/maps.csv": "arm,seed,recalibrate,nuisance,task,mean_response,between_maps,lo,hi,throws",
    "csv/response_curves.csv": "arm,seed,recalibrate,task,statistic,unit,nuisance,throw,strength,bias,bias_error,"
    "common_unit,bias_over_unit,error_over_unit,one_sided,quoted",
    "csv/response_fits.csv": "arm,seed,recalibrate,task,nuisance,throw,points,odd,odd_error,even,even_error,cubic,"
    "quartic,residual",
    "csv/robustness.csv": "arm,recalibrate,task,within,score,value,lo,hi,lo95,hi95,raw,common_unit,unit,nuisances,"
    "seeds,resolved,flag",
    "csv/robustness_replicas.csv": "arm,seed,recalibrate,task,score,common_unit,sample,"
    + ",".join(f"replica_{number}" for number in range(1, 41)),
    "csv/leaderboard.csv": ",".join(LEADERBOARD_COLUMNS),
    "csv/matched.csv": ",".join(MATCHED_COLUMNS),
    "csv/matched_excess.csv": ",".join(EXCESS_COLUMNS),
    "csv/variance_components.csv": "arm,task,component,variance,lo,hi,lo95,hi95,share,freedom,flag,note",
    "csv/correlation_shares.csv": "arm,task_a,task_b,seeds,rho,rho_lo,rho_hi,rho_lo95,rho_hi95,shift_driven,"
    "shift_driven_lo,shift_driven_hi,shift_driven_lo95,shift_driven_hi95,seed_driven,seed_driven_lo,seed_driven_hi,"
    "seed_driven_lo95,seed_driven_hi95,flag",
    "csv/basis.csv": "what,name,value",
    "csv/covariance.csv": "arm,seed,recalibrate,task_a,task_b,debiased,raw,between_maps",
}


@pytest.fixture(scope="module")
def result(toys: Any) -> Bias:
    rows = [toys.nominal, *toys.unisims(["a", "b"], {"b": 2}), *toys.joints(["a", "b"], 2, 0)]
    model = toys.linear(rows, np.array([[1.0, 0.5, 0.0], [0.2, -0.4, 0.0]]), np.zeros((2, 3)), 200)
    return bias(model.responses(0), tasks={f"t{i}": Mean() for i in range(3)}, replicas=40, exposure={"numu_cc": 50.0})


def test_files_have_the_published_columns(result: Bias, tmp_path: Path) -> None:
    result.save(tmp_path)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.csv")}
    assert written == set(COLUMNS)
    for name, columns in COLUMNS.items():
        assert (tmp_path / name).read_text().splitlines()[0] == columns


def test_equal_records_give_equal_bytes(result: Bias, tmp_path: Path) -> None:
    result.save(tmp_path / "a")
    result.save(tmp_path / "b")
    for name in COLUMNS:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert b"-0," not in (tmp_path / "a" / "bias.csv").read_bytes()


def test_numbers_survive_to_nine_digits(result: Bias, tmp_path: Path) -> None:
    result.save(tmp_path)
    table = pd.read_csv(tmp_path / "bias.csv", keep_default_na=False, na_values=[""])
    np.testing.assert_allclose(table["bias"], result.table["bias"], rtol=1e-8)
    np.testing.assert_allclose(table["sigma_data"], result.table["sigma_data"], rtol=1e-8)


def test_a_task_that_does_not_move_is_flagged_and_has_no_correlation(result: Bias) -> None:
    still = result.correlation["task_b"] == "t2"
    assert (result.correlation.loc[still, "flag"] == "unreliable").all()
    assert result.correlation.loc[still, ["rho", "lo", "hi"]].isna().all(axis=None)
    assert (result.correlation.loc[~still, "flag"] == "").all()


def test_exposure_table_says_what_the_unit_of_bias_is(result: Bias) -> None:
    row = result.exposure.iloc[0]
    assert (row["evaluated"], row["effective"], row["data"], row["declared"]) == (200, 200.0, 50.0, True)


def test_summary_is_plain_json_with_the_largest_bias_first(result: Bias) -> None:
    summary = json.loads(json.dumps(result.summary(), allow_nan=False))
    largest = summary["arms"]["foundation"]["largest_bias"][0]
    size = result.table.loc[result.table["group"] == "unisim", "bias_over_sigma_data"].abs()
    assert abs(largest["bias_over_sigma_data"]) == pytest.approx(size.max())
    assert largest["nuisance"] == "a"
    assert {row["measure"] for row in summary["arms"]["foundation"]["closure"]} == set(result.closure["measure"])


def test_a_folder_that_cannot_be_written_is_an_error(result: Bias, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        result.save(tmp_path / "file")
