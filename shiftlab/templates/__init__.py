"""Templates: histograms of the tasks' observables for every variation, as a pyhf workspace.

The names below are imported when they are first used, so that the linter starts without torch and xarray.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shiftlab.templates.build import SAMPLES, templates
    from shiftlab.templates.findings import Finding
    from shiftlab.templates.settings import TemplateSettings
    from shiftlab.templates.templates import Observation, Templates

_HOME = {
    "SAMPLES": "build",
    "Finding": "findings",
    "Observation": "templates",
    "TemplateSettings": "settings",
    "Templates": "templates",
    "templates": "build",
}

__all__ = ["SAMPLES", "Finding", "Observation", "TemplateSettings", "Templates", "templates"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'shiftlab.templates' has no attribute '{name}'")
    return getattr(import_module(f"shiftlab.templates.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
