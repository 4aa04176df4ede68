"""The plain record a report is drawn from: named tables kept as CSV files, with study, provenance and notes as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pandas as pd

from shiftlab.errors import ConfigError, RunError
from shiftlab.provenance import write_json, write_text

if TYPE_CHECKING:
    from shiftlab.bias import Bias
    from shiftlab.detector import Parameter
    from shiftlab.detector.universe import HasNuisances
    from shiftlab.fit import FitResult
    from shiftlab.templates import Templates

__all__ = [
    "BIAS_TABLES",
    "FIT_TABLES",
    "OPTIONAL_TABLES",
    "Record",
    "each",
    "groups",
    "save",
    "table_path",
    "write_table",
]

T = TypeVar("T")

BIAS_TABLES: Final = (
    "bias",
    "correlation",
    "performance",
    "seed_range",
    "excess",
    "reliability",
    "unisims",
    "closure",
    "exposure",
)
"""Tables that ``Bias.save`` writes: the first two beside the report, the others in ``csv/``."""

FIT_TABLES: Final = (
    "templates",
    "yields",
    "constraints",
    "findings",
    "fits",
    "parameters",
    "impacts",
    "components",
    "decorrelated",
    "response",
)
"""Tables of the templates and fits of all arms and seeds, with columns arm, seed, recalibrate first."""

OPTIONAL_TABLES: Final = (
    "joint_significance",
    "joint_correlation",
    "structure",
    "modes",
    "leaderboard",
    "robustness",
    "response_curves",
    "response_fits",
    "matched",
    "variance_components",
    "drift",
    "drift_harm",
    "mechanism",
    "mechanism_points",
)
"""Tables in ``csv/`` that a run may be without, as a step was not asked for; the page then says what is missing."""

SEEN: Final = ("arm", "nuisance", "verdict", "why", "declared")
"""Columns of the table of what training varied (``shiftlab.arms.coverage.seen_by``); a run may be without it."""

_NUISANCES: Final = ("name", "nominal", "minus_1sigma", "plus_1sigma", "unit", "scope", "confidence", "source")
_FINDINGS: Final = ("severity", "code", "channel", "sample", "nuisance", "message")
_RECORD: Final = "report.json"
_TEXT: Final = (
    "arm",
    "at_limit",
    "body",
    "channel",
    "flag",
    "injected_universe",
    "largest_impact",
    "layer",
    "not_convex",
    "not_quoted",
    "nuisance",
    "note",
    "reason",
    "recalibrate",
    "reference",
    "relative_to",
    "route",
    "sample",
    "universe",
    "unit",
)


@dataclass(frozen=True)
class Record:
    """Everything that the page shows.

    Attributes:
        study: name of the study.
        tasks: task names in the order of the study.
        labels: axis title of each channel's observable, with its unit.
        provenance: nested plain values: seeds, digests, versions, config.
        notes: sentences on what the sample is and is not.
        tables: ``BIAS_TABLES``, ``FIT_TABLES``, ``nuisances``, ``seen`` and ``OPTIONAL_TABLES``, empty where the run
            has none (their columns: the docstrings of the rooms).
    """

    study: str
    tasks: tuple[str, ...]
    labels: Mapping[str, str]
    provenance: Mapping[str, Any]
    notes: tuple[str, ...]
    tables: Mapping[str, pd.DataFrame]

    def __getitem__(self, name: str) -> pd.DataFrame:
        """Return the table of that name."""
        return self.tables[name]

    def of(self, name: str, *, recalibrate: str | None = "none", arm: str | None = None) -> pd.DataFrame:
        """Return the rows of a table with this ``recalibrate`` (None: all) and, when given, of this arm."""
        table = self.tables[name]
        if recalibrate is not None:
            table = table[table["recalibrate"] == recalibrate]
        return table if arm is None else table[table["arm"] == arm]

    @property
    def quoted(self) -> pd.DataFrame:
        """The bias of one nuisance at a time, not recalibrated, without what too few vertices allow to quote."""
        table = self.of("bias")
        return table[(table["group"] == "unisim") & (table["not_quoted"] == "")]

    @property
    def unquoted(self) -> tuple[str, ...]:
        """Sentences on the nuisances that are not quoted: which, for which tasks, and why."""
        rows = self.tables["bias"]
        rows = rows[rows["not_quoted"] != ""]
        return tuple(
            f"{nuisance}: {reason} ({', '.join(dict.fromkeys(same['task']))})."
            for (nuisance, reason), same in groups(rows, ("nuisance", "not_quoted"))
        )

    @property
    def one_sided(self) -> tuple[str, ...]:
        """The nuisances whose parameter exists on one side of its nominal only, in the order of the bias table."""
        rows = self.tables["bias"]
        if "mirrored" not in rows:
            return ()
        return tuple(dict.fromkeys(rows.loc[(rows["group"] == "unisim") & rows["mirrored"].eq(True), "nuisance"]))

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms in the order of the bias table."""
        return tuple(dict.fromkeys(self.tables["bias"]["arm"]))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of all arms, ascending."""
        return tuple(sorted({int(seed) for seed in self.tables["bias"]["seed"]}))

    @classmethod
    def load(cls, folder: Path) -> Record:
        """Read the record that ``save`` wrote into ``folder``.

        Raises:
            RunError: a file of the record is missing or is not JSON.
        """
        path = folder / _RECORD
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{folder} holds no {_RECORD}: it is not the folder of a finished run.") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise RunError(f"{path} is not readable JSON ({error}). Run the study again to write it anew.") from error
        tables = {name: _read(folder / table_path(name)) for name in (*BIAS_TABLES, *FIT_TABLES, "nuisances")}
        for name in OPTIONAL_TABLES:
            there = folder / table_path(name)
            tables[name] = _read(there) if there.is_file() else pd.DataFrame()
        seen = folder / table_path("seen")
        tables["seen"] = _read(seen) if seen.is_file() else pd.DataFrame(columns=list(SEEN))
        return cls(
            plain["study"], tuple(plain["tasks"]), plain["labels"], plain["provenance"], tuple(plain["notes"]), tables
        )


def table_path(name: str) -> str:
    """Return where a table lies, relative to the report."""
    return f"{name}.csv" if name in ("bias", "correlation") else f"csv/{name}.csv"


def save(
    bias: Bias,
    templates: Templates | Mapping[Any, Templates] | Iterable[Templates],
    results: FitResult | Mapping[Any, FitResult] | Iterable[FitResult],
    folder: Path,
    *,
    study: str,
    provenance: Mapping[str, Any],
    notes: Sequence[str],
    detector: HasNuisances | None,
    seen: Sequence[Mapping[str, str]] = (),
) -> None:
    """Write the record into ``folder``; each file is whole or, after an error, the previous one."""
    folder.mkdir(parents=True, exist_ok=True)
    bias.save(folder)
    listed = _listed(templates)
    for name, table in fit_tables(listed, _listed(results)).items():
        write_table(folder / table_path(name), table)
    write_table(folder / table_path("nuisances"), nuisance_table(detector))
    write_table(folder / table_path("seen"), pd.DataFrame(list(seen), columns=list(SEEN)))
    labels = {channel: label for one in listed for channel, label in one.labels.items()}
    plain = {
        "study": study,
        "tasks": list(bias.tasks),
        "labels": labels,
        "provenance": dict(provenance),
        "notes": list(notes),
    }
    write_json(folder / _RECORD, plain)


def fit_tables(templates: Sequence[Templates], results: Sequence[FitResult]) -> dict[str, pd.DataFrame]:
    """Return ``FIT_TABLES``: the tables of all templates and results, one below the other."""
    findings = [
        pd.DataFrame([{name: getattr(f, name) for name in _FINDINGS} for f in t.findings], columns=list(_FINDINGS))
        for t in templates
    ]
    names = ("parameters", "impacts", "components", "decorrelated", "response")
    return {
        "templates": _stack([t.frame() for t in templates]),
        "yields": _stack([t.yields() for t in templates]),
        "constraints": _stack([t.constraints() for t in templates]),
        "findings": _stack([_owned(f, t) for f, t in zip(findings, templates, strict=True)]),
        "fits": _stack([_owned(pd.DataFrame([r.summary]), r) for r in results]),
        **{name: _stack([_owned(getattr(r, name), r) for r in results]) for name in names},
    }


def nuisance_table(detector: HasNuisances | None) -> pd.DataFrame:
    """Return one row per nuisance of the detector: nominal and both one-sigma values, source and confidence grade."""
    rows = []
    for nuisance in detector.nuisances if detector is not None else ():
        prior = nuisance.parameter
        sides = {"minus_1sigma": _value(prior, -1.0), "plus_1sigma": _value(prior, 1.0)}
        values = {name: getattr(prior, name) for name in ("nominal", "unit", "scope", "confidence", "source")}
        rows.append({"name": nuisance.name, **sides, **values})
    return pd.DataFrame(rows, columns=list(_NUISANCES))


def _value(prior: Parameter, strength: float) -> float:
    """Return the physical value at a displacement; NaN where the parameter has none on that side."""
    if strength < 0 and not prior.two_sided:
        return float("nan")
    try:
        return prior.value(strength)
    except ConfigError:
        return float("nan")


def each(table: pd.DataFrame) -> Iterator[Any]:
    """Give the rows of a table, with its columns as attributes."""
    return iter(table.itertuples(index=False))


def groups(table: pd.DataFrame, columns: Sequence[str]) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Give (values of ``columns``, rows that have them), in order of first appearance."""
    return iter(table.groupby(list(columns), sort=False))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV with nine significant digits; an empty cell is an unknown value."""
    write_text(path, table.to_csv(index=False, float_format="%.9g", lineterminator="\n"))


def _listed(value: T | Mapping[Any, T] | Iterable[T]) -> list[T]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, Iterable) else [value]


def _owned(table: pd.DataFrame, owner: Templates | FitResult) -> pd.DataFrame:
    """Return the table with columns arm, seed, recalibrate in front."""
    owned = pd.DataFrame({"arm": owner.arm, "seed": owner.seed, "recalibrate": owner.recalibrate}, index=table.index)
    return pd.concat([owned, table.drop(columns=[c for c in owned if c in table])], axis=1)


def _stack(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["arm", "seed", "recalibrate"])


def _read(path: Path) -> pd.DataFrame:
    """Read one table; empty cells of text columns are empty strings, of number columns NaN."""
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(_TEXT, "str"))
    except FileNotFoundError:
        raise RunError(f"{path} is missing: the run folder is not complete. Run the study again.") from None
    except pd.errors.EmptyDataError:
        raise RunError(f"{path} is empty. Run the study again to write it anew.") from None
    text = [c for c in table if not pd.api.types.is_numeric_dtype(table[c])]
    for column in text:
        table[column] = table[column].fillna("")
    return table
