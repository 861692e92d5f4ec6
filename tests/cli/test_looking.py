"""`ls`, `show`, `history` and `explain`: what they print, and the names of what they give to programs."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from qwit_durable.client import Run
from qwit_durable.client.entries import Entry
from qwit_durable.client.explaining import Explanation, Wait
from tests.cli import shop
from tests.cli.desk import Desk

RUN = {field.name for field in attrs.fields(Run)}
IN_FULL = RUN | {"args", "value", "undone", "published"}


@pytest.fixture
def busy(desk: Desk) -> Desk:
    """A store with a run that completed, one that failed and one that waits for a signal."""
    shop.broken.clear()
    desk.type(
        "start", "tests.cli.shop:checkout", '[{"id": "o-1"}]', "--id", "good", "--attribute", "customer=ann"
    )
    desk.type("start", "tests.cli.shop:checkout", '[{"id": "o-2", "cents": -1}]', "--id", "bad")
    desk.type("start", "tests.cli.shop:approval", '["a"]', "--id", "open", "--attribute", "urgent=true")
    desk.work()
    return desk


def names(value: Any) -> set[str]:
    return set(value)


def test_ls_lists_runs_newest_first(busy: Desk) -> None:
    lines = busy.type("ls").stdout.splitlines()

    assert lines[0].split() == ["id", "workflow", "status", "started", "updated", "attributes", "error"]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["open", "approval", "running"],
        ["bad", "checkout", "failed"],
        ["good", "checkout", "completed"],
    ]
    assert "ValueError: declined: [bold]no[/bold]" in lines[2]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--status", "failed"), ["bad"]),
        (("--status", "failed", "--status", "running"), ["open", "bad"]),
        (("--workflow", "approval"), ["open"]),
        (("--workflow", "nothing"), []),
        (("--attribute", "customer=ann"), ["good"]),
        (("--attribute", "urgent=true"), ["open"]),
        (("--attribute", 'urgent="true"'), []),
        (("--attribute", "customer=ann", "--attribute", "urgent=true"), []),
        (("--limit", "1"), ["open"]),
        (("--namespace", "elsewhere"), []),
    ],
)
def test_ls_filters(busy: Desk, options: tuple[str, ...], found: list[str]) -> None:
    assert [run["id"] for run in busy.ask("ls", *options)] == found


def test_ls_shows_sub_workflows_if_told_to(busy: Desk) -> None:
    found = busy.ask("ls", "--all")

    assert [run["workflow"] for run in found if run["parent_id"] is not None] == ["ship"]
    assert names(found[0]) == RUN


def test_ls_says_that_there_are_more(busy: Desk) -> None:
    result = busy.type("ls", "--limit", "2")

    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == "the newest 2; there are more: --limit\n"


def test_ls_says_that_there_are_none(busy: Desk) -> None:
    result = busy.type("ls", "--workflow", "nothing")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "no runs in namespace 'default'" in result.stderr


def test_ls_refuses_a_status_that_is_none(busy: Desk) -> None:
    assert busy.type("ls", "--status", "finished").exit_code == 2


def test_show_prints_explanation_tree_and_last_entries(busy: Desk) -> None:
    result = busy.type("show", "good", "--events", "2")
    explanation, tree, entries = result.stdout.split("\n\n")

    assert explanation.startswith("run good of workflow 'checkout' is completed since")
    assert "└── 1 ship completed" in tree
    assert len(entries.splitlines()) == 3
    assert result.stderr.startswith("the last 2 of 5 entries")


def test_show_in_json_is_a_tree(busy: Desk) -> None:
    found = busy.ask("show", "good")

    assert names(found) == IN_FULL | {"children", "children_total", "entries", "entries_total", "explanation"}
    assert found["args"] == {"order": {"id": "o-1", "cents": 100}, "note": "", "fails": False}
    assert [child["value"] for child in found["children"]] == ["shipped o-1"]
    assert names(found["children"][0]) == IN_FULL | {"children", "children_total"}
    assert names(found["entries"][0]) == {field.name for field in attrs.fields(Entry)}


def test_show_takes_the_uuid_of_a_sub_workflow(busy: Desk) -> None:
    child = busy.ask("show", "good")["children"][0]

    assert busy.ask("show", child["run_id"])["parent_id"] == "good"


def test_history_prints_a_table(busy: Desk) -> None:
    lines = busy.type("history", "bad").stdout.splitlines()

    assert lines[0] == "run bad of workflow 'checkout': failed"
    assert "step charge attempt 1 failed (ValueError: declined: [bold]no[/bold]) next at" in lines[3]
    assert "checkout failed (StepFailed: step 'charge' failed after 2 attempts" in lines[-1]


def test_history_in_json_has_all_entries(busy: Desk) -> None:
    found = busy.ask("history", "good")

    assert names(found) == {"id", "workflow", "status", "lane", "entries"}
    assert [entry["number"] for entry in found["entries"]] == [0, 1, 2, 3, None]


def test_explain_prints_the_explanation_as_it_is(busy: Desk) -> None:
    lines = busy.type("explain", "open").stdout.splitlines()

    assert lines[0].startswith("run open of workflow 'approval' is running, unchanged since")
    assert lines[1].startswith("  waits for signal 'approved' at 0 since")
    assert "  send it: qwit signal open approved <JSON value>" in lines


def test_explain_in_json_has_the_fields_of_an_explanation(busy: Desk) -> None:
    found = busy.ask("explain", "open")

    assert names(found) == {field.name for field in attrs.fields(Explanation)}
    assert names(found["waits"][0]) == {field.name for field in attrs.fields(Wait)}


@pytest.mark.parametrize("command", ["show", "history", "explain", "watch"])
def test_an_unknown_run_is_told_on_one_line(busy: Desk, command: str) -> None:
    result = busy.type(command, "nobody")

    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "no run 'nobody' in namespace 'default'" in result.stderr


@pytest.mark.parametrize(
    "typed",
    [
        ("ls",),
        ("show", "x"),
        ("watch", "x"),
        ("history", "x"),
        ("explain", "x"),
        ("signal", "x", "y"),
        ("doctor",),
    ],
)
def test_looking_makes_no_store(desk: Desk, typed: tuple[str, ...]) -> None:
    result = desk.type(*typed)

    assert result.exit_code == 1
    assert f"there is no store {desk.url}: no such file" in result.stdout + result.stderr
    assert list(desk.folder.iterdir()) == []


def test_a_file_that_is_no_store_is_left_as_it_is(desk: Desk) -> None:
    file = desk.folder / "qwit.db"
    file.write_text(
        "dear diary, today I went to the seaside and wrote nothing of note at all", encoding="utf-8"
    )
    before = file.read_bytes()

    result = desk.type("ls")

    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert file.read_bytes() == before


def test_an_empty_file_is_no_store(desk: Desk) -> None:
    (desk.folder / "qwit.db").touch()

    result = desk.type("ls", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stderr)["error"]["type"] == "CommandFailed"
    assert "has no schema of qwit_durable" in result.stderr


def test_a_store_that_is_encrypted_is_read_with_its_codec(desk: Desk) -> None:
    codec = ("--codec", "tests.cli.shop:codec")
    desk.type("start", "tests.cli.shop:approval", '["a"]', "--id", "sealed", *codec)

    shown = desk.type("show", "sealed", *codec)
    without = desk.type("show", "sealed")
    wrong = desk.type("show", "sealed", "--codec", "tests.cli.shop:nothing")

    assert "sealed" in shown.stdout
    assert (without.exit_code, wrong.exit_code) == (1, 1)
    assert "this process has no codec" in without.stderr
    assert "--codec tests.cli.shop:nothing names nothing" in wrong.stderr


def test_runs_of_a_lane_are_started_and_listed_with_it(desk: Desk) -> None:
    for number in ("1", "2"):
        started = desk.type(
            "start", "tests.cli.shop:approval", '["a"]', "--id", f"ann-{number}", "--lane", "ann"
        )
        assert started.exit_code == 0, started.stderr
    desk.type("start", "tests.cli.shop:approval", '["b"]', "--id", "bob-1", "--lane", "bob")
    desk.work()

    found = desk.ask("ls", "--lane", "ann")
    table = desk.type("ls", "--lane", "ann").stdout
    waits = desk.ask("explain", "ann-2")["waits"]

    assert {(run["id"], run["lane"], run["status"]) for run in found} == {
        ("ann-1", "ann", "running"),
        ("ann-2", "ann", "scheduled"),
    }
    assert " lane " in table.splitlines()[0]
    assert [(wait["kind"], wait["what"]) for wait in waits] == [("lane", "ann")]
    assert "in lane 'ann'" in desk.type("history", "ann-2").stdout
