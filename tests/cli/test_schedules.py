"""`qwit schedule` and `qwit prune`."""

from __future__ import annotations

import pytest

from tests.cli.desk import Desk

ORDER = '{"order": {"id": "a"}}'


@pytest.fixture
def hourly(desk: Desk) -> None:
    made = desk.ask("schedule", "create", "hourly", "tests.cli.shop:checkout", ORDER, "--every", "1h")

    assert (made["id"], made["due"], made["args"]["order"]["id"]) == ("hourly", "every 1:00:00", "a")


def test_a_schedule_is_made_listed_and_shown(desk: Desk, hourly: None) -> None:
    listed, shown = desk.type("schedule", "ls"), desk.type("schedule", "show", "hourly")

    assert "hourly" in listed.stdout
    assert "warning: no worker is alive to fire it" in listed.stderr
    assert shown.stdout.startswith("schedule hourly: active\n")
    assert [found["id"] for found in desk.ask("schedule", "ls")] == ["hourly"]


def test_a_schedule_is_paused_resumed_and_removed(desk: Desk, hourly: None) -> None:
    assert desk.ask("schedule", "pause", "hourly", "--note", "why") == {"id": "hourly", "done": "paused"}
    paused = desk.ask("schedule", "show", "hourly")
    assert desk.type("schedule", "resume", "hourly").stdout == "schedule hourly resumed\n"
    resumed = desk.ask("schedule", "show", "hourly")
    desk.type("schedule", "rm", "hourly")
    gone = desk.type("schedule", "show", "hourly")

    assert (paused["is_paused"], paused["note"], resumed["is_paused"]) == (True, "why", False)
    assert gone.exit_code == 1
    assert gone.stderr.startswith("qwit: no schedule 'hourly' in namespace 'default'; ")


def test_a_schedule_is_run_now_and_backfilled(desk: Desk, hourly: None) -> None:
    run = desk.ask("schedule", "run", "hourly")
    filled = desk.ask("schedule", "backfill", "hourly", "2026-01-01T00:00:00Z", "2026-01-01T02:30:00Z")

    assert run["attributes"]["schedule"] == "hourly"
    assert filled == [f"hourly@2026-01-01T0{hour}:00:00Z" for hour in range(3)]
    assert len(desk.ask("ls")) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cron", "99 * * * *"], "no cron expression"),
        ([], "give either cron= or every="),
        (["--every", "1h", "--timezone", "Mars"], "no time zone 'Mars'"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_a_mistake_of_the_line(desk, options, message) -> None:
    result = desk.type("schedule", "create", "hourly", "tests.cli.shop:checkout", ORDER, *options)

    assert result.exit_code == 2
    assert message in result.stderr


def test_old_runs_are_pruned(desk: Desk) -> None:
    desk.type("start", "tests.cli.shop:checkout", ORDER, "--id", "old")
    desk.type("terminate", "old")

    kept = desk.type("prune", "--older-than", "1d")
    gone = desk.ask("prune", "--older-than", "0s")

    assert kept.stdout == "removed 0 runs and 0 sub-workflows\n"
    assert gone["roots"] == 1
    assert desk.ask("ls") == []
