"""What the documents show is what happens."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.run_blocks import ROOT, blocks

DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")])
_LINK = re.compile(r"\]\((?!https?://|mailto:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
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
    reasons = [block.mark.removeprefix("not run:").strip() for block in blocks(path.read_text(encoding="utf-8")) if block.mark.startswith("not run")]

    assert all(len(reason.split()) >= 2 for reason in reasons)


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_link_within_the_project_leads_somewhere(path):
    for link in _LINK.finditer(path.read_text(encoding="utf-8")):
        target = (path.parent / link["path"]).resolve() if link["path"] else path

        assert target.exists(), link[0]
        if link["anchor"]:
            assert link["anchor"] in {anchor(text) for text in _HEADING.findall(target.read_text(encoding="utf-8"))}, link[0]


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
