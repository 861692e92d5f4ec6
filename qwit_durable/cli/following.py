"""Following a run until it ends: entry by entry, and what it waits for in between. `qwit watch`, and `qwit run`'s eyes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import attrs
import click

from qwit_durable.cli.output import Output
from qwit_durable.cli.params import DURATION
from qwit_durable.cli.place import Complaint, Place, common
from qwit_durable.cli.reports import view_json
from qwit_durable.client.entries import Entry, entries_of
from qwit_durable.client.explanation import Explanation
from qwit_durable.client.handle import Handle
from qwit_durable.client.history import table
from qwit_durable.client.plain import decoded, plain
from qwit_durable.clock import monotonic
from qwit_durable.core import Status
from qwit_durable.errors import RunNotFound
from qwit_durable.stores.protocol import Reader
from qwit_durable.stores.rows import RunView

__all__ = ["Following", "tell_end", "watch"]

_GLANCE_SECONDS = 0.1
_EXPLAIN_SECONDS = 1.0


@attrs.frozen
class Glance:
    """What is new about a run. `explanation` is set where it has stood still for a while."""

    view: RunView
    entries: tuple[Entry, ...]
    explanation: Explanation | None = None


class Following:
    """Looks at one run again and again."""

    def __init__(self, reader: Reader, handle: Handle[Any], *, told: int = -1) -> None:
        self._reader = reader
        self._handle = handle
        self._told = told  # entries up to this number are known
        self._kinds: dict[str, str] = {}

    def until_rest(self, timeout: timedelta | None = None) -> Iterator[Glance]:
        """Glances until the run has ended or, itself or below it, needs a person.

        Raises:
            TimeoutError: It has done neither in time.
        """
        until = None if timeout is None else monotonic() + timeout.total_seconds()
        moved, rest = monotonic(), threading.Event()
        while True:
            glance = self._look()
            now = monotonic()
            if glance.entries:
                moved = now
            is_still = glance.view.outcome is None and now - moved >= _EXPLAIN_SECONDS
            if is_still or glance.view.status is Status.STUCK:
                moved = now
                glance = attrs.evolve(glance, explanation=self._handle.explain())
            yield glance
            if glance.view.outcome is not None:
                return
            if glance.explanation is not None and glance.explanation.stuck is not None:
                return
            if until is not None and now >= until:
                raise TimeoutError
            rest.wait(_GLANCE_SECONDS)

    def _look(self) -> Glance:
        run = self._handle.run()
        view = self._reader.view(run.run_id)
        if view is None:
            msg = f"run {run.id} is not in the store any more"
            raise RunNotFound(msg)
        found = tuple(entries_of(view, self._reader.history(run.run_id, max(self._told, 0)), self._kinds))
        entries = tuple(e for e in found if e.number is None or e.number > self._told)
        self._told = max((e.number for e in entries if e.number is not None), default=self._told)
        return Glance(view, entries)


def follow(output: Output, following: Following, timeout: timedelta | None) -> Glance:
    """Show a run's progress until it rests, and answer the last glance: lines, and on a terminal what it waits for.

    Raises:
        TimeoutError: It does not rest in time.
    """
    if output.is_json or not output.progress.is_terminal:
        said = ""
        for glance in following.until_rest(timeout):
            if not output.is_json:
                said = _tell(output, glance, said)
        return glance
    with output.progress.status("") as status:
        for glance in following.until_rest(timeout):
            _tell_entries(output, glance)
            waits = [line.strip() for wait in glance.explanation.waits for line in wait.lines()] if glance.explanation else []
            status.update("; ".join(waits[:3]) or f"{glance.view.status}")
    return glance
