"""What a run publishes, on the command line: in `show`, and while it goes on in `watch` and `run`."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO

import pytest
from rich.console import Console

from qwit_durable.app import Durable
from qwit_durable.cli.following import Following, follow
from qwit_durable.cli.output import Output
from tests.cli import shop  # noqa: F401 - the names that this module's tests know
from tests.cli.desk import Desk


@pytest.fixture
def counting(desk: Desk) -> Desk:
    """A store with a run that has published something and waits."""
    desk.type("start", "tests.cli.shop:counting", '{"rows": 2}', "--id", "c-1")
    desk.work()
    return desk


def test_show_has_what_is_published(counting: Desk) -> None:
    told = counting.type("show", "c-1").stdout

    assert "published rows: 2" in told
    assert counting.ask("show", "c-1")["published"] == {"rows": 2}


def test_watch_has_a_line_for_each_value(counting: Desk) -> None:
    result = counting.type("watch", "c-1", "--timeout", "10ms")

    assert [line.split("published ")[1] for line in result.stderr.splitlines() if "published" in line] == [
        "rows → 1",
        "rows → 2",
    ]


def test_watch_in_json_has_them_all_at_its_end(counting: Desk) -> None:
    result = counting.type("watch", "c-1", "--timeout", "10ms", "--json")

    *entries, last = [json.loads(line) for line in result.stdout.splitlines()]
    assert last["published"] == {"rows": 2}
    assert [e["entry"]["value"] for e in entries if e["entry"]["kind"] == "publish"] == [1, 2]


def test_on_a_terminal_the_latest_values_stand_below_the_lines(counting: Desk) -> None:
    screen = StringIO()
    output = Output(is_json=False)
    output.progress = Console(file=screen, force_terminal=True, width=200)
    durable = Durable(counting.url)

    follow(output, Following(durable, durable.get("c-1")), timedelta(milliseconds=300))
    durable.close()

    assert "rows: 2" in screen.getvalue()


def test_the_version_of_the_code_is_shown_and_asked_for(counting: Desk) -> None:
    counting.type("start", "tests.cli.shop:approval", '["a"]', "--id", "a-1")

    lines = counting.type("ls").stdout.splitlines()

    assert lines[0].split()[:4] == ["id", "workflow", "version", "status"]
    assert [run["id"] for run in counting.ask("ls", "--version", "2")] == ["c-1"]
    assert "counting 2 running c-1" in counting.type("show", "c-1").stdout
