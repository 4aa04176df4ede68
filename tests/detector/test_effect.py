"""The catalogue: a new file is enough, and another package of the same name is refused."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import ClassVar

import pytest

from shiftlab.detector import ConfigError, Detector, Effect, effects
from shiftlab.detector.effect import CatalogueRegistry
from shiftlab.errors import UnknownNameError

PLUGIN = '''
"""A loss of charge in every cell."""
from shiftlab.detector import Cells, Effect, Parameter

class Leak(Effect[Cells]):
    """Charge leaks."""
    name = "leak"
    stage = "saturate"
    needs = ("electrons",)
    changes = ("electrons",)
    parameters = (Parameter("fraction", 0.0, 0.01, "1", (0.0, 1.0), identity=0.0, two_sided=False, doc="Loss."),)

    def apply(self, events, values, stream):
        return events.with_electrons(events.electrons * (1.0 - events.per_row(values["fraction"])))
'''


def test_the_catalogue_has_the_demonstration_effects():
    names = {"recombination", "lifetime", "gain", "noise", "dead_channels", "dead_chips", "threshold"}
    assert names <= set(effects().names())
    with pytest.raises(UnknownNameError, match="recombination"):
        effects().get("recombinaton")


def test_one_file_adds_an_effect(tmp_path, small, deposits):
    """A loose file gives a registry entry, a nuisance and a universe, with nothing else edited."""
    file = tmp_path / "leak_plugin.py"
    file.write_text(PLUGIN, encoding="utf-8")
    registry = CatalogueRegistry("shiftlab.shifts", Effect, "effect")
    registry.add_file(file)
    chamber = Detector("leaky", small, (registry.get("leak")(),))
    assert [nuisance.name for nuisance in chamber.nuisances] == ["leak_fraction"]
    assert "leak" in registry.names()


def test_another_package_called_shifts_is_refused(tmp_path, monkeypatch):
    """Both paths are named, so that the user knows which one to rename."""
    other = types.ModuleType("shifts")
    other.__file__ = str(tmp_path / "shifts" / "__init__.py")
    monkeypatch.setitem(sys.modules, "shifts", other)
    with pytest.raises(ConfigError) as refused:
        CatalogueRegistry("shiftlab.shifts", Effect, "effect").names()
    assert str(tmp_path) in str(refused.value)
    assert str(Path(__file__).parents[2] / "shifts") in str(refused.value)


def test_stages_and_fields_that_do_not_exist_are_refused(small):
    gain = effects().get("gain")

    class Late(gain):
        """At a stage of the detector's own."""

        stage: ClassVar[str] = "diffuse"

    class Greedy(gain):
        """Needs what cells do not have."""

        needs: ClassVar[tuple[str, ...]] = ("dedx",)

    with pytest.raises(ConfigError, match="takes no effects"):
        Detector("d", small, (Late(),))
    with pytest.raises(ConfigError, match="needs dedx"):
        Detector("d", small, (Greedy(),))


def test_an_unknown_parameter_is_refused():
    gain = effects().get("gain")
    with pytest.raises(UnknownNameError, match="scale"):
        gain({"scal": gain.parameters[0]})
    with pytest.raises(UnknownNameError, match="scale"):
        gain().parameter("scal")
