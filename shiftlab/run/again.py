"""Templates of a finished run, made again from its responses with other settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shiftlab.errors import RunError
from shiftlab.responses import Responses
from shiftlab.templates import Templates
from shiftlab.templates import templates as templates_all
from shiftlab.templates.settings import TemplateSettings

__all__ = ["remade_templates", "run_record"]


def run_record(run: Path) -> dict[str, Any]:
    """Return the ingredients of a finished run, as plain values.

    Raises:
        RunError: the folder is not that of a finished run.
    """
    if not (run / "responses.h5").is_file() or not (run / "done").is_file():
        raise RunError(f"{run} is not the folder of a finished run: it has no done or no responses.h5.")
    try:
        record = json.loads((run / "identity.json").read_text(encoding="utf-8"))
        return dict(record["identity"]["study"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{run / 'identity.json'} does not say what the run was made of ({error!r}).") from error


def remade_templates(
    run: Path, record: Mapping[str, Any], settings: TemplateSettings, exposure: Mapping[str, float]
) -> dict[str, dict[tuple[str, int], Templates]]:
    """Return the templates by recalibration, then by (arm, seed), as the run itself makes them.

    Args:
        run: folder of the finished run; only read.
        record: from ``run_record``.
        settings: how events become templates; the partition's seed is its own.
        exposure: expected events of each sample.

    Raises:
        DataError, ConfigError, UnknownNameError: see ``templates``.
    """
    responses = Responses.load(run / "responses.h5")
    universes = record.get("universes", {})
    calibrations = ("none", *(name for name in ("mip", "exact") if universes.get(name)))
    return {
        calibration: templates_all(responses, recalibrate=calibration, exposure=exposure, settings=settings)
        for calibration in calibrations
    }
