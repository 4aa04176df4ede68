"""The public names: light to import, complete, and called as the README writes them."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import shiftlab

HEAVY = ("torch", "pyhf", "xarray", "pandas", "scipy", "matplotlib", "hydra", "lightgbm", "h5py", "numpy")
ROOMS = ("detector", "bias", "templates", "fit", "report")


def loaded_after(code: str) -> set[str]:
    """Names of the heavy libraries that a fresh interpreter has imported after ``code``."""
    script = f"import sys\n{code}\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()) if done.stdout.strip() else set()


def test_importing_the_package_imports_no_heavy_library():
    assert loaded_after("import shiftlab") == set()


def test_building_the_command_line_parser_imports_no_heavy_library():
    assert loaded_after("import shiftlab.cli\ntry: shiftlab.cli.main(['--help'])\nexcept SystemExit: pass") == set()


def test_every_public_name_can_be_imported():
    for name in shiftlab.__all__:
        assert getattr(shiftlab, name) is not None, name


def test_the_stub_lists_the_same_names_from_the_same_rooms():
    stub = ast.parse(Path(shiftlab.__file__).with_suffix(".pyi").read_text())
    typed = {
        alias.name: str(node.module).removeprefix("shiftlab.")
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == shiftlab._HOME


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'biass'"):
        _ = shiftlab.biass


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_with_a_step_of_its_own_name_is_called_by_it_and_still_holds_its_other_names(room):
    module = getattr(shiftlab, room)
    step = getattr(module, room)
    assert callable(step)
    assert inspect.signature(module) == inspect.signature(step)
    assert inspect.ismodule(module)


def test_a_room_stays_callable_however_it_was_imported_first():
    code = "import shiftlab.detector.geometry\nimport shiftlab as sl\nprint(sl.detector('pixel_lar').name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "pixel_lar"
