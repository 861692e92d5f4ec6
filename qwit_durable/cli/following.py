"""Following a run until it rests: entry by entry, and in between what it waits for. The eyes of `watch` and `run`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import attrs

from qwit_durable.app import Durable
from qwit_durable.cli.output import Output
from qwit_durable.client.entries import Entry, end_of, entry_of, start_of
from qwit_durable.client.explaining import Explanation
from qwit_durable.client.handle import Handle
from qwit_durable.client.plain import plain
from qwit_durable.client.published import Published
from qwit_durable.clock import monotonic
from qwit_durable.core import Event, Kind, Resolved, Restarted, Status
from qwit_durable.errors import RunNotFound
from qwit_durable.stores.rows import RunView

__all__ = ["Following", "Glance", "follow"]

_GLANCE_SECONDS = 0.1
_EXPLAIN_SECONDS = 1.0
_WAITS_SHOWN = 3
_POSITION_CHARS = 6


@attrs.frozen
class Glance:
    """What is new about a run, and all it has published. `explanation` is given once it has stood still for a while."""

    view: RunView
    entries: tuple[Entry, ...]
    published: Published
    explanation: Explanation | None = None

    @property
    def is_last(self) -> bool:
        """Whether the run has ended or, itself or below it, needs a person."""
        is_stuck = self.explanation is not None and self.explanation.stuck is not None
        return self.view.outcome is not None or is_stuck


class Following:
    """Looks at one run again and again.

    Args:
        last: Begin with so many of the entries that are there already; None for all.
    """

    def __init__(self, durable: Durable, handle: Handle[Any], *, last: int | None = None) -> None:
        self._reader = durable.reader
        self._handle = handle
        self._run_id = handle.run().run_id
        self._read: int | None = None  # the number of the last event that was read
        self._last = last
        self._kinds: dict[str, str] = {}
        self._generation = 0
        self._published = Published(())

    def until_rest(self, timeout: timedelta | None = None) -> Iterator[Glance]:
        """Glances until the run rests, or the timeout has passed: the last one then is not `is_last`."""
        now = moved = monotonic()
        until = None if timeout is None else now + timeout.total_seconds()
        while True:
            glance, now = self._look(), monotonic()
            if glance.entries:
                moved = now
            is_late = until is not None and now >= until
            is_still = glance.view.status is Status.STUCK or now - moved >= _EXPLAIN_SECONDS
            if glance.view.outcome is None and (is_still or is_late):
                moved = now
                glance = attrs.evolve(glance, explanation=self._handle.explain())
            yield glance
            if glance.is_last or is_late:
                return
            threading.Event().wait(_GLANCE_SECONDS)

    def _look(self) -> Glance:
        view = self._reader.view(self._run_id)
        if view is None:
            msg = f"run {self._handle.id} is not in the store any more"
            raise RunNotFound(msg)
        is_first = self._read is None
        if view.generation != self._generation:  # it has begun anew, with a history of its own
            self._generation, self._read = view.generation, 0
            self._kinds.clear()
        recorded = self._reader.history(self._run_id, self._read or 0)
        self._read = recorded[-1].number if recorded else self._read or 0
        if is_first or any(_publishes(one.event) for one in recorded):
            self._published = Published(self._reader.published(self._run_id))
        entries = [start_of(view)] if is_first else []
        entries += [entry_of(one, self._kinds) for one in recorded]
        if is_first and self._last is not None:
            entries = entries[max(len(entries) - self._last, 0) :]
        if view.outcome is not None:
            entries.append(end_of(view, view.outcome))
        return Glance(view, tuple(entries), self._published)


def _publishes(event: Event) -> bool:
    return isinstance(event, Restarted) or (isinstance(event, Resolved) and event.kind is Kind.PUBLISH)


def follow(
    output: Output, following: Following, timeout: timedelta | None, *, as_lines: bool = False
) -> Glance:
    """Show what happens to a run until it rests, and answer the last glance.

    For people a line for each entry, and what the run waits for: on a terminal below the lines, else once, as a line.
    For programs nothing, or with `as_lines` one JSON object for each entry.
    """
    show = _Lines(output) if output.is_json or not output.progress.is_terminal else _Terminal(output)
    show.is_silent = output.is_json and not as_lines
    glance: Glance | None = None
    with show:
        for glance in following.until_rest(timeout):
            show.tell(glance)
    assert glance is not None  # there is always a first one
    return glance


class _Lines:
    """Where lines can't be taken back."""

    is_silent = False

    def __init__(self, output: Output) -> None:
        self._output = output
        self._waits: list[Any] = []

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...

    def tell(self, glance: Glance) -> None:
        if self.is_silent:
            return
        for entry in glance.entries:
            if self._output.is_json:
                self._output.json({"entry": plain(entry)})
            else:
                self._output.say(_line(entry))
        if glance.explanation is not None and not glance.is_last and not self._output.is_json:
            waits = [
                (w.kind, w.what, w.position, w.attempt, w.until, w.worker) for w in glance.explanation.waits
            ]
            if waits != self._waits:
                self._waits = waits
                for line in _waits(glance.explanation):
                    self._output.say(line)


class _Terminal(_Lines):
    """Where what the run waits for stands below the lines and changes."""

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self._status = output.progress.status("", spinner="dots")

    def __enter__(self) -> None:
        self._status.start()

    def __exit__(self, *error: object) -> None:
        self._status.stop()

    def tell(self, glance: Glance) -> None:
        for entry in glance.entries:
            self._output.say(_line(entry))
        published = str(glance.published).splitlines()
        if glance.explanation is not None:
            self._status.update("\n".join([*published, *_waits(glance.explanation)]))
        elif glance.entries:
            self._status.update("\n".join([*published, glance.view.status.value]))


def _line(entry: Entry) -> str:
    at = f"{entry.at:%H:%M:%S}.{entry.at.microsecond // 1000:03}"
    return f"{at}  {(entry.position or '').ljust(_POSITION_CHARS)}  {' '.join(entry.text.split())}"


def _waits(explanation: Explanation) -> list[str]:
    waits = explanation.waits
    lines = [line for wait in waits[:_WAITS_SHOWN] for line in wait.lines()]
    if len(waits) > _WAITS_SHOWN:
        lines.append(f"and {len(waits) - _WAITS_SHOWN} more")
    return lines or [explanation.status.value]
