"""Optional packages of public models: found, told from unrelated ones of the same name, or asked for in clear words."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType
from typing import Any, Final

from shiftlab.arms.public.point_contract import PointContract
from shiftlab.errors import ConfigError

__all__ = ["public_module", "require_points"]

_WANTED: Final = {
    "panda": (
        ("panda", "panda.model_base"),
        ("pimm", "pimm.models.point_transformer_v3.point_transformer_v3m2_sonata"),
    ),
    "polar_mae": (("pimm", "pimm.models.polarmae.polarmae_semseg"),),
}
"""Per body the packages that have its network, with the module that tells them from others of that name."""

_PROJECTS: Final = {"panda": "DeepLearnPhysics/Panda", "pimm": "DeepLearnPhysics/particle-imaging-models"}


def public_module(body: str) -> tuple[ModuleType, str]:
    """Return the module of the public package that has the network of a body, and the package's name.

    Args:
        body: ``panda`` or ``polar_mae``.

    Raises:
        ConfigError: no such package is installed, it is an unrelated one of that name, or it lacks one it needs.
    """
    found = []
    for package, module in _WANTED[body]:
        try:
            return importlib.import_module(module), package
        except ImportError as error:
            found.append(_why(package, module, error))
    projects = " or ".join(f"{_PROJECTS[package]} (import name '{package}')" for package, _ in _WANTED[body])
    raise ConfigError(
        f"body '{body}' needs the public code of {projects}, installed as it says itself. {' '.join(found)}"
    )


def _why(package: str, module: str, error: ImportError) -> str:
    spec = importlib.util.find_spec(package)
    if spec is None:
        return f"'{package}' is not installed; the package of that name on PyPI is another one."
    missing = getattr(error, "name", None) or ""
    if missing == module or module.startswith(f"{missing}."):
        where = spec.origin or "a folder"
        return f"The '{package}' that is installed ({where}) is an unrelated package: it has no module '{module}'."
    return f"'{package}' is installed, but cannot be imported here: {error}."


def require_points(contract: Any, body: str) -> PointContract:
    """Return the contract if it is one of single voxels.

    Raises:
        ConfigError: it is another kind.
    """
    if not isinstance(contract, PointContract):
        raise ConfigError(
            f"body '{body}' takes a PointContract, the units of the public model, but was given "
            f"{type(contract).__name__}. Start from an adopted checkpoint (`shiftlab adopt`)."
        )
    return contract
