"""The workers of a store as a reader sees them: who lives, who consumes a queue, and how they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from qwit_durable.client.when import When
from qwit_durable.stores.processes import process_started, this_host
from qwit_durable.stores.rows import InHand, WorkerRow

__all__ = ["Workers"]

#: What waits so long for workers that are busy may find all of their threads taken: how many they have is not recorded.
_LONG = timedelta(minutes=1)
_KEPT = "a step that waits in result() for a run keeps its thread (call the run as a sub-workflow instead)"
_START_ONE = "start a worker: dramatiq <your module>, or Durable(...).embedded()"


@attrs.frozen
class Workers:
    """All workers that have a row, dead ones included.

    Attributes:
        in_hand: What they are at; left out where nothing waits for a worker.
    """

    rows: Sequence[WorkerRow]
    now: datetime
    in_hand: Mapping[int, InHand] = attrs.field(factory=dict[int, InHand])

    @property
    def alive(self) -> tuple[WorkerRow, ...]:
        """Those that live."""
        return tuple(row for row in self.rows if self.death_of(row) is None)

    def find(self, worker: int) -> WorkerRow | None:
        """The row of a worker."""
        return next((row for row in self.rows if row.id == worker), None)

    def name_of(self, worker: int) -> str:
        """`host:pid`."""
        row = self.find(worker)
        return f"{row.host}:{row.pid}" if row is not None else f"worker {worker:x}"

    def is_alive(self, worker: int) -> bool:
        """Whether a worker lives."""
        row = self.find(worker)
        return row is not None and self.death_of(row) is None

    def death_of(self, row: WorkerRow) -> str | None:
        """Why a worker counts as dead, or None if it lives. On this machine its process is looked for as well."""
        when = When(self.now)
        if row.expires_at <= self.now:
            return f"its lease was over at {when.told(row.expires_at)}"
        if row.host == this_host():
            started = process_started(row.pid)
            if started is None or row.process_started not in (started, 0.0):
                return f"its process is gone; its lease ends {when.told(row.expires_at)}"
        return None

    def why_dead(self, worker: int) -> str:
        """The same for a worker that may have no row any more."""
        row = self.find(worker)
        return "it is not known any more" if row is None else self.death_of(row) or "it lives"

    def consumers(self, queue: str) -> tuple[WorkerRow, ...]:
        """The living workers that consume a queue. A worker without a list of queues takes all it has declared."""
        return tuple(row for row in self.alive if not row.queues or queue in row.queues)

    def told(self, queue: str) -> str:
        """Who would take work from a queue, in words."""
        alive, consumers = self.alive, self.consumers(queue)
        if not alive:
            return "no worker is alive"
        if not consumers:
            others = ", ".join(sorted({name for row in alive for name in row.queues}))
            return f"no live worker consumes it ({_count(len(alive), 'worker is', 'workers are')} alive, on: {others})"
        names = ", ".join(f"{row.host}:{row.pid}" for row in consumers[:3])
        more = f" and {len(consumers) - 3} more" if len(consumers) > 3 else ""  # noqa: PLR2004 - what fits on a line
        told = f"{_count(len(consumers), 'live worker consumes', 'live workers consume')} it: {names}{more}"
        busy = self._busy(consumers)
        if busy is None:
            return told
        things = (
            _count(busy.runs, "run", "runs"),
            _count(busy.attempts, "queued attempt", "queued attempts"),
        )
        at = " and ".join(thing for thing in things if not thing.startswith("0 "))
        since = When(self.now).since(busy.since)
        return f"{told}\nwith {at} in hand; the longest has come no further {since}"

    def _busy(self, consumers: Sequence[WorkerRow]) -> InHand | None:
        """What some workers have in hand together, if they have anything."""
        parts = ((0, self.in_hand[row.id]) for row in consumers if row.id in self.in_hand)
        return InHand.by_worker(parts).get(0)

    # -- what their absence means --------------------------------------------------------------------------------

    def remedy(self, queue: str | None = None) -> tuple[str, ...]:
        """The way out where nobody is there, or nobody of a queue."""
        if not self.alive:
            return (_START_ONE,)
        return (
            ()
            if queue is None or self.consumers(queue)
            else (f"start a worker that consumes queue {queue!r}",)
        )

    def relief(self, queue: str, since: datetime) -> tuple[str, ...]:
        """The same, and the way out where those of the queue have been busy with other things since then."""
        is_long = self.now - since >= _LONG and self._busy(self.consumers(queue)) is not None
        more = f"if that takes all their threads, start another worker of queue {queue!r} or give them more: {_KEPT}"
        return (*self.remedy(queue), *([more] if is_long else []))

    @property
    def unswept(self) -> str:
        """What is to be added to a time at which something falls due: timers fire in workers only."""
        return "" if self.alive else "; no worker is alive to see to it"

    @property
    def taken_over(self) -> str:
        """What becomes of what a dead worker held."""
        return (
            "another worker takes it over when that is noticed"
            if self.alive
            else "no worker is alive to take it over"
        )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
