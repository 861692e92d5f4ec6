"""The benchmark works; what it measures is no matter here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks import steps

ROOT = Path(__file__).resolve().parent.parent


def test_the_benchmark_prints_a_figure_for_each_scenario(tmp_path: Path):
    """Tiny sizes, one round."""
    file = tmp_path / "figures.json"

    done = subprocess.run(
        [sys.executable, "benchmarks/steps.py", "--quick", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())
    assert all(value > 0 for values in figures["rounds"].values() for value in values)
    assert set(figures["ratios"]) == set(steps.RATIOS)
    assert figures["conditions"]["fsync"] in ("on", "off")
    for name in (*figures["rounds"], *figures["ratios"]):
        assert name in done.stdout


def test_the_benchmark_of_lanes_prints_a_line_for_each_store_and_shape():
    """Tiny sizes, one round."""
    done = subprocess.run(
        [sys.executable, "benchmarks/lanes.py", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == ["SQLite"] * 3 + ["Postgres"] * 3
