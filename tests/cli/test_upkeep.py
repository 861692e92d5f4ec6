"""`migrate`, `doctor`, `demo`, and the command line as such."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from qwit_durable.cli import checks, demo, target
from qwit_durable.cli.main import cli
from qwit_durable.cli.place import CommandFailed
from qwit_durable.stores.writes import Acquire
from tests.cli import shop
from tests.cli.desk import Desk

START = ("start", "tests.cli.shop:approval", '["a"]', "--id", "a-1")


def verdicts(desk: Desk) -> dict[str, str]:
    return {check["name"]: check["verdict"] for check in desk.ask("doctor")["checks"]}


def test_migrate_makes_the_store_and_names_the_steps(desk: Desk) -> None:
    first = desk.type("migrate")
    again = desk.type("migrate")

    assert first.exit_code == again.exit_code == 0
    assert first.stdout.splitlines()[0] == "applied 0001_tables"
    assert again.stdout.endswith("nothing to do\n")


def test_migrate_in_json_tells_the_versions(desk: Desk) -> None:
    found = desk.ask("migrate")

    assert found["applied"][0] == "0001_tables"
    assert found["version"] == found["wanted"] == len(found["applied"])


def test_migrate_prints_the_script_and_touches_nothing(desk: Desk) -> None:
    result = desk.type("migrate", "--sql")

    assert "CREATE TABLE" in result.stdout
    assert list(desk.folder.iterdir()) == []


def test_migrate_prints_the_script_of_a_server_that_is_not_there() -> None:
    result = CliRunner().invoke(
        cli, ["migrate", "--sql", "--json", "--store", "postgresql://nobody@127.0.0.1:1/x"]
    )

    steps = json.loads(result.stdout)
    assert [set(step) for step in steps] == [{"number", "name", "sql"}] * len(steps)
    assert "CREATE TABLE qwit.run" in steps[0]["sql"]


def test_a_server_that_is_not_there_is_told_on_one_line() -> None:
    result = CliRunner().invoke(cli, ["ls", "--store", "postgresql://ann:secret@127.0.0.1:1/shop"])

    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "secret" not in result.stderr


def test_a_url_of_no_kind_is_told_on_one_line() -> None:
    result = CliRunner().invoke(cli, ["ls", "--store", "mysql://x"])

    assert result.exit_code == 1
    assert "names no store" in result.stderr


def test_the_store_is_taken_from_the_environment(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.type(*START)
    monkeypatch.setenv("QWIT_STORE_URL", desk.url)

    result = CliRunner().invoke(cli, ["ls", "--json"])

    assert [run["id"] for run in json.loads(result.stdout)] == ["a-1"]


def test_a_store_in_memory_has_nothing_to_show() -> None:
    result = CliRunner().invoke(cli, ["ls", "--store", "memory://"])

    assert result.exit_code == 1
    assert "lives in one process only" in result.stderr


# -- doctor ----------------------------------------------------------------------------------------------------


def test_doctor_finds_a_fresh_store_well(desk: Desk) -> None:
    desk.type("migrate")

    result = desk.type("doctor", "--json")
    found = json.loads(result.stdout)

    assert result.exit_code == 0
    assert found["ok"] is True
    assert {check["name"] for check in found["checks"]} == {
        *("python", "packages", "broker", "store", "clock", "workers", "stuck runs", "overdue work", "leases")
    }
    assert [set(check) for check in found["checks"]] == [{"name", "verdict", "found", "remedy"}] * 9


def test_doctor_misses_workers_where_runs_are_open(desk: Desk) -> None:
    desk.type(*START)

    result = desk.type("doctor")

    assert result.exit_code == 1
    assert "failed  workers: none is alive, and 1 runs are open" in result.stdout
    assert "→ start one" in result.stdout


def test_doctor_names_stuck_runs(desk: Desk) -> None:
    shop.broken.add("refund")
    desk.type("start", "tests.cli.shop:checkout", '{"order": {"id": "o-1"}, "fails": true}', "--id", "o-1")
    desk.work()

    result = desk.type("doctor")

    assert result.exit_code == 1
    assert "failed  stuck runs: 1 runs need a person: o-1" in result.stdout
    assert "→ qwit explain o-1" in result.stdout


def test_doctor_names_overdue_work(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.type(*START)
    monkeypatch.setattr(checks, "_LATE", timedelta(0))

    assert verdicts(desk)["overdue work"] == "failed"


def test_doctor_names_runs_that_a_dead_worker_holds(desk: Desk) -> None:
    desk.type(*START)
    with desk.worker() as environment:
        handle: Any = environment.get("a-1")
        environment.write(Acquire(run_id=handle._run_id, worker=42))

    assert verdicts(desk)["leases"] == "warning"
    assert verdicts(desk)["overdue work"] == "ok"


def test_doctor_says_what_is_wrong_with_the_store(desk: Desk) -> None:
    (desk.folder / "qwit.db").mkdir()

    assert verdicts(desk)["store"] == "failed"


def test_doctor_finds_packages_that_are_too_old(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        checks.metadata, "requires", lambda _: ["click>=999.1", "rich>=1", 'pika>=9; extra == "x"']
    )
    desk.type("migrate")

    packages = next(check for check in desk.ask("doctor")["checks"] if check["name"] == "packages")

    assert packages["verdict"] == "failed"
    assert packages["found"].startswith("click ")
    assert packages["found"].endswith("needed is 999.1")


# -- the rest --------------------------------------------------------------------------------------------------


def test_demo_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(demo, "run_demo", lambda console, *, as_json: given.append((console, as_json)) or 1)

    result = CliRunner().invoke(cli, ["demo", "--json"])

    assert result.exit_code == 1
    assert [as_json for _, as_json in given] == [True]


def test_without_a_command_the_commands_are_listed() -> None:
    result = CliRunner().invoke(cli, [])

    assert result.exit_code == 0
    assert result.stdout.index("  run ") < result.stdout.index("  ls ") < result.stdout.index("  doctor ")


def test_an_unknown_command_is_told_on_one_line() -> None:
    result = CliRunner().invoke(cli, ["lst"])

    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


def test_a_module_that_exits_while_it_is_imported_is_a_mistake(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk.folder / "script_shop.py").write_text("raise SystemExit('bye')\n", encoding="utf-8")
    monkeypatch.chdir(desk.folder)

    with pytest.raises(CommandFailed, match="SystemExit: bye"):
        target.load_workflow("script_shop:checkout")
