"""Where a command writes: text and tables for people, JSON for programs; results to stdout, all else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from qwit_durable.client.plain import plain
from qwit_durable.core import Status

__all__ = ["STYLES", "Output", "one_line", "styled"]

#: Wide enough for any line, so that nothing is cut where it is read by a program.
_PIPED_COLUMNS = 10_000
_LAST_COLUMN_CHARS = 24

STYLES = {
    Status.SCHEDULED: "cyan",
    Status.RUNNING: "blue",
    Status.COMPENSATING: "yellow",
    Status.PAUSED: "magenta",
    Status.STUCK: "bold red",
    Status.COMPLETED: "green",
    Status.COMPENSATED: "yellow",
    Status.FAILED: "red",
    Status.CANCELLED: "yellow",
    Status.TERMINATED: "yellow",
}


def one_line(text: str) -> str:
    """A message of several lines on one."""
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def styled(status: Status) -> Text:
    """A status in its colour."""
    return Text(status.value, style=STYLES[status])


class Output:
    """The two streams of one command. `is_json` is what `--json` said."""

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json
        self.console = _console(to_stderr=False)
        self.progress = _console(to_stderr=True)

    def json(self, value: Any) -> None:
        """Write one JSON value, indented where a person looks on."""
        indent = 2 if sys.stdout.isatty() else None
        self.line(json.dumps(plain(value), ensure_ascii=False, indent=indent))

    def line(self, text: str | Text = "") -> None:
        """Write a line as it is: never wrapped, never cut."""
        self.console.print(text, soft_wrap=True)

    def show(self, renderable: RenderableType) -> None:
        """Write a table or a tree."""
        self.console.print(renderable)

    def say(self, text: str) -> None:
        """Write a line that is no part of the result."""
        self.progress.print(text, soft_wrap=True)

    def table(
        self, heads: Sequence[str], rows: Sequence[Sequence[str | Text]], *, expendable: Sequence[str] = ()
    ) -> None:
        """Write rows under their heads, without columns that are empty.

        The first column is never cut: it is what people copy. Where there is no room, columns that are expendable are
        left out, in that order, and then the last one is folded.
        """
        shown = [n for n in range(len(heads)) if any(len(row[n]) for row in rows)]
        widths = [max(len(heads[n]), *(len(row[n]) for row in rows)) for n in range(len(heads))]
        last = heads[shown[-1]]
        least = {n: min(widths[n], _LAST_COLUMN_CHARS) if heads[n] == last else widths[n] for n in shown}
        for name in expendable:
            if sum(least[n] + 2 for n in shown) - 2 > self.console.width and name != last:
                shown = [n for n in shown if heads[n] != name]
        table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
        for n in shown:
            is_last = n == shown[-1]
            table.add_column(heads[n], overflow="fold", no_wrap=not is_last, min_width=least[n])
        for row in rows:
            table.add_row(*(cell if isinstance(cell := row[n], Text) else Text(cell) for n in shown))
        self.show(table)


def _console(*, to_stderr: bool) -> Console:
    stream = sys.stderr if to_stderr else sys.stdout
    width = None if stream.isatty() else _PIPED_COLUMNS
    return Console(stderr=to_stderr, width=width, markup=False, highlight=False, emoji=False)
