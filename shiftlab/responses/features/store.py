"""Features of the same events in every universe, layer by layer, and what heads linear in them would say."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import h5netcdf
import numpy as np
import xarray as xr
from xarray.backends import H5NetCDFStore

from shiftlab.errors import DataError
from shiftlab.provenance import canonical_json, write_whole

__all__ = ["FEATURES", "Features", "dataset", "first_order_of", "layers_of"]

FEATURES: Final = "features.nc"
"""Name of the file in the folder of a run."""

_LAYER: Final = "layer: "
_FIRST_ORDER: Final = "first order: "
_PACKING: Final[Mapping[str, Any]] = {"zlib": True, "complevel": 4, "shuffle": True}


@dataclass(frozen=True)
class Features:
    """Pooled features of every body that was asked, one dataset each.

    Attributes:
        bodies: Name of the body to dataset. Variables: ``layer: NAME`` float32 (universe, event, feature of NAME), NaN
            where an event has no token in that universe; for a body that all tasks share, ``first order: TASK``
            float32 (seed, universe, route, event, output of TASK), the outputs of heads that are linear in what they
            are given about nominal (``shiftlab.arms.head_slopes.ROUTES``), NaN for an event without a token at
            nominal; ``matched`` and ``new`` (universe,), tokens that are there again and tokens that nominal lacks,
            over the number of nominal ones. Coordinates: ``universe``, the first the nominal one, with ``nuisance``,
            ``strength`` (sigma) and ``throw``; ``event``, the event key, with ``vertex_uid``; ``seed``, those whose
            heads rest on the body; ``route``. Attributes: ``arm``; ``task``, whose own body it is, empty for a shared
            one; ``not_linear``, JSON, why a task has no first order.
        attrs: Provenance, plain values that JSON can hold.
    """

    bodies: Mapping[str, xr.Dataset]
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: Path | str) -> None:
        """Write one netCDF-4 group per body, whole; equal features give equal bytes.

        Raises:
            RunError: the file cannot be written; a previous one stays.
        """
        image = io.BytesIO()  # HDF5 aborts the process on a full disk, so it never writes to one itself
        with h5netcdf.File(image, "w") as file:
            file.attrs["shiftlab"] = canonical_json(dict(self.attrs))
            file.attrs["bodies"] = canonical_json(list(self.bodies))
            for number, data in enumerate(self.bodies.values()):
                packed = [str(name) for name in data.data_vars if data[name].ndim > 1]
                encoding = dict.fromkeys(packed, _PACKING)
                data.dump_to_store(H5NetCDFStore(file, group=f"body{number}"), encoding=encoding)
        with write_whole(Path(path)) as temporary:
            temporary.write_bytes(image.getbuffer())

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read what ``save`` wrote.

        Raises:
            DataError: the file is missing, truncated, not netCDF-4 or not from ``save``.
        """
        try:
            with xr.open_dataset(path, engine="h5netcdf") as head:
                attrs = json.loads(head.attrs["shiftlab"])
                names = json.loads(head.attrs["bodies"])
            bodies = {}
            for number, name in enumerate(names):
                with xr.open_dataset(path, group=f"body{number}", engine="h5netcdf") as data:
                    bodies[name] = _text(data.load()).drop_encoding()
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"cannot read features from '{path}': {error}.") from error
        return cls(bodies, attrs)


def layers_of(data: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the layers of a body by name, (universe, event, feature)."""
    return {str(n).removeprefix(_LAYER): data[n] for n in data.data_vars if str(n).startswith(_LAYER)}


def first_order_of(data: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the first-order outputs of a body's heads by task, (seed, universe, route, event, output)."""
    return {str(n).removeprefix(_FIRST_ORDER): data[n] for n in data.data_vars if str(n).startswith(_FIRST_ORDER)}


def dataset(
    layers: Mapping[str, np.ndarray[Any, Any]],
    answers: Mapping[str, np.ndarray[Any, Any]],
    shares: Mapping[str, np.ndarray[Any, Any]],
    coordinates: Mapping[str, Any],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """Return the dataset of one body; see ``Features``."""
    variables: dict[str, Any] = {
        **{_LAYER + n: (("universe", "event", f"feature of {n}"), v) for n, v in layers.items()},
        **{_FIRST_ORDER + n: (("seed", "universe", "route", "event", f"output of {n}"), v) for n, v in answers.items()},
        **{name: ("universe", values) for name, values in shares.items()},
    }
    return xr.Dataset(variables, coords=dict(coordinates), attrs=dict(attrs))


def _text(data: xr.Dataset) -> xr.Dataset:
    """Give text its type in memory."""
    for name, variable in data.variables.items():
        if variable.dtype.kind == "O":
            data[name] = (variable.dims, variable.values.astype(np.str_), variable.attrs)
    return data
