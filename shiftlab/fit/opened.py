"""A pyhf workspace, with or without our sidecar, as a likelihood and the spectrum that is to be fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.fit import likelihood as engine
from shiftlab.fit.likelihood.fitting import asimov
from shiftlab.fit.likelihood.interpolation import NORM_CODES, SHAPE_CODES

__all__ = ["Opened", "open_workspace"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Opened:
    """What a fit needs of a workspace.

    Attributes:
        name: where it is from, for messages.
        model: the likelihood.
        data: the spectrum, one row.
        what: ``data``, ``asimov``, or the sidecar's name of the spectrum.
        codes: interpolation code of ``normsys`` and ``histosys``.
        edges: bin edges of the channels whose edges the sidecar gives.
        labels: axis labels of channels, likewise.
        errors: by nuisance and channel, ``up`` and ``down``: (bin,) paired Monte Carlo error of the variation, summed
            over samples, likewise.
        limits: by nuisance, ``fake_sigma`` and ``mc_limited`` of the sidecar.
        noise: Monte Carlo variance of a spectrum of the sidecar over its Poisson variance, 0 for data.
    """

    name: str
    model: engine.Likelihood
    data: engine.Spectra
    what: str
    codes: Mapping[str, str]
    edges: Mapping[str, Floats]
    labels: Mapping[str, str]
    errors: Mapping[str, Mapping[str, Mapping[str, Floats]]]
    limits: Mapping[str, Mapping[str, Any]]
    noise: float = 0.0

    @property
    def expects(self) -> bool:
        """Whether the data are the nominal expectation (Asimov), with which no model can disagree."""
        nominal = engine.expected(self.model, self.model.parameters.initial)
        return bool(np.allclose(self.data.counts[0], nominal, rtol=1e-9, atol=1e-12))


def open_workspace(
    name: str,
    spec: Mapping[str, Any],
    meta: Mapping[str, Any] | None = None,
    *,
    measurement: str | None = None,
    spectrum: str = "data",
    codes: Mapping[str, str] | None = None,
) -> Opened:
    """Return the likelihood and the data of a workspace.

    Args:
        name: where it is from, for messages.
        spec: its JSON.
        meta: that of its ``workspace.meta.json``, if there is one; its interpolation codes are used.
        measurement: name of the measurement; None for the first.
        spectrum: ``data`` for the observations, ``asimov`` for the nominal expectation, or a name in the sidecar's
            ``observations``.
        codes: interpolation codes that replace the sidecar's, or pyhf's defaults.

    Raises:
        DataError: the workspace has no likelihood, or the sidecar is of another workspace.
        UnknownNameError: there is no such measurement or spectrum.
        ConfigError: an interpolation code is unknown.
    """
    sidecar = dict(meta or {})
    chosen = {"normsys": "code4", "histosys": "code4p"} | _codes(name, sidecar) | dict(codes or {})
    try:
        model = engine.from_workspace(spec, measurement=measurement, codes=chosen)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{name} is no workspace of pyhf ({type(error).__name__}: {error}).") from error
    except UnknownNameError:
        raise
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    errors = {
        nuisance: {
            channel: {side: _bins(name, model, channel, values, "variation_errors") for side, values in sides.items()}
            for channel, sides in channels.items()
        }
        for nuisance, channels in sidecar.get("variation_errors", {}).items()
    }
    return Opened(
        name=name,
        model=model,
        data=_data(name, spec, sidecar, model, spectrum),
        what=spectrum,
        codes=chosen,
        edges={c: _edges(name, model, c, values) for c, values in sidecar.get("edges", {}).items()},
        labels={str(c): str(text) for c, text in sidecar.get("labels", {}).items()},
        errors=errors,
        limits=sidecar.get("monte_carlo_limits", {}),
        noise=_noise(sidecar.get("observations", {}).get(spectrum, {})),
    )


def _codes(name: str, sidecar: Mapping[str, Any]) -> dict[str, str]:
    try:
        found = {str(kind): str(one["interpcode"]) for kind, one in sidecar.get("interpolation", {}).items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{name}: 'interpolation' of its sidecar has not the form that shiftlab writes.") from error
    for kind, code in found.items():
        if code not in {"normsys": NORM_CODES, "histosys": SHAPE_CODES}.get(kind, ()):
            raise ConfigError(f"{name}: its sidecar asks for interpolation {code} of {kind}, which there is not.")
    return found


def _data(
    name: str, spec: Mapping[str, Any], sidecar: Mapping[str, Any], model: engine.Likelihood, spectrum: str
) -> engine.Spectra:
    if spectrum == "asimov":
        return asimov(model)
    if spectrum == "data":
        return engine.spectra(model, engine.observed(spec, model))
    spectra = sidecar.get("observations", {})
    if spectrum not in spectra:
        raise UnknownNameError("spectrum", spectrum, {"data", "asimov", *spectra})
    # The sidecar lists bins in the order of the workspace's channels, the likelihood in that of their names.
    counts = np.asarray(spectra[spectrum]["counts"], dtype=np.float64)
    sizes = {str(channel["name"]): len(channel["samples"][0]["data"]) for channel in spec["channels"]}
    if len(counts) != sum(sizes.values()):
        raise DataError(f"{name}: spectrum '{spectrum}' of its sidecar has {len(counts)} bins, not {model.bins}.")
    parts = dict(zip(sizes, np.split(counts, np.cumsum(list(sizes.values()))[:-1]), strict=True))
    return engine.spectra(model, np.concatenate([parts[channel.name] for channel in model.channels]), what=spectrum)


def _noise(spectrum: Mapping[str, Any]) -> float:
    total = float(np.sum(spectrum.get("counts", 0.0)))
    return float(np.sum(spectrum.get("mc_variance", 0.0))) / total if total > 0.0 else 0.0


def _edges(name: str, model: engine.Likelihood, channel: str, values: Any) -> Floats:
    edges = np.asarray(values, dtype=np.float64)
    _bins(name, model, channel, edges[1:], "edges")
    return edges


def _bins(name: str, model: engine.Likelihood, channel: str, values: Any, key: str) -> Floats:
    sizes = {one.name: one.bins for one in model.channels}
    found = np.asarray(values, dtype=np.float64)
    if sizes.get(channel) != len(found):
        raise DataError(
            f"{name}: '{key}' of its sidecar has {len(found)} bins in channel '{channel}', the workspace "
            f"{sizes.get(channel, 'no such channel')}: it belongs to another workspace. Move it away or write it again."
        )
    return found
