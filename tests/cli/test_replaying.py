"""Today's code, tried on saved histories and on open runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qwit_durable.language import Workflow, sleep, wait_signal
from tests.cli import shop
from tests.cli.desk import Desk


@pytest.fixture
def busy(desk: Desk) -> Desk:
    """A store with a run that waits, and one that has ended."""
    desk.type("start", "tests.cli.shop:approval", '["a"]', "--id", "a-1")
    desk.type("start", "tests.cli.shop:checkout", '{"order": {"id": "o-1"}}', "--id", "o-1")
    desk.work()
    return desk


def changed(name: str) -> Workflow[Any]:
    yield from wait_signal(f"approved by the boss of {name}")
    yield from sleep(0)  # type: ignore[arg-type]


def test_a_saved_history_fits_the_code_that_wrote_it(busy: Desk) -> None:
    path = busy.folder / "o-1.json"
    path.write_text(busy.type("history", "o-1", "--saved").stdout, encoding="utf-8")

    result = busy.type("replay", "tests.cli.shop:checkout", str(path))

    assert (result.exit_code, result.stdout) == (0, "o-1: fits\n")


def test_without_files_the_open_runs_are_tried(busy: Desk) -> None:
    found = busy.ask("replay", "tests.cli.shop")

    assert {(one["id"], one["fits"]) for one in found} == {("a-1", True)}


def test_code_that_does_not_fit_is_reported(busy: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop.approval, "fn", changed)

    result = busy.type("replay", "tests.cli.shop")
    (told,) = busy.ask("replay", "tests.cli.shop")

    assert result.exit_code == 1
    assert "the history of run a-1 does not match today's workflow 'approval' at position 0." in result.stdout
    assert "recorded: signal 'approved'" in result.stdout
    assert (told["position"], told["fits"]) == ("0", False)
    assert busy.ask("explain", "a-1")["status"] == "running"


def test_a_file_that_is_none_is_told_on_one_line(busy: Desk, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps([1]), encoding="utf-8")

    result = busy.type("replay", "tests.cli.shop", str(path))

    assert result.exit_code == 1
    assert "other.json" in result.stderr


def test_a_module_without_the_workflow_is_told(busy: Desk) -> None:
    path = busy.folder / "o-1.json"
    path.write_text(
        busy.type("history", "o-1", "--saved").stdout.replace('"checkout"', '"gone"'), encoding="utf-8"
    )

    result = busy.type("replay", "tests.cli.shop", str(path))

    assert result.exit_code == 1
    assert "has no workflow 'gone'" in result.stderr
