"""The command line on a server: nothing is made by looking, and the server's clock counts."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner

from qwit_durable.cli.main import cli
from tests.cli import shop


def ask(url: str, *args: str) -> Any:
    result = CliRunner().invoke(cli, [args[0], "--store", url, *args[1:], "--json"])
    return json.loads(result.stdout or result.stderr)


def test_a_server_without_a_schema_says_how_to_make_one(postgres_url: str) -> None:
    result = CliRunner().invoke(cli, ["ls", "--store", postgres_url])

    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "qwit migrate --store" in result.stderr


def test_doctor_wants_the_schema_migrated(postgres_url: str) -> None:
    found = ask(postgres_url, "doctor")

    store = next(check for check in found["checks"] if check["name"] == "store")
    assert store["verdict"] == "failed"
    assert store["remedy"].startswith("qwit migrate --store")


def test_a_run_is_run_looked_at_and_explained(postgres_url: str) -> None:
    assert shop.checkout.name == "checkout"
    assert ask(postgres_url, "migrate")["applied"]

    run = ask(
        postgres_url, "run", "tests.cli.shop:checkout", '[{"id": "o-1"}]', "--id", "o-1", "--attribute", "n=1"
    )
    waiting = ask(postgres_url, "start", "tests.cli.shop:approval", '["a"]')
    checks = {check["name"]: check["verdict"] for check in ask(postgres_url, "doctor")["checks"]}

    assert run["value"] == "shipped o-1"
    assert [found["id"] for found in ask(postgres_url, "ls", "--attribute", "n=1")] == ["o-1"]
    assert [entry["event"] for entry in ask(postgres_url, "history", "o-1")["entries"]][-1] == "completed"
    assert ask(postgres_url, "explain", waiting["id"])["waits"][0]["kind"] == "turn"
    assert checks["clock"] == checks["leases"] == checks["store"] == "ok"
    assert checks["workers"] == "failed"
