"""``shiftlab templates``: the workspaces of a finished run again, the same without words and others with."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from shiftlab import cli
from shiftlab.responses import Responses
from shiftlab.templates import TemplateSettings, templates

EXPOSURE = {"nue_cc": 200.0, "numu_cc": 1000.0, "photon_protons": 150.0}

pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")


@pytest.fixture(scope="module")
def finished(make: Callable[..., Responses], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of synthetic responses: what a run leaves of itself."""
    folder = tmp_path_factory.mktemp("run")
    make().save(folder / "responses.h5")
    study = {
        "name": "synthetic",
        "seed": 4,
        "exposure": EXPOSURE,
        "templates": {"bins": 3, "holdout": 0.2, "partition_seed": 0},
        "universes": {"mip": ["gain_scale"], "exact": []},
    }
    (folder / "identity.json").write_text(json.dumps({"digest": "0", "identity": {"study": study}}))
    (folder / "done").write_text("{}")
    return folder


def run(*words: str | Path) -> int:
    return cli.main(["templates", *map(str, words)])


def test_without_words_the_workspaces_are_those_of_the_run(
    finished: Path, responses: Responses, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file.name: file.read_bytes() for file in finished.iterdir()}
    assert run(finished, "--out", tmp_path / "again", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["templates"]
    assert [(row["arm"], row["recalibrate"], row["lint_errors"]) for row in rows] == [
        ("scratch", "none", 0),
        ("scratch", "mip", 0),
    ]
    settings = TemplateSettings(bins=3, holdout=0.2, partition_seed=4)
    for row in rows:
        wanted = templates(responses, recalibrate=row["recalibrate"], exposure=EXPOSURE, settings=settings)
        spec = json.loads(Path(row["workspace"]).read_text())
        assert spec == wanted["scratch", 0].workspace()
        assert Path(row["workspace"]).with_name("templates.png").read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(tmp_path / "again" / "templates.csv")
    assert set(table["recalibrate"]) == {"none", "mip"}
    assert {file.name: file.read_bytes() for file in finished.iterdir()} == before


def test_words_change_bins_exposure_and_processing(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("templates.bins=2", "exposure.nue_cc=400", "templates.processing.norm_minimum=1")
    assert run(finished, *words, "--out", tmp_path) == 0
    assert "  4  " in capsys.readouterr().out  # two bins in each of two channels
    spec = json.loads((tmp_path / "scratch-0" / "workspace.json").read_text())
    assert [len(channel["samples"][0]["data"]) for channel in spec["channels"]] == [2, 2]
    kinds = {m["type"] for c in spec["channels"] for s in c["samples"] for m in s["modifiers"]}
    assert kinds == {"normfactor", "histosys", "staterror"}
    yields = pd.read_csv(tmp_path / "yields.csv")
    signal = yields[(yields["sample"] == "nue_cc") & (yields["recalibrate"] == "none")]
    assert signal["exposure_events"].sum() == pytest.approx(400.0)
    # The fit finds the sidecar: its bands are in the table that a fit writes.
    assert cli.main(["fit", str(tmp_path / "scratch-0"), "--out", str(tmp_path / "fit")]) == 0
    made, fitted = pd.read_csv(tmp_path / "templates.csv"), pd.read_csv(tmp_path / "fit" / "variations.csv")
    keys = ["channel", "bin", "nuisance"]
    made = made[(made["sample"] == "total") & (made["recalibrate"] == "none")].set_index(keys)
    fitted = fitted[(fitted["sample"] == "total") & (fitted["nuisance"] != "nominal")].set_index(keys)
    for column in ("up", "down", "up_error", "down_error", "nominal_error"):
        pd.testing.assert_series_equal(
            fitted[column], made.loc[fitted.index, column], check_exact=False, rtol=1e-9, atol=1e-12
        )


def test_mistakes_are_named_together(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(finished, "templates.bis=2", "replicas=3", "exposure.nue_cc=x", "--out", tmp_path / "none") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "replicas: cannot be changed after the run" in lines[0]
    assert "Did you mean 'templates.bins'?" in lines[1]
    assert "exposure.nue_cc: 'x' is given" in lines[2]
    assert run(tmp_path, "--out", tmp_path / "none") == 2
    assert "is not the folder of a finished run" in capsys.readouterr().err
    assert run(finished, "--out", finished) == 2
    assert "another folder than the run's is wanted" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
