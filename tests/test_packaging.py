"""The built wheel, installed alone in a fresh folder and used from another one, and the rules of the tree."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as built from the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds nothing but the installed wheel."""
    target = tmp_path_factory.mktemp("target")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    return target


def elsewhere(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python on the installed wheel with ``folder`` as the working folder."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_wheel_holds_the_three_packages_their_types_the_configuration_and_the_licence(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for wanted in (
        "shiftlab/__init__.pyi",
        "shiftlab/py.typed",
        "shifts/py.typed",
        "studies/py.typed",
        "shiftlab/configs/config.yaml",
        "shiftlab/configs/study/demo.yaml",
        "shiftlab/configs/detector/pixel_lar.yaml",
        "studies/samples/lar_evaluation.h5",
    ):
        assert wanted in names, wanted
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests/", "docs/", "configs/")) for name in names)


def test_the_installed_wheel_finds_its_own_configuration(installed, tmp_path):
    code = "from shiftlab.config import config_dir; print(config_dir())"
    done = elsewhere(installed, tmp_path, "-c", code)
    assert done.stdout.strip() == str(installed / "shiftlab" / "configs"), done.stderr


def test_the_installed_wheel_lists_its_catalogue_from_another_folder(installed, tmp_path):
    done = elsewhere(installed, tmp_path, "-m", "shiftlab.cli", "list", "effects", "--json")
    assert done.returncode == 0, done.stderr
    assert {"gain", "noise", "recombination", "dead_channels", "lifetime"} <= {
        effect["name"] for effect in json.loads(done.stdout)
    }
    assert list(tmp_path.iterdir()) == []


def test_the_installed_wheel_composes_the_demo_study_from_another_folder(installed, tmp_path):
    code = "from shiftlab.config import read_study; print(read_study('demo').data.evaluation)"
    done = elsewhere(installed, tmp_path, "-c", code)
    assert done.stdout.strip() == str(installed / "studies" / "samples" / "lar_evaluation.h5"), done.stderr


def test_a_foreign_package_called_shifts_is_refused_with_both_paths(tmp_path):
    foreign = tmp_path / "shifts"
    foreign.mkdir()
    (foreign / "__init__.py").write_text("")
    done = elsewhere(tmp_path, tmp_path, "-m", "shiftlab.cli", "list", "effects")
    assert done.returncode == 2
    assert str(foreign) in done.stderr
    assert str(ROOT / "shifts") in done.stderr
    assert "Traceback" not in done.stderr
