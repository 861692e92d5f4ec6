"""What a person does to runs: signals, and the verbs."""

from __future__ import annotations

import pytest

from tests.cli import shop
from tests.cli.desk import Desk


@pytest.fixture(autouse=True)
def nothing_is_broken() -> None:
    shop.broken.clear()


@pytest.fixture
def waiting(desk: Desk) -> Desk:
    """A store with a run that waits for a signal."""
    desk.type("start", "tests.cli.shop:approval", '["a"]', "--id", "a-1")
    desk.work()
    return desk


@pytest.fixture
def stuck(desk: Desk) -> Desk:
    """A store with a run that is stuck over an undo."""
    shop.broken.add("refund")
    desk.type("start", "tests.cli.shop:checkout", '{"order": {"id": "o-1"}, "fails": true}', "--id", "o-1")
    desk.work()
    assert status(desk, "o-1") == "stuck"
    return desk


def status(desk: Desk, run: str) -> str:
    found: str = desk.ask("explain", run)["status"]
    return found


def test_a_signal_lets_the_run_go_on(waiting: Desk) -> None:
    result = waiting.type("signal", "a-1", "approved", '"yes"')
    waiting.work()

    assert (result.exit_code, result.stdout) == (0, "a-1: signal; it is running\n")
    assert waiting.ask("show", "a-1")["value"] == "yes"


def test_a_signal_with_the_same_dedupe_id_is_sent_once(waiting: Desk) -> None:
    for _ in range(2):
        waiting.type("signal", "a-1", "other", "1", "--dedupe-id", "d")

    events = [entry["event"] for entry in waiting.ask("history", "a-1")["entries"]]
    assert events.count("received") == 1


def test_a_signal_that_is_no_json_is_not_sent(waiting: Desk) -> None:
    result = waiting.type("signal", "a-1", "approved", "yes")

    assert result.exit_code == 2
    assert "no JSON" in result.stderr


def test_cancel_ends_the_run_with_the_reason(waiting: Desk) -> None:
    waiting.type("cancel", "a-1", "--reason", "too late")
    waiting.work()

    found = waiting.ask("show", "a-1")
    assert found["status"] == "cancelled"
    assert found["error"]["message"] == "too late"


def test_cancel_without_compensation_undoes_nothing(desk: Desk) -> None:
    desk.type("start", "tests.cli.shop:checkout", '[{"id": "o-1"}]', "--id", "o-1")
    desk.type("cancel", "o-1", "--no-compensate")

    desk.work()

    assert (status(desk, "o-1"), desk.ask("show", "o-1")["undone"]) == ("cancelled", [])


def test_pause_and_resume(waiting: Desk) -> None:
    waiting.type("pause", "a-1", "--reason", "stock-taking")
    assert waiting.ask("explain", "a-1")["reason"]["text"] == "stock-taking"

    result = waiting.type("resume", "a-1")

    assert result.exit_code == 0
    assert status(waiting, "a-1") == "running"


def test_terminate_stops_the_run_where_it_stands(waiting: Desk) -> None:
    result = waiting.type("terminate", "a-1", "--reason", "enough")

    assert result.stdout == "a-1: terminate; it is terminated\n"
    assert waiting.ask("show", "a-1")["error"]["message"] == "enough"


def test_retry_lets_a_stuck_run_try_again(stuck: Desk) -> None:
    shop.broken.clear()

    stuck.type("retry", "o-1", "--reason", "the bank is open")
    stuck.work()

    assert status(stuck, "o-1") == "compensated"


def test_skip_takes_what_a_run_is_stuck_over_as_done(stuck: Desk) -> None:
    result = stuck.type("skip", "o-1", "--value", '{"by": "telephone"}')
    stuck.work()

    assert result.exit_code == 0
    assert status(stuck, "o-1") == "compensated"
    entries = stuck.ask("history", "o-1")["entries"]
    assert [entry["value"] for entry in entries if entry["event"] == "skip"] == [{"by": "telephone"}]


def test_several_runs_are_acted_on_at_once_and_one_that_can_not_be_holds_up_nobody(waiting: Desk) -> None:
    result = waiting.type("cancel", "nobody", "a-1", "--json")
    found = waiting.ask("cancel", "nobody", "a-1")

    assert result.exit_code == 1
    assert [each["id"] for each in found] == ["nobody", "a-1"]
    assert found[0]["error"]["type"] == "RunNotFound"
    assert found[0]["status"] is None
    assert found[1] == {"id": "a-1", "asked": "cancel", "status": "running", "error": None}


def test_a_verb_that_the_status_does_not_allow_is_refused_on_one_line(waiting: Desk) -> None:
    result = waiting.type("retry", "a-1")

    assert result.exit_code == 1
    assert result.stderr == (
        "qwit retry: run a-1 is running: it can't be asked to retry; possible now: "
        "signal, cancel, terminate, pause, resume, rollback\n"
    )


def test_a_verb_needs_a_run(desk: Desk) -> None:
    assert desk.type("cancel").exit_code == 2


def test_rollback_undoes_what_a_waiting_run_did(desk: Desk) -> None:
    desk.type("start", "tests.cli.shop:counting", '{"rows": 2}', "--id", "c-1")
    desk.work()

    result = desk.type("rollback", "c-1", "--reason", "the shop is closed")
    desk.work()

    found = desk.ask("show", "c-1")
    assert (result.exit_code, result.stdout) == (0, "c-1: rollback; it is running\n")
    assert (found["status"], found["undone"]) == ("compensated", ["charge", "charge"])
    assert found["error"]["message"] == "the shop is closed"


def test_rollback_tries_again_the_undo_that_gave_up(stuck: Desk) -> None:
    shop.broken.clear()

    stuck.type("rollback", "o-1")
    stuck.work()

    assert status(stuck, "o-1") == "compensated"


def test_rollback_said_twice_is_accepted_and_said_to_others_that_have_ended_is_not(desk: Desk) -> None:
    for key in ("c-1", "c-2"):
        desk.type("start", "tests.cli.shop:counting", '{"rows": 1}', "--id", key)
    desk.work()
    desk.type("rollback", "c-1")
    desk.type("cancel", "c-2")
    desk.work()

    again = desk.ask("rollback", "c-1", "c-2")

    assert [(one["id"], one["status"], one["error"] is None) for one in again] == [
        ("c-1", "compensated", True),
        ("c-2", "cancelled", False),
    ]
