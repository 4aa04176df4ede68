"""The report as one HTML file that needs nothing else: no network, no script, figures and style inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from shiftlab.provenance import write_text
from shiftlab.report.bias_figures import heat_table
from shiftlab.report.blocks import Section
from shiftlab.report.drift_section import drift_section
from shiftlab.report.fit_sections import (
    decorrelation_section,
    findings_section,
    fit_section,
    provenance_section,
    sample_section,
    templates_section,
)
from shiftlab.report.record import Record, save, table_path, write_table
from shiftlab.report.robustness_section import robustness_section
from shiftlab.report.sections import (
    bias_section,
    closure_section,
    correlation_section,
    headline_section,
    performance_section,
)
from shiftlab.report.seen_section import seen_section
from shiftlab.report.summary_figures import recalibration_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shiftlab.bias import Bias
    from shiftlab.detector.universe import HasNuisances
    from shiftlab.fit import FitResult
    from shiftlab.templates import Templates

__all__ = ["render", "report", "report_from_folder"]

_SECTIONS = (
    headline_section,
    performance_section,
    bias_section,
    robustness_section,
    correlation_section,
    drift_section,
    templates_section,
    fit_section,
    decorrelation_section,
    closure_section,
    findings_section,
    sample_section,
    seen_section,
    provenance_section,
)


def report(
    bias: Bias,
    templates: Templates | Mapping[Any, Templates] | Iterable[Templates],
    results: FitResult | Mapping[Any, FitResult] | Iterable[FitResult],
    path: Path | str = "report.html",
    *,
    study: str = "study",
    provenance: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    detector: HasNuisances | None = None,
    seen: Sequence[Mapping[str, str]] = (),
) -> Path:
    """Write the report of a study and, beside it, the CSV files of every number in it.

    The page is drawn from the written files alone, so that ``report_from_folder`` gives the same bytes.

    Args:
        bias: paired biases of all arms and seeds.
        templates: of one or several arms, seeds and calibrations (each knows which it is).
        results: the fits of the same.
        path: the page; ``bias.csv``, ``correlation.csv``, ``csv/`` and ``report.json`` go beside it.
        study: name of the study, the page's title.
        provenance: nested plain values: seeds, digests, versions, config.
        notes: what the sample is and is not, a sentence each.
        detector: gives the table of priors.
        seen: what training varied, rows of ``shiftlab.arms.coverage.seen_by``; the page says so when there are none.

    Returns:
        The path of the page.

    Raises:
        RunError: a file cannot be written; the previous one stays.
    """
    path = Path(path)
    save(
        bias,
        templates,
        results,
        path.parent,
        study=study,
        provenance=provenance or {},
        notes=notes,
        detector=detector,
        seen=seen,
    )
    return _write(Record.load(path.parent), path)


def report_from_folder(folder: Path | str) -> Path:
    """Draw ``report.html`` of a run folder again from the tables in it.

    Raises:
        RunError: the folder is not that of a finished run, or the page cannot be written.
    """
    folder = Path(folder)
    return _write(Record.load(folder), folder / "report.html")


def render(record: Record) -> str:
    """Return the page; equal records give equal bytes."""
    environment = Environment(
        loader=PackageLoader("shiftlab.report", "."),
        autoescape=select_autoescape(["html"], default_for_string=True, default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections: list[Section] = [make(record) for make in _SECTIONS]
    style = (resources.files("shiftlab.report") / "page.css").read_text(encoding="utf-8")
    return environment.get_template("page.html.jinja").render(study=record.study, sections=sections, style=style)


def _write(record: Record, path: Path) -> Path:
    write_table(path.parent / table_path("heat_map"), heat_table(record))
    write_table(path.parent / table_path("recalibration"), recalibration_table(record))
    write_text(path, render(record))
    return path
