"""What the documents show is what happens."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from qwit_durable.core import OPEN, VERBS, Status, Verb
from tests.run_blocks import ROOT, blocks

DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")])
_LINK = re.compile(r"\]\((?!https?://|mailto:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
_STATUS_ROW = re.compile(r"^\| `(\w+)` \| (yes|no) \| [^|]{8,} \|", re.MULTILINE)
_VERB_HEAD = re.compile(r"^\| Verb \| `(.+)` \|$", re.MULTILINE)
_VERB_ROW = re.compile(r"^\| `(\w+)` \| ((?:(?:yes|no) \| ){4}(?:yes|no)) \|$", re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def named(path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_python_block_runs_and_prints_what_it_says(path):
    command = [sys.executable, "-W", "error", "-m", "tests.run_blocks", str(path)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_block_that_is_not_run_says_why(path):
    reasons = [
        block.mark.removeprefix("not run:").strip()
        for block in blocks(path.read_text(encoding="utf-8"))
        if block.mark.startswith("not run")
    ]

    assert all(len(reason.split()) >= 2 for reason in reasons)


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_link_within_the_project_leads_somewhere(path):
    for link in _LINK.finditer(path.read_text(encoding="utf-8")):
        target = (path.parent / link["path"]).resolve() if link["path"] else path

        assert target.exists(), link[0]
        if link["anchor"]:
            assert link["anchor"] in {
                anchor(text) for text in _HEADING.findall(target.read_text(encoding="utf-8"))
            }, link[0]


def test_every_page_is_reached_from_the_readme_and_listed_in_the_index():
    readme, index = ROOT / "README.md", ROOT / "docs/index.md"

    reached = {readme}
    while new := {page for known in reached for page in linked_from(known)} - reached:
        reached |= new

    assert set(DOCUMENTS) - reached == set()
    assert set(ROOT.glob("docs/*.md")) - linked_from(index) == {index}


def linked_from(page):
    """The documents that a page leads to."""
    text = page.read_text(encoding="utf-8")
    return {(page.parent / link["path"]).resolve() for link in _LINK.finditer(text) if link["path"]} & {
        *DOCUMENTS
    }


def test_every_workflow_pattern_has_a_body_of_its_own():
    text = (ROOT / "docs/patterns.md").read_text(encoding="utf-8")

    shown = re.findall(
        r"^### WCP-(\d+) [^\n]+\n\n(?:[^\n]+\n)*\n*```python\n(.*?)```", text, re.MULTILINE | re.DOTALL
    )

    assert sorted(int(number) for number, _ in shown) == list(range(1, 44))
    assert all("@workflow" in body or "cancel" in body for _, body in shown)
    assert all("assert " in body for _, body in shown)


def test_the_operators_page_has_the_statuses_and_verbs_of_the_code():
    text = (ROOT / "docs/operators.md").read_text(encoding="utf-8")

    statuses = {Status(name): is_open == "yes" for name, is_open in _STATUS_ROW.findall(text)}
    columns = [Status(name) for name in _VERB_HEAD.search(text)[1].split("` | `")]
    verbs = {
        Verb(name): {
            status for status, cell in zip(columns, cells.split(" | "), strict=True) if cell == "yes"
        }
        for name, cells in _VERB_ROW.findall(text)
    }

    assert statuses == {status: status in OPEN for status in Status}
    assert verbs == {verb: set(statuses) for verb, statuses in VERBS.items()}


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
