"""What happened to a run, in order: its history as entries, with its beginning and its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

from qwit_durable.client.access import Access
from qwit_durable.client.entries import Entry, entries_of
from qwit_durable.client.plain import plain
from qwit_durable.client.saved import from_history
from qwit_durable.core import Status
from qwit_durable.stores.rows import Recorded, RunView

__all__ = ["Entry", "History", "history", "table"]

_HEAD = ("#", "at (UTC)", "position", "what")


class History(Sequence[Entry]):
    """The entries of one run, from its start on. `str()` of it is a table.

    Attributes:
        id: The run, as `durable.get` takes it.

    >>> print(approval.options(id="order-17").start(order).history())
    run order-17 of workflow 'approval': running
      #  at (UTC)                 position  what
      0  2026-01-01 00:00:00.000            approval started {"order": {"cents": 500, ...
      1  2026-01-01 00:00:00.000  0         signal approved scheduled
    """

    def __init__(self, view: RunView, recorded: Sequence[Recorded]) -> None:
        self.id = view.run.key
        self.workflow = view.run.workflow
        self.status: Status = view.status
        self.lane = view.run.lane
        self._view = view
        self._recorded = recorded
        self._entries = tuple(entries_of(view, recorded))

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | Sequence[Entry]:
        return self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __repr__(self) -> str:
        return f"<History of run {self.id}: {len(self)} entries>"

    def __str__(self) -> str:
        head = f"run {self.id} of workflow {self.workflow!r}{self.in_lane}: {self.status}"
        return "\n".join([head, *(f"  {line}" for line in table(self._entries))])

    @property
    def in_lane(self) -> str:
        """The lane in words, if there is one."""
        return "" if self.lane is None else f" in lane {self.lane!r}"

    def to_json(self) -> dict[str, Any]:
        """The history as JSON data, for programs."""
        return {
            "id": self.id,
            "workflow": self.workflow,
            "status": self.status.value,
            "lane": self.lane,
            "entries": [plain(entry) for entry in self._entries],
        }

    def to_saved(self) -> dict[str, Any]:
        """The history as JSON data from which it can be replayed: see `qwit_durable.testing.replay`."""
        return from_history(self._view, [one.event for one in self._recorded])


def table(entries: Sequence[Entry]) -> list[str]:
    """Entries as aligned lines under a head."""
    rows = [_HEAD, *(_cells(entry) for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD) - 1)]
    lines: list[str] = []
    for number, at, position, what in rows:
        cells = (number.rjust(widths[0]), at.ljust(widths[1]), position.ljust(widths[2]), what)
        lines.append("  ".join(cells).rstrip())
    return lines


def _cells(entry: Entry) -> tuple[str, str, str, str]:
    number = "" if entry.number is None else str(entry.number)
    at = f"{entry.at:%Y-%m-%d %H:%M:%S}.{entry.at.microsecond // 1000:03}"
    return number, at, "  " * entry.depth + (entry.position or ""), " ".join(entry.text.split())


def history(access: Access, view: RunView) -> History:
    """Read a run's history."""
    return History(view, access.reader.history(view.run.id))
