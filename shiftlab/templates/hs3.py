"""A pyhf workspace as HS3, the HEP Statistics Serialization Standard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shiftlab.errors import DataError
from shiftlab.templates.lint import lint
from shiftlab.templates.workspace import INTERPOLATION

__all__ = ["VERSION", "hs3"]

VERSION: Final = "0.2"
"""Version of the HS3 standard that is written; pyhs3 0.4 reads it."""

_NUISANCE: Final = (-5.0, 5.0)
_FACTOR: Final = (0.0, 10.0)
_GAMMA: Final = (1e-10, 10.0)
"""Ranges that pyhf 0.7.6 gives to parameters without bounds of their own."""


@dataclass
class _Parameters:
    """Starting value, range and whether it is constant, by name, in the order of their first use."""

    given: Mapping[str, Mapping[str, Any]]
    found: dict[str, tuple[float, tuple[float, float], bool]] = field(default_factory=dict)

    def add(self, names: Sequence[str], owner: str, start: float, bounds: tuple[float, float]) -> None:
        setting = self.given.get(owner, {})
        for i, name in enumerate(names):
            value = setting["inits"][i] if "inits" in setting else start
            low, high = setting["bounds"][i] if "bounds" in setting else bounds
            self.found.setdefault(name, (float(value), (float(low), float(high)), bool(setting.get("fixed", False))))


def hs3(
    workspace: Mapping[str, Any],
    *,
    edges: Mapping[str, Sequence[float]] | None = None,
    interpolation: Mapping[str, Mapping[str, str]] = INTERPOLATION,
) -> dict[str, Any]:
    """Return the workspace's first measurement as an HS3 document.

    A channel becomes a ``histfactory_dist``, its observation binned data, the measurement an analysis. Parameters
    keep their names; those of per-bin modifiers get ``_bin_0``, ``_bin_1``, ... The staterrors of a channel become
    one parameter per bin, constrained by the sum of the errors of the samples that have one (Barlow and Beeston's
    method in its light form), which is pyhf's own; the interpolation, which pyhf's JSON cannot hold, is written down.

    Args:
        workspace: of pyhf's schema 1.0.0.
        edges: bin edges per channel, as the sidecar has them; without, bins of width 1 from 0.
        interpolation: pyhf's ``modifier_settings``.

    Raises:
        DataError: the linter finds an error in the workspace, or HS3 has no place for a part of it: a lumi modifier,
            a channel with two staterrors, a staterror or shapesys of zero, a prior that is not centred on 0.
    """
    errors = [one for one in lint(workspace, asimov=True) if one.severity == "error"]
    if errors:
        first = errors[0]
        where = " ".join(filter(None, (first.channel, first.sample, first.nuisance)))
        raise DataError(f"the workspace has {len(errors)} errors; the first is {first.code} ({where}): {first.message}")
    measurement = workspace["measurements"][0]
    config = measurement["config"]
    parameters = _Parameters({one["name"]: one for one in config["parameters"]})
    for name, setting in parameters.given.items():
        moved = any(setting.get("auxdata", ())) or "sigmas" in setting or "factors" in setting
        if moved and name != "lumi":  # a lumi modifier is refused by its own words
            raise DataError(f"parameter '{name}': HS3's histfactory_dist has no place for auxdata, sigmas or factors.")
    channels = workspace["channels"]
    axes = {one["name"]: _axis(one, edges) for one in channels}
    distributions = [_distribution(one, axes[one["name"]], parameters, interpolation) for one in channels]
    counts = {one["name"]: one["data"] for one in workspace["observations"]}
    name = measurement["name"]
    domain = [{"name": each, "min": low, "max": high} for each, (_, (low, high), _) in parameters.found.items()]
    point = [
        {"name": each, "value": value} | ({"const": True} if constant else {})
        for each, (value, _, constant) in parameters.found.items()
    ]
    return {
        "metadata": {"hs3_version": VERSION},
        "distributions": distributions,
        "data": [
            {"name": f"data_{each}", "type": "binned", "axes": [axis], "contents": list(counts[each])}
            for each, axis in axes.items()
        ],
        "likelihoods": [
            {"name": name, "distributions": [one["name"] for one in distributions], "data": [f"data_{c}" for c in axes]}
        ],
        "domains": [{"name": f"{name}_domain", "type": "product_domain", "axes": domain}],
        "parameter_points": [{"name": "default_values", "parameters": point}],
        "analyses": [
            {
                "name": name,
                "likelihood": name,
                "domains": [f"{name}_domain"],
                "parameters_of_interest": [config["poi"]] if config["poi"] else [],
                "init": "default_values",
            }
        ],
    }


def _axis(channel: Mapping[str, Any], edges: Mapping[str, Sequence[float]] | None) -> dict[str, Any]:
    name, bins = channel["name"], len(channel["samples"][0]["data"])
    if edges is None or name not in edges:
        return {"name": f"bin_{name}", "min": 0.0, "max": float(bins), "nbins": bins}
    if len(edges[name]) != bins + 1:
        raise DataError(f"channel '{name}': {len(edges[name])} edges for {bins} bins; {bins + 1} are wanted.")
    return {"name": f"observable_{name}", "edges": [float(edge) for edge in edges[name]]}


def _distribution(
    channel: Mapping[str, Any],
    axis: Mapping[str, Any],
    parameters: _Parameters,
    interpolation: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    statistics = {m["name"] for s in channel["samples"] for m in s["modifiers"] if m["type"] == "staterror"}
    if len(statistics) > 1:
        raise DataError(f"channel '{channel['name']}': HS3 has one staterror per channel, not {len(statistics)}.")
    _refuse_zero(channel)
    samples = []
    for sample in channel["samples"]:
        errors = [m["data"] for m in sample["modifiers"] if m["type"] == "staterror"]
        data = {"contents": list(sample["data"]), "errors": list(errors[0]) if errors else [0.0] * len(sample["data"])}
        modifiers = [_modifier(one, channel["name"], sample, parameters, interpolation) for one in sample["modifiers"]]
        samples.append({"name": sample["name"], "data": data, "modifiers": modifiers})
    return {"name": f"model_{channel['name']}", "type": "histfactory_dist", "axes": [dict(axis)], "samples": samples}


def _refuse_zero(channel: Mapping[str, Any]) -> None:
    """Refuse uncertainties of zero: pyhf freezes those parameters, HS3 would divide by them."""
    parts = [(s, m) for s in channel["samples"] for m in s["modifiers"] if m["type"] in ("staterror", "shapesys")]
    for b in range(len(channel["samples"][0]["data"])):
        shared = [(s["data"][b], m["data"][b]) for s, m in parts if m["type"] == "staterror"]
        sums = [(sum(n for n, _ in shared), sum(e for _, e in shared))] if shared else []
        own = [(s["data"][b], m["data"][b]) for s, m in parts if m["type"] == "shapesys"]
        if any(not (events > 0.0 and error > 0.0) for events, error in (*sums, *own)):
            raise DataError(
                f"channel '{channel['name']}', bin {b}: HS3 has no staterror or shapesys on no events, or of zero; "
                "leave the bin out, or merge it."
            )


def _modifier(
    given: Mapping[str, Any],
    channel: str,
    sample: Mapping[str, Any],
    parameters: _Parameters,
    interpolation: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    name, kind, data = given["name"], given["type"], given["data"]
    head: dict[str, Any] = {"name": name, "type": kind}
    if kind == "normfactor":
        parameters.add([name], name, 1.0, _FACTOR)
        return head | {"parameter": name}
    if kind in ("normsys", "histosys"):
        parameters.add([name], name, 0.0, _NUISANCE)
        code = {"interpolation": interpolation[kind]["interpcode"]}
        sides = (
            {"hi": data["hi"], "lo": data["lo"]}
            if kind == "normsys"
            else {
                "hi": {"contents": list(data["hi_data"])},
                "lo": {"contents": list(data["lo_data"])},
            }
        )
        return head | {"parameter": name, "constraint": "Gauss", "data": sides | code}
    if kind == "lumi":
        raise DataError(
            f"channel '{channel}', sample '{sample['name']}': HS3 has no lumi modifier. Write it as a normsys of the "
            "relative uncertainty."
        )
    owner = f"{name}_{channel}" if kind == "staterror" and not name.endswith(channel) else name
    names = [f"{owner}_bin_{b}" for b in range(len(sample["data"]))]
    parameters.add(names, name, 1.0, _FACTOR if kind == "shapefactor" else _GAMMA)
    if kind == "shapesys":
        head |= {"constraint": "Poisson", "data": {"vals": list(data)}}
    elif kind == "staterror":
        head |= {"constraint": "Gauss"}
    return head | {"parameters": names}
