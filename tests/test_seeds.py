"""`docs/from-the-seeds.md` names tests that exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.run_blocks import ROOT

_PAGE = ROOT / "docs/from-the-seeds.md"
_TEST = re.compile(r"\[`(test_\w+)`\]\(\.\./([\w/]+\.py)\)")
_ROW = re.compile(r"^\| (?!-)(.+) \|$", re.MULTILINE)
_HEADS = 3


def names_in(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(
    ("name", "path"), sorted(set(_TEST.findall(_PAGE.read_text(encoding="utf-8")))), ids=lambda text: text
)
def test_named_test_exists(name, path):
    assert name in names_in(path)


def test_every_row_names_a_test():
    rows = _ROW.findall(_PAGE.read_text(encoding="utf-8"))

    shown = [row for row in rows if _TEST.search(row)]

    assert len(shown) == len(rows) - _HEADS
