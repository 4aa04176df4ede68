"""The code in the README and in the documentation runs as it is written."""

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from shiftlab.cli.effect_pages import catalogue_page
from shiftlab.detector import effects
from shiftlab.events import read
from shiftlab.events.sample import write_sample
from shiftlab.tasks import CANDIDATES
from shiftlab.templates.lint.table import rule_table

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "docs" / "pages"
PAGES = sorted(FOLDER.rglob("*.md"))
PEERS = {"token_models": "omnilearned"}
"""Pages whose code needs a package of the extra `peers`."""
BLOCK = re.compile(r'^```python(?: title="(?P<title>[^"]+)")?\n(?P<code>.*?)^```$', re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str | None, str]]:
    """The Python blocks of a page, with the file name that a block has when it is a file."""
    return [(found["title"], found["code"]) for found in BLOCK.finditer(page.read_text())]


def run_page(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Write the titled blocks as files and run the others as one script."""
    script = ""
    for title, code in blocks(page):
        if title:
            (folder / title).write_text(code)
        else:
            script += code
    (folder / "page.py").write_text(script)
    return subprocess.run([sys.executable, "page.py"], cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_the_code_of_a_page_runs_in_order(page, tmp_path):
    if page.stem in PEERS:
        pytest.importorskip(PEERS[page.stem])
    done = run_page(page, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_is_in_the_navigation_and_its_links_lead_somewhere(page):
    assert f": {page.relative_to(FOLDER).as_posix()}\n" in (ROOT / "docs" / "mkdocs.yml").read_text()
    for link in re.findall(r"\]\(([\w./]+\.md)(?:#[\w-]+)?\)", page.read_text()):
        assert (page.parent / link).is_file(), link


def test_the_first_commands_of_the_readme_are_make_demo_and_make_test():
    commands = re.findall(r"^\$ (make \w+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert commands[:2] == ["make demo", "make test"]


def test_the_seven_lines_of_the_readme_run_on_a_slice_of_the_sample(tmp_path):
    shipped = "studies/samples/lar_evaluation.h5"
    events = read(ROOT / shipped)
    rows: dict[str, list[int]] = defaultdict(list)
    for i, sample in enumerate(events.events.sample):
        rows[sample].append(i)
    few = {sample: 16 if sample in CANDIDATES else 4 for sample in rows}
    write_sample(
        tmp_path / shipped, events.take([i for name, all_rows in rows.items() for i in all_rows[: few[name]]]), {}
    )
    (tmp_path / "studies" / "checkpoints").symlink_to(ROOT / "studies" / "checkpoints")
    done = run_page(ROOT / "README.md", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_the_page_of_the_catalogue_is_what_the_registry_says():
    """`shiftlab list effects --markdown > docs/pages/catalogue.md` writes it again."""
    assert (FOLDER / "catalogue.md").read_text() == catalogue_page(effects())


def test_the_page_of_the_linter_has_the_rules_of_the_registry():
    """`shiftlab lint --rules` prints the table."""
    assert (FOLDER / "lint.md").read_text().endswith(f"## Rules\n\n{rule_table()}")
