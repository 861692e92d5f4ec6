"""Today's examples fit the histories that yesterday's have recorded."""

from __future__ import annotations

import pytest

from tests.examples.histories import FOLDER, MODULES
from tests.examples.programs import ROOT, run_module

#: Examples without a workflow of their own, or whose runs are another one's.
_WITHOUT = {"__pycache__"}


def test_every_example_has_saved_histories() -> None:
    examples = {path.name for path in (ROOT / "examples").iterdir() if path.is_dir()} - _WITHOUT

    assert set(MODULES) == examples
    assert {path.name.partition("-")[0] for path in FOLDER.glob("*.json")} == examples


@pytest.mark.parametrize("example", MODULES)
def test_an_example_fits_its_saved_histories(example: str, tmp_path) -> None:
    files = sorted(FOLDER.glob(f"{example}-*.json"))

    done = run_module(
        "qwit_durable",
        "replay",
        "--store",
        "sqlite:///none.db",
        MODULES[example],
        *map(str, files),
        folder=tmp_path,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": fits\n") == len(files)
