"""What a page is made of: sections of paragraphs, figures with alternative text, and tables."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

from shiftlab.report.style import svg
from shiftlab.report.wording import fixed

__all__ = ["Block", "Picture", "Section", "Sheet", "Text", "picture", "sheet"]


@dataclass(frozen=True)
class Text:
    """Sentences: one paragraph, or with ``listed`` a list of them; ``lead`` stands before them in bold."""

    lines: tuple[str, ...]
    listed: bool = False
    lead: str = ""
    kind: str = field(default="text", init=False)


@dataclass(frozen=True)
class Picture:
    """A figure: ``source`` is a data URI, ``alt`` says what it shows, ``files`` are the CSV files of its numbers."""

    source: str
    alt: str
    caption: str
    files: tuple[str, ...]
    width: int
    folded: str = ""
    kind: str = field(default="picture", init=False)


@dataclass(frozen=True)
class Sheet:
    """A table; each cell is a list of lines. With ``folded`` it is shown on demand under that title."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], ...], ...]
    files: tuple[str, ...] = ()
    folded: str = ""
    kind: str = field(default="sheet", init=False)


Block = Text | Picture | Sheet


@dataclass(frozen=True)
class Section:
    """A part of the page with its place in the list of contents."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


def picture(figure: Figure, alt: str, caption: str, files: Sequence[str], *, folded: str = "") -> Picture:
    """Return the figure as an embedded SVG image; ``folded`` puts it under a title to be opened."""
    encoded = base64.b64encode(svg(figure).encode()).decode()
    width = round(96 * figure.get_figwidth())
    return Picture(f"data:image/svg+xml;base64,{encoded}", alt, caption, tuple(files), width, folded)


def sheet(table: pd.DataFrame, caption: str, files: Sequence[str] = (), *, places: int = 3, folded: str = "") -> Sheet:
    """Return a table with its numbers rounded to ``places`` decimals; truth values become yes and no."""
    columns = tuple(str(column).replace("_", " ") for column in table)
    rows = tuple(tuple((_cell(value, places),) for value in row) for row in table.itertuples(index=False))
    return Sheet(caption, columns, rows, tuple(files), folded)


def _cell(value: object, places: int) -> str:
    if isinstance(value, bool) or type(value).__name__ == "bool":
        return "yes" if value else "no"
    if isinstance(value, float):
        return fixed(value, places) if value == 0 or abs(value) >= 10.0**-places else f"{value:.2g}".replace("-", "−")
    return str(value)
