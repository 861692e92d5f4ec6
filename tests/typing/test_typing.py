"""What users see of the types, by mypy and by pyright, both strict."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent

Errors = dict[str, set[int]]


def _mypy(files: list[Path]) -> tuple[Errors, str]:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--no-error-summary",
            "--hide-error-context",
            *map(str, files),
        ],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found: Errors = {file.name: set() for file in files}
    for name, line in re.findall(r"^(?:.*/)?(\w+\.py):(\d+): error:", done.stdout, re.MULTILINE):
        if name in found:
            found[name].add(int(line))
    return found, done.stdout + done.stderr


def _pyright(files: list[Path]) -> tuple[Errors, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", *map(str, files)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found: Errors = {file.name: set() for file in files}
    for diagnostic in json.loads(done.stdout)["generalDiagnostics"]:
        name = Path(diagnostic["file"]).name
        if name in found and diagnostic["severity"] == "error":
            found[name].add(diagnostic["range"]["start"]["line"] + 1)
    return found, done.stdout + done.stderr


@pytest.mark.parametrize("check", [_mypy, _pyright], ids=["mypy", "pyright"])
def test_checkers_see_what_users_are_promised(
    check: Callable[[list[Path]], tuple[Errors, str]], tmp_path: Path
) -> None:
    """Good code has no error and exactly the asserted types; bad code has errors on the marked lines alone."""
    good = _HERE / "good.py"
    bad = tmp_path / "bad.py"
    lines = (_HERE / "bad.py").read_text().splitlines()
    assert [line.startswith("# ") for line in lines[:3]] == [True, True, False]
    lines[:2] = ["# pyright: strict", ""]
    bad.write_text("\n".join(lines))
    marked = {number for number, line in enumerate(lines, start=1) if line.endswith("# error")}

    found, output = check([good, bad])

    assert found["good.py"] == set(), output
    assert found["bad.py"] == marked, output
