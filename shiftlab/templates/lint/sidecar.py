"""What ``workspace.meta.json`` says that changes how a workspace is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from shiftlab.errors import DataError

__all__ = ["Sidecar"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sidecar:
    """The part of a sidecar that the linter uses.

    Attributes:
        even: nuisances that are declared to be the even part of a response, so that both their sides may agree.
        expectations: (bin of all channels,) spectra that are declared to be weighted expectations, not counts.
        limits: per nuisance the information of its templates, ``information``, and what Monte Carlo noise alone would
            show, ``fake_information`` and ``fake_sigma``.
    """

    even: frozenset[str] = frozenset()
    expectations: tuple[Floats, ...] = ()
    limits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def read(cls, meta: Mapping[str, Any]) -> Sidecar:
        """Return what a sidecar of ``Templates.save`` says; what it does not say is left empty.

        Raises:
            DataError: a part that is used has another form than ``Templates.save`` writes.
        """
        try:
            nuisances = meta.get("nuisances", {}).items()
            limits = meta.get("monte_carlo_limits", {}).items()
            keys = ("information", "fake_information", "fake_sigma")
            return cls(
                even=frozenset(name for name, one in nuisances if one.get("part") == "even"),
                expectations=tuple(
                    np.array(spectrum["counts"], dtype=np.float64) for spectrum in meta.get("observations", {}).values()
                ),
                limits={name: {key: float(row[key]) for key in keys} for name, row in limits},
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"the sidecar has not the form that shiftlab writes ({type(error).__name__}: {error}). Write it again, "
                "or move it away: a workspace is checked without one, too."
            ) from error
