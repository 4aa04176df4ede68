"""Rules on the measurements: the parameter of interest, and what is set of parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from math import isfinite

from shiftlab.templates.lint.rule import Fault, Rule
from shiftlab.templates.lint.view import Measurement, Setting, View

__all__ = ["RULES", "WIDE"]

WIDE = 3.0
"""Prior standard deviations that the bounds of a constrained parameter should leave on either side."""

_CONSTRAINED = frozenset({"histosys", "normsys", "lumi", "shapesys", "staterror"})
_TAKES = {
    "auxdata": _CONSTRAINED,
    "sigmas": frozenset({"lumi", "staterror"}),
    "factors": frozenset({"shapesys"}),
}


def _settings(view: View) -> Iterator[tuple[Measurement, Setting]]:
    return ((one, setting) for one in view.measurements for setting in one.settings)


def _told(view: View, measurement: Measurement) -> str:
    """Return the measurement's name for messages, where there are several."""
    return f"measurement '{measurement.name}': " if len(view.measurements) > 1 else ""


def _no_measurement(view: View) -> Iterator[Fault]:
    if not view.measurements:
        yield Fault("there is no measurement.")


def _unknown_poi(view: View) -> Iterator[Fault]:
    for one in view.measurements:
        if one.poi and one.poi not in view.parameters:
            yield Fault(f"{_told(view, one)}no modifier has the name of the parameter of interest.", nuisance=one.poi)
        elif one.poi and view.parameters[one.poi].size > 1:
            size = view.parameters[one.poi].size
            yield Fault(f"{_told(view, one)}the parameter of interest has {size} values.", nuisance=one.poi)


def _no_poi(view: View) -> Iterator[Fault]:
    for one in view.measurements:
        if not one.poi:
            yield Fault(f"{_told(view, one)}no parameter of interest is named.")


def _constrained_poi(view: View) -> Iterator[Fault]:
    for name in sorted(view.pois):
        kinds = view.parameters[name].kinds & _CONSTRAINED
        if kinds:
            yield Fault(f"the parameter of interest is a {', '.join(sorted(kinds))}, which has a prior.", nuisance=name)


def _flat_poi(view: View) -> Iterator[Fault]:
    for name in sorted(view.pois):
        scaled = [sample for sample in view.samples if (name, "normfactor") in sample.listed]
        if scaled and not any(sample.nominal.any() for sample in scaled):
            yield Fault("the parameter of interest scales empty samples only.", nuisance=name)


def _unknown_parameter(view: View) -> Iterator[Fault]:
    for one, setting in _settings(view):
        if setting.name not in view.parameters:
            yield Fault(f"{_told(view, one)}settings of a parameter that no modifier has.", nuisance=setting.name)


def _duplicate_parameter(view: View) -> Iterator[Fault]:
    for one in view.measurements:
        for name, number in Counter(setting.name for setting in one.settings).items():
            if number > 1:
                yield Fault(f"{_told(view, one)}{number} settings of one parameter.", nuisance=name)


def _wrong_setting(view: View) -> Iterator[Fault]:
    for one, setting in _settings(view):
        parameter = view.parameters.get(setting.name)
        if parameter is None:
            continue
        for key in ("inits", "bounds", "auxdata", "sigmas", "factors"):
            values = getattr(setting, key)
            if values is None:
                continue
            if key in _TAKES and not parameter.kinds & _TAKES[key]:
                message = f"{_told(view, one)}a {', '.join(sorted(parameter.kinds))} has no {key}."
                yield Fault(message, nuisance=setting.name)
            elif len(values) != parameter.size:
                message = f"{_told(view, one)}{key} has {len(values)} entries for {parameter.size} values."
                yield Fault(message, nuisance=setting.name)


def _bad_bounds(view: View) -> Iterator[Fault]:
    for one, setting in _settings(view):
        for pair in setting.bounds or ():
            if len(pair) != 2 or not all(map(isfinite, pair)) or not pair[0] < pair[1]:
                yield Fault(f"{_told(view, one)}{list(pair)} is no range.", nuisance=setting.name)


def _bad_init(view: View) -> Iterator[Fault]:
    for one, setting in _settings(view):
        inits, bounds = setting.inits or (), setting.bounds or ()
        for value in inits:
            if not isfinite(value):
                yield Fault(f"{_told(view, one)}it starts at {value}.", nuisance=setting.name)
        if len(inits) == len(bounds):
            for value, pair in zip(inits, bounds, strict=True):
                if len(pair) == 2 and pair[0] < pair[1] and not pair[0] <= value <= pair[1] and isfinite(value):
                    message = f"{_told(view, one)}it starts at {value:g}, outside its bounds {list(pair)}."
                    yield Fault(message, nuisance=setting.name)


def _bad_width(view: View) -> Iterator[Fault]:
    for one, setting in _settings(view):
        for key in ("sigmas", "factors"):
            for value in getattr(setting, key) or ():
                if not (isfinite(value) and value > 0.0):
                    yield Fault(f"{_told(view, one)}{key} holds {value:g}.", nuisance=setting.name)
        for value in setting.auxdata or ():
            if not isfinite(value):
                yield Fault(f"{_told(view, one)}auxdata holds {value:g}.", nuisance=setting.name)


def _shifted(view: View) -> Iterator[Fault]:
    for one, setting in _settings(view):
        parameter = view.parameters.get(setting.name)
        if parameter and parameter.kinds <= {"histosys", "normsys"} and any(setting.auxdata or ()):
            message = f"{_told(view, one)}the prior is centred on {setting.auxdata[0]:g}." if setting.auxdata else ""
            yield Fault(message, nuisance=setting.name)


def _narrow(view: View) -> Iterator[Fault]:
    for one, setting in _settings(view):
        parameter = view.parameters.get(setting.name)
        if not (parameter and parameter.kinds <= {"histosys", "normsys"} and setting.bounds):
            continue
        low, high = min(chain(*setting.bounds), default=0.0), max(chain(*setting.bounds), default=0.0)
        if low < high and (low > -WIDE or high < WIDE):
            message = f"{_told(view, one)}bounds [{low:g}, {high:g}] cut a unit normal prior."
            yield Fault(message, nuisance=setting.name)


def _fixed(view: View) -> Iterator[Fault]:
    for one, setting in _settings(view):
        if setting.fixed and setting.name in view.parameters:
            what = "the parameter of interest" if setting.name == one.poi else "the parameter"
            yield Fault(f"{_told(view, one)}{what} is fixed.", nuisance=setting.name)


def _lumi(view: View) -> Iterator[Fault]:
    users = sorted(name for name, parameter in view.parameters.items() if "lumi" in parameter.kinds)
    for name in users:
        for one in view.measurements:
            given = {setting.name: setting for setting in one.settings}.get(name, Setting(name))
            missing = [key for key in ("inits", "bounds", "auxdata", "sigmas") if getattr(given, key) is None]
            if missing:
                yield Fault(f"{_told(view, one)}no {', '.join(missing)} of the luminosity.", nuisance=name)


RULES = (
    Rule("no_measurement", "error", "no measurement", "refused", _no_measurement),
    Rule(
        "unknown_poi",
        "error",
        "a parameter of interest that no modifier has, or of several values",
        "refused when the model is made",
        _unknown_poi,
    ),
    Rule("no_poi", "warning", "no parameter of interest", "accepted; only fits, no tests and no limits", _no_poi),
    Rule("constrained_poi", "warning", "a parameter of interest with a prior", "accepted", _constrained_poi),
    Rule(
        "flat_poi",
        "error",
        "a parameter of interest that scales empty samples only",
        "the likelihood does not depend on it",
        _flat_poi,
    ),
    Rule(
        "unknown_parameter",
        "warning",
        "settings of a parameter that the model does not have",
        "passed over in silence; often a misspelt name",
        _unknown_parameter,
    ),
    Rule("duplicate_parameter", "error", "two settings of one parameter", "refused", _duplicate_parameter),
    Rule(
        "wrong_setting",
        "error",
        "settings of a wrong number of values, or that the type of modifier does not have",
        "refused, with a message that may mislead",
        _wrong_setting,
    ),
    Rule("bad_bounds", "error", "bounds that are no range", "accepted; minimisers fail or ignore them", _bad_bounds),
    Rule(
        "bad_init", "error", "a start that is not finite or outside the bounds", "accepted; minimisers fail", _bad_init
    ),
    Rule(
        "bad_width",
        "error",
        "sigmas or factors that are not positive, auxdata that are not finite",
        "log L is NaN",
        _bad_width,
    ),
    Rule(
        "shifted_prior",
        "warning",
        "auxdata other than 0 for a normsys or histosys",
        "the nominal templates are not the most probable ones",
        _shifted,
    ),
    Rule(
        "narrow_bounds",
        "warning",
        f"bounds of a normsys or histosys within {WIDE:g} sigma",
        "the prior is cut; profiles and toys stick to the bound",
        _narrow,
    ),
    Rule("fixed_parameter", "warning", "a fixed parameter", "its uncertainty is in no result", _fixed),
    Rule(
        "lumi_unset",
        "error",
        "a lumi modifier without inits, bounds, auxdata or sigmas in a measurement",
        "a TypeError; without sigmas alone, a luminosity uncertainty of 1 in silence",
        _lumi,
    ),
)
