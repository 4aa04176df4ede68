"""How far every result of a neutrino analysis moves when the detector differs from its simulation.

The seven steps, each from plain values to one value that can be saved, opened and gone on from::

    import shiftlab as sl

    arms = sl.load_arms("studies/checkpoints/demo")
    events = sl.read("sample.h5")
    detector = sl.detector("pixel_lar")
    universes = sl.unisim(detector) + sl.multisim(detector, 16, seed=1)
    responses = sl.respond(events, detector, universes, arms)
    bias = sl.bias(responses)
    templates = sl.templates(responses)
    result = sl.fit(templates)
    sl.report(bias, templates, result)

The names below are imported when they are first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_ROOMS = {
    "events": ("Deposits", "EventTable", "Image", "Tokens", "read", "read_tokens", "stream"),
    "detector": ("NOMINAL", "Detector", "Universe", "detector", "effects", "multisim", "unisim"),
    "arms": ("load_arms",),
    "responses": ("Responses", "respond"),
    "bias": ("Bias", "bias"),
    "templates": ("Templates", "templates"),
    "fit": ("FitResult", "fit"),
    "report": ("report",),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]


class _Room(ModuleType):
    """A room that is called by its own name: ``sl.bias(responses)`` is ``shiftlab.bias.bias(responses)``."""

    def __call__(self, *values: Any, **named: Any) -> Any:
        return self._step(*values, **named)

    @property
    def __signature__(self) -> Any:
        from inspect import signature

        return signature(self._step)

    def __setattr__(self, name: str, value: object) -> None:
        # `templates/templates.py` must not take the name of the step that is imported when it is first used.
        if not (isinstance(value, ModuleType) and name == self.__name__.rpartition(".")[2]):
            super().__setattr__(name, value)

    @property
    def _step(self) -> Any:
        return getattr(self, self.__name__.rpartition(".")[2])


class _Package(ModuleType):
    """The package; a room that has a function of its own name becomes callable when it is imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and _HOME.get(name) == name:
            value.__class__ = _Room
        super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'shiftlab' has no attribute '{name}'")
    room = import_module(f"shiftlab.{_HOME[name]}")
    return room if _HOME[name] == name else getattr(room, name)


def __dir__() -> list[str]:
    return __all__


sys.modules[__name__].__class__ = _Package
