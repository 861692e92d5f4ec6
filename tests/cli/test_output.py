"""What a terminal shows, and what a pipe gets."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from rich.console import Console

from qwit_durable.cli.following import Following, follow
from qwit_durable.cli.output import Output, one_line
from qwit_durable.testing.environment import Environment
from tests.cli import shop

HEADS = ("id", "workflow", "started", "error")
ROWS = [
    ("01a1fdaa-3e9f-7592-8691-62da063295d0", "checkout", "10:32:42 UTC", "ValueError: the card was declined")
]


def output(columns: int, *, is_terminal: bool = True) -> tuple[Output, StringIO]:
    """An output whose streams are a terminal of that width."""
    found, file = Output(is_json=False), StringIO()
    console = Console(
        file=file,
        width=columns,
        force_terminal=is_terminal,
        no_color=True,
        markup=False,
        legacy_windows=False,
    )
    found.console = found.progress = console
    return found, file


def test_a_narrow_terminal_shows_ids_whole_and_folds_the_last_column() -> None:
    shown, file = output(76, is_terminal=False)

    shown.table(HEADS, ROWS, expendable=("started",))

    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    assert lines == [
        "id                                    workflow  error",
        "01a1fdaa-3e9f-7592-8691-62da063295d0  checkout  ValueError: the card was",
        "                                                declined",
    ]


def test_a_wide_one_shows_everything() -> None:
    shown, file = output(120, is_terminal=False)

    shown.table(HEADS, ROWS, expendable=("started",))

    assert len(file.getvalue().splitlines()) == 2
    assert "10:32:42 UTC" in file.getvalue()


def test_columns_that_are_empty_are_left_out() -> None:
    shown, file = output(120, is_terminal=False)

    shown.table(HEADS, [("a", "w", "", "")])

    assert [line.split() for line in file.getvalue().splitlines()] == [["id", "workflow"], ["a", "w"]]


def test_what_users_write_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    Output(is_json=False).line("[bold]x[/bold] :smile:")

    assert capsys.readouterr().out == "[bold]x[/bold] :smile:\n"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_a_run_waits_for_is_shown_while_it_is_followed(is_terminal: bool) -> None:
    shown, file = output(200, is_terminal=is_terminal)
    environment = Environment()
    environment.engine.heart.beat()
    handle = environment.start(shop.approval, "a")
    environment.answer_bells()

    glance = follow(shown, Following(environment, handle), timedelta(0))

    assert not glance.is_last
    assert "waits for signal 'approved' at 0" in file.getvalue()
    assert "signal approved scheduled" in file.getvalue()


def test_a_message_of_several_lines_is_told_on_one() -> None:
    assert one_line("it failed\n  evidence: x\n\n  way out: y\n") == "it failed; evidence: x; way out: y"
