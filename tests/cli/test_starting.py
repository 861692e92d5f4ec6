"""`run`, `start` and `watch`."""

from __future__ import annotations

import json

import pytest

from tests.cli import shop
from tests.cli.desk import Desk

CHECKOUT = "tests.cli.shop:checkout"
APPROVAL = "tests.cli.shop:approval"


@pytest.fixture(autouse=True)
def nothing_is_broken() -> None:
    shop.broken.clear()


# -- run -------------------------------------------------------------------------------------------------------


def test_run_prints_the_value_and_tells_its_progress_beside_it(desk: Desk) -> None:
    result = desk.type("run", CHECKOUT, '{"order": {"id": "o-1"}, "note": "!"}')

    assert result.exit_code == 0
    assert json.loads(result.stdout) == "shipped o-1!"
    assert 'step charge completed {"cents": 100, "order_id": "o-1"} → "payment-o-1"' in result.stderr
    assert 'checkout completed → "shipped o-1!"' in result.stderr


def test_run_takes_arguments_by_place(desk: Desk) -> None:
    assert desk.ask("run", CHECKOUT, '[{"id": "o-1"}, "?"]')["value"] == "shipped o-1?"


def test_run_takes_arguments_from_standard_input(desk: Desk) -> None:
    assert desk.ask("run", CHECKOUT, "-", stdin='{"order": {"id": "o-2"}}')["value"] == "shipped o-2"


@pytest.mark.parametrize(("args", "value"), [("[1, 2, 3]", 6), ('{"a": 1, "b": 5}', 6), ("{}", 0)])
def test_run_takes_as_many_arguments_as_the_workflow_does(desk: Desk, args: str, value: int) -> None:
    assert desk.ask("run", "tests.cli.shop:sum_up", args)["value"] == value


def test_run_of_a_failing_workflow_says_why_and_exits_with_1(desk: Desk) -> None:
    result = desk.type("run", CHECKOUT, '{"order": {"id": "o-1", "cents": -1}}', "--id", "o-1")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert "ValueError: declined: [bold]no[/bold]" in result.stderr
    assert result.stderr.splitlines()[-1] == "run o-1 of workflow 'checkout' is failed"


def test_run_in_json_is_one_object(desk: Desk) -> None:
    result = desk.type("run", CHECKOUT, '{"order": {"id": "o-1"}, "fails": true}', "--json")
    found = json.loads(result.stdout)

    assert result.exit_code == 1
    assert result.stderr == ""
    assert found["status"] == "compensated"
    assert found["error"]["cause"]["message"] == "boom"
    assert found["undone"] == ["charge"]


def test_run_of_a_run_that_ended_prints_its_value_again(desk: Desk) -> None:
    first = desk.type("run", CHECKOUT, '{"order": {"id": "o-1"}}', "--id", "o-1")

    again = desk.type("run", CHECKOUT, '{"order": {"id": "o-1"}}', "--id", "o-1")

    assert (again.exit_code, again.stdout) == (0, first.stdout)
    assert len(desk.ask("ls")) == 1


def test_run_under_an_id_with_another_input_is_refused_on_one_line(desk: Desk) -> None:
    desk.type("run", CHECKOUT, '{"order": {"id": "o-1"}}', "--id", "o-1")

    again = desk.type("run", CHECKOUT, '{"order": {"id": "o-2"}}', "--id", "o-1")

    assert again.exit_code == 1
    assert len(again.stderr.splitlines()) == 1
    assert "with another input" in again.stderr


def test_run_stops_at_a_run_that_needs_a_person(desk: Desk) -> None:
    shop.broken.add("refund")

    result = desk.type("run", CHECKOUT, '{"order": {"id": "o-1"}, "fails": true}', "--id", "o-1")

    assert result.exit_code == 1
    assert "qwit retry o-1" in result.stderr
    assert desk.ask("ls", "--status", "stuck")[0]["id"] == "o-1"


def test_run_leaves_after_its_timeout_and_says_what_it_waits_for(desk: Desk) -> None:
    result = desk.type("run", APPROVAL, '["a"]', "--id", "a-1", "--timeout", "1ms")

    assert result.exit_code == 1
    assert "run a-1 of workflow 'approval' is running" in result.stderr
    assert "it stays in the store" in result.stderr


# -- what is typed wrongly -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "code", "message"),
    [
        (("tests.cli.shop",), 2, "write module:workflow"),
        (("tests.cli.nowhere:checkout",), 1, "there is no module 'tests.cli.nowhere'"),
        (
            ("tests.cli.shop:nothing",),
            1,
            "workflows of tests.cli.shop: approval, checkout, counting, ship, signing, sum_up",
        ),
        (("tests.cli.shop:charge",), 1, "is a step, not a workflow"),
        ((CHECKOUT, "{bad"), 2, "no JSON"),
        ((CHECKOUT, "3"), 2, "an object (arguments by name) or an array (by place)"),
        ((CHECKOUT, "{}"), 2, "missing a required argument: 'order'"),
        ((CHECKOUT, '{"ordre": 1}'), 2, "checkout(order:"),
        ((CHECKOUT, '{"order": {"cents": 1}}'), 2, "order.id is missing and has no default"),
        ((CHECKOUT, "[]", "--timeout", "5"), 2, "write a number and its unit"),
        ((CHECKOUT, "[]", "--attribute", "x"), 2, "write NAME=VALUE"),
        ((CHECKOUT, "[]", "--no-such"), 2, "No such option"),
        ((CHECKOUT, '[{"id": "x"}]', "--id", "x" * 300), 2, "id has 1 to 255 characters"),
    ],
)
def test_a_mistake_is_told_on_one_line(desk: Desk, typed: tuple[str, ...], code: int, message: str) -> None:
    result = desk.type("run", *typed)

    assert result.exit_code == code, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr


def test_a_mistake_in_json_is_one_object(desk: Desk) -> None:
    result = desk.type("run", CHECKOUT, "{bad", "--json")

    assert result.stdout == ""
    assert json.loads(result.stderr)["error"]["type"] == "UsageError"


def test_a_module_that_fails_while_it_is_imported_is_named_with_its_line(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk.folder / "broken_shop.py").write_text("import sys\n\n1 / 0\n", encoding="utf-8")
    monkeypatch.chdir(desk.folder)

    result = desk.type("run", "broken_shop:checkout")

    assert result.exit_code == 1
    assert "ZeroDivisionError: division by zero" in result.stderr
    assert "broken_shop.py, line 3)" in result.stderr


# -- start -----------------------------------------------------------------------------------------------------


def test_start_prints_the_id_and_leaves_the_run_to_workers(desk: Desk) -> None:
    result = desk.type("start", CHECKOUT, '[{"id": "o-1"}]', "--id", "o-1")

    assert (result.exit_code, result.stdout) == (0, "o-1\n")
    assert desk.ask("ls")[0]["status"] == "running"

    desk.work()

    assert desk.ask("ls")[0]["status"] == "completed"


def test_start_takes_attributes_a_delay_and_a_deadline(desk: Desk) -> None:
    given = ("--attribute", "zip=01234", "--attribute", "n=3", "--delay", "2h", "--deadline", "1d")

    found = desk.ask("start", CHECKOUT, '[{"id": "o-1"}]', *given)
    explanation = desk.ask("explain", found["id"])

    assert found["status"] == "scheduled"
    assert found["attributes"] == {"zip": "01234", "n": 3}
    assert explanation["deadline_at"] is not None
    assert explanation["waits"][0]["kind"] == "start"


def test_start_takes_a_moment_with_its_time_zone(desk: Desk) -> None:
    naive = desk.type("start", APPROVAL, '["a"]', "--at", "2099-01-01T00:00:00")
    aware = desk.ask("start", APPROVAL, '["a"]', "--at", "2099-01-01T00:00:00Z")

    assert naive.exit_code == 2
    assert "has no time zone" in naive.stderr
    assert desk.ask("explain", aware["id"])["waits"][0]["until"] == "2099-01-01T00:00:00Z"


def test_start_refuses_a_delay_and_a_moment_together(desk: Desk) -> None:
    result = desk.type("start", APPROVAL, '["a"]', "--at", "2099-01-01T00:00:00Z", "--delay", "1h")

    assert result.exit_code == 2
    assert "delay and at" in result.stderr


def test_start_fails_at_an_id_that_is_taken_if_told_to(desk: Desk) -> None:
    desk.type("start", APPROVAL, '["a"]', "--id", "a-1")

    again = desk.type("start", APPROVAL, '["a"]', "--id", "a-1", "--on-conflict", "fail")

    assert again.exit_code == 1
    assert "exists already" in again.stderr


# -- watch -----------------------------------------------------------------------------------------------------


def test_watch_shows_the_last_entries_and_the_value(desk: Desk) -> None:
    desk.type("run", CHECKOUT, '[{"id": "o-1"}]', "--id", "o-1")

    result = desk.type("watch", "o-1", "--events", "1")

    assert (result.exit_code, result.stdout) == (0, '"shipped o-1"\n')
    assert len(result.stderr.splitlines()) == 2
    assert "workflow ship completed" in result.stderr


def test_watch_in_json_is_an_object_for_each_entry_and_one_for_the_run(desk: Desk) -> None:
    desk.type("run", CHECKOUT, '[{"id": "o-1"}]', "--id", "o-1")

    lines = [json.loads(line) for line in desk.type("watch", "o-1", "--json").stdout.splitlines()]

    assert [line["entry"]["event"] for line in lines[:-1]] == [
        *("started", "completed", "scheduled", "completed", "completed")
    ]
    assert lines[-1]["value"] == "shipped o-1"


def test_watch_of_a_run_that_failed_exits_with_1(desk: Desk) -> None:
    desk.type("run", CHECKOUT, '[{"id": "o-1", "cents": -1}]', "--id", "o-1")

    result = desk.type("watch", "o-1")

    assert result.exit_code == 1
    assert "is failed" in result.stderr


def test_watch_stops_at_a_run_that_needs_a_person(desk: Desk) -> None:
    shop.broken.add("refund")
    desk.type("run", CHECKOUT, '{"order": {"id": "o-1"}, "fails": true}', "--id", "o-1")

    result = desk.type("watch", "o-1")

    assert result.exit_code == 1
    assert "qwit skip o-1" in result.stderr


def test_watch_leaves_after_its_timeout(desk: Desk) -> None:
    desk.type("start", APPROVAL, '["a"]', "--id", "a-1")

    result = desk.type("watch", "a-1", "--timeout", "1ms")

    assert result.exit_code == 1
    assert "no worker is alive" in result.stderr
