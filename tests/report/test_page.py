"""The page stands alone, is the same for the same tables, and says what the tables say."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from shiftlab.errors import RunError
from shiftlab.report import report_from_folder
from shiftlab.report.blocks import Picture
from shiftlab.report.correlation_figures import correlation_matrices
from shiftlab.report.fit_sections import templates_section
from shiftlab.report.headline import answers, fit_effect, headline, largest_bias, mean_correlation, strongest_pair
from shiftlab.report.page import render
from shiftlab.report.record import Record
from shiftlab.report.sections import headline_section
from shiftlab.report.wording import fixed, interval, with_error

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """The tags of a page with their attributes, and the tags left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def written(module_synthetic: Callable[..., Path]) -> Path:
    return report_from_folder(module_synthetic(("foundation", "classic")))


@pytest.fixture(scope="module")
def page(written: Path) -> Page:
    return Page(written.read_text())


def test_nothing_is_loaded_from_outside_the_file(page: Page, written: Path) -> None:
    loaded = [a.get("src") or "" for tag in ("img", "script", "iframe", "source") for a in page.all(tag)]
    loaded += [a.get("href") or "" for a in page.all("link")]
    assert loaded
    assert all(source.startswith("data:") for source in loaded)
    assert not page.all("script")
    style = re.search(r"<style>(.*?)</style>", written.read_text(), re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_links_are_anchors_or_files_beside_the_page(page: Page, written: Path) -> None:
    anchors = {a["id"] for a in page.all("section")}
    links = [a["href"] or "" for a in page.all("a")]
    assert anchors
    assert {link[1:] for link in links if link.startswith("#")} == anchors
    files = {link for link in links if not link.startswith("#")}
    assert all((written.parent / file).is_file() for file in files)
    assert {"bias.csv", "correlation.csv", "csv/templates.csv", "csv/impacts.csv"} <= files


def test_every_figure_has_alternative_text_a_caption_and_its_numbers(page: Page, written: Path) -> None:
    figures = re.findall(r"<figure>(.*?)</figure>", written.read_text(), re.DOTALL)
    assert len(figures) == len(page.all("img")) >= 12
    for figure in figures:
        assert re.search(r'alt="[^"]{20,}"', figure)
        assert re.search(r"<figcaption>.{20,}", figure)
        assert 'href="' in figure


def test_the_page_is_well_formed_and_small(page: Page, written: Path) -> None:
    assert page.open == []
    assert page.tags[0][0] == "html"
    assert written.stat().st_size < 5_000_000


def test_figures_drawn_again_from_the_same_tables_are_those_in_the_page(written: Path) -> None:
    record, text = Record.load(written.parent), written.read_text()
    for block in (*headline_section(record).blocks, *templates_section(record).blocks):
        assert not isinstance(block, Picture) or block.source in text


def test_a_small_study_is_drawn_and_its_name_is_not_read_as_html(synthetic: Callable[..., Path]) -> None:
    """One arm, one seed, no joint and no recalibrated universes."""
    folder = synthetic(("foundation",), (0,), mip=False, joint=False)
    plain = folder / "report.json"
    plain.write_text(plain.read_text().replace('"synthetic"', '"<script>alert(1)</script>"'))
    page = Page(report_from_folder(folder).read_text())
    assert page.open == []
    assert not page.all("script")
    assert "nan" not in {word.strip("[],.;") for text in page.text for word in text.split()}


def test_the_headline_states_the_numbers_of_the_tables(page: Page, written: Path) -> None:
    record = Record.load(written.parent)
    text = " ".join(" ".join(page.text).split())
    for arm in record.arms:
        for row in largest_bias(record, arm).itertuples():
            assert with_error(row.bias_over_sigma_data, row.bias_error / row.sigma_data) in text
        for row in strongest_pair(record, arm).itertuples():
            assert interval(row.rho, row.lo, row.hi) in text
        for row in fit_effect(record, arm).itertuples():
            assert with_error(row.injected_shift, row.injected_shift_error) in text
        for value in mean_correlation(record, arm):
            assert f"mean {fixed(value, 2)}" in text


def test_the_largest_bias_is_the_largest_that_is_not_mc_limited(record: Record) -> None:
    for arm in record.arms:
        rows = largest_bias(record, arm)
        table = record.of("bias", arm=arm)
        size = table["bias_over_sigma_data"].abs().groupby([table["task"], table["universe"]]).mean()
        assert rows["bias_over_sigma_data"].abs().mean() == pytest.approx(size.max())
        assert not rows["mc_limited"].any()
        assert list(rows["seed"]) == list(record.seeds)


def test_a_bias_below_its_monte_carlo_error_is_no_headline(record: Record) -> None:
    bias = record["bias"].assign(mc_limited=True)
    limited = Record(**{**vars(record), "tables": {**record.tables, "bias": bias}})
    assert largest_bias(limited, record.arms[0]).empty
    assert "No bias exceeds its Monte Carlo error" in headline(limited)[0].sentences[0]


def test_the_answer_says_when_arms_cannot_be_told_apart(record: Record) -> None:
    excess = record["excess"].assign(lo=-0.1)
    same = Record(**{**vars(record), "tables": {**record.tables, "excess": excess}})
    assert any("not distinguishable from zero" in sentence for sentence in answers(same))
    assert any("zero lies outside" in sentence for sentence in answers(record))


def test_the_injected_shift_is_named(record: Record) -> None:
    assert any("gain_scale +1.0σ and lifetime_tau −1.0σ" in sentence for sentence in answers(record))


def test_three_seeds_have_one_row_of_matrices_each(synthetic: Callable[..., Path]) -> None:
    record = Record.load(synthetic(("foundation", "classic"), (0, 1, 2)))
    figure = correlation_matrices(record.of("correlation"), record.tasks, record.arms)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:6] == [f"{arm}, seed {seed}" for seed in (0, 1, 2) for arm in ("foundation", "classic")]
    assert len(headline_section(record).blocks) == 3 + len(record.arms)


def test_a_folder_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not the folder of a finished run"):
        report_from_folder(tmp_path)


def test_a_missing_table_is_named_and_the_old_page_stays(synthetic: Callable[..., Path]) -> None:
    folder = synthetic(("foundation",), (0,))
    (folder / "report.html").write_text("old")
    (folder / "csv" / "impacts.csv").unlink()
    with pytest.raises(RunError, match=r"impacts\.csv is missing"):
        report_from_folder(folder)
    assert (folder / "report.html").read_text() == "old"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_lays_the_page_out_without_overflow_or_errors(written: Path, tmp_path: Path) -> None:
    probe = (
        "<script>addEventListener('load', () => { document.title = [document.documentElement.scrollWidth, innerWidth,"
        " [...document.images].every(i => i.complete && i.naturalWidth > 0)].join(' ') })</script>"
    )
    copy = tmp_path / "probe.html"
    copy.write_text(written.read_text().replace("</body>", f"{probe}</body>"))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1100,900", "--enable-logging=stderr"]
    shown = subprocess.run([*command, "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=120)
    title = re.search(r"<title>(\d+) (\d+) (\w+)</title>", shown.stdout)
    assert title, shown.stderr
    assert int(title[1]) <= int(title[2])
    assert title[3] == "true"
    assert "CONSOLE" not in shown.stderr


def test_the_answer_limits_what_event_noise_hides(record: Record) -> None:
    """A task without a correlation moved by less than a stated size: a null result with its limit."""
    assert any("segmentation below 0.7 (foundation, scratch and classic)" in line for line in answers(record))


def test_a_study_of_one_task_has_a_page(synthetic: Callable[..., Path]) -> None:
    """One task has nothing to move together with; the page says so, and draws the rest."""
    record = Record.load(synthetic(("foundation", "classic"), (0,)))
    only = {name: _of_task(table, "energy") for name, table in record.tables.items()}
    page = render(replace(record, tasks=("energy",), tables=only))
    assert "One task has nothing to move together with" in page


def _of_task(table: pd.DataFrame, task: str) -> pd.DataFrame:
    for column in ("task", "task_a", "channel"):
        if column in table:
            table = table[table[column] == task]
    return table
