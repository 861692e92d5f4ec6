"""The two protocols of a store: `Store` writes for the engine, `Reader` reads for clients, CLI and observers.

All writes go through one verb, `apply`, which carries out a batch of them in one transaction: that is the seam at which
a process's writes are grouped. What each write means is written once in `stores.kernel`; what readers see is below.
Nothing above this package knows SQL, and the engine never asks which store it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, TypeAlias
from uuid import UUID

import attrs

from qwit_durable.core import Status
from qwit_durable.stores.answers import Acquired, Answer
from qwit_durable.stores.outlook import OutlookReader
from qwit_durable.stores.pruning import PruningReader
from qwit_durable.stores.rows import (
    InHand,
    LaneRow,
    PublishedRow,
    Recorded,
    RunView,
    TaskRow,
    TimerRow,
    WorkerRow,
)
from qwit_durable.stores.schedules import ScheduleReader
from qwit_durable.stores.transactions import Transaction
from qwit_durable.stores.writes import Start, Write

__all__ = ["GLANCED_EVENTS", "GLANCED_RINGS", "Known", "PartlyApplied", "Reader", "RunQuery", "Store"]

#: See `Reader.glance`.
GLANCED_EVENTS = 20
GLANCED_RINGS = 1

#: A run, and the generation and head up to which its history is known: 0 for nothing.
Known: TypeAlias = tuple[UUID, int, int]


class PartlyApplied(Exception):
    """Some writes of a batch are durable, and nothing was written of the others, because of `error`.

    Attributes:
        answers: One for each write; None for those of which nothing was written.
    """

    def __init__(self, answers: Sequence[Answer | None], error: Exception) -> None:
        self.answers = answers
        self.error = error
        super().__init__(str(error))


@attrs.frozen(kw_only=True)
class RunQuery:
    """Which runs to list, newest first.

    Attributes:
        statuses: Any of these; empty for all.
        version: Only runs that were started by code with this label.
        attributes: All of these values.
        roots_only: Leave sub-workflows out.
        before: Only runs older than this one: the last of the page before.
        limit: The size of a page.
    """

    namespace: str
    statuses: tuple[Status, ...] = ()
    workflow: str | None = None
    version: str | None = None
    lane: str | None = None
    attributes: dict[str, str | int | float | bool] = attrs.field(
        factory=dict[str, "str | int | float | bool"]
    )
    roots_only: bool = False
    before: UUID | None = None
    limit: int = 100

    def wants(self, view: RunView) -> bool:
        """Whether a run is one of those asked for; `limit` aside."""
        run = view.run
        return (
            run.namespace == self.namespace
            and (not self.statuses or view.status in self.statuses)
            and (self.workflow is None or run.workflow == self.workflow)
            and (self.version is None or run.version == self.version)
            and (self.lane is None or run.lane == self.lane)
            and all(_is_same(run.attributes.get(name), value) for name, value in self.attributes.items())
            and not (self.roots_only and run.parent_id is not None)
            and (self.before is None or run.id < self.before)
        )


def _is_same(found: object, wanted: object) -> bool:
    """Equality as JSON has it: true is not 1."""
    return found == wanted and isinstance(found, bool) == isinstance(wanted, bool)


class Reader(ScheduleReader, PruningReader, OutlookReader, Protocol):
    """Consistent reads; none of them locks."""

    def now(self) -> datetime:
        """The store's time."""
        ...

    def find(self, namespace: str, key: str) -> RunView | None:
        """The run that stands under a user's id, or whose UUID this is."""
        ...

    def view(self, run_id: UUID) -> RunView | None:
        """One run."""
        ...

    def runs(self, query: RunQuery) -> Sequence[RunView]:
        """One page of runs, newest first."""
        ...

    def keys(self, run_ids: Sequence[UUID]) -> dict[UUID, str]:
        """The ids that users see, of those runs that are there."""
        ...

    def children(self, run_id: UUID) -> Sequence[RunView]:
        """The sub-workflows a run has called, oldest first."""
        ...

    def history(self, run_id: UUID, after: int = 0) -> Sequence[Recorded]:
        """The events of a run after a number, in order."""
        ...

    def published(self, run_id: UUID) -> Sequence[PublishedRow]:
        """What a run's body lets others see, by key."""
        ...

    def tasks(self, run_id: UUID) -> Sequence[TaskRow]:
        """What is owed to a run."""
        ...

    def timers(self, run_id: UUID) -> Sequence[TimerRow]:
        """The timers of a run, the next due first."""
        ...

    def lane(self, namespace: str, lane: str) -> LaneRow | None:
        """A lane that somebody is in."""
        ...

    def before(self, run_id: UUID) -> int | None:
        """How many stand before a run that waits in a lane, the head included; None if it does not wait in one."""
        ...

    def workers(self) -> Sequence[WorkerRow]:
        """All workers that have a row, dead ones included."""
        ...

    def in_hand(self) -> dict[int, InHand]:
        """What each worker has in hand; those with nothing are left out. It costs what is open."""
        ...

    def counts(self, namespace: str, *, ended: bool = True) -> dict[Status, int]:
        """How many runs stand in each status; statuses with none are left out.

        Without those that have `ended` it costs what is open, else all that is stored.
        """
        ...

    def glance(self, wanted: Sequence[Known]) -> Sequence[Acquired]:
        """What acquiring these runs would give, although nobody holds them: for `Commit.seen`.

        Only runs whose turn is due, that are free and stand in no lane and under no parent, with at most
        `GLANCED_EVENTS` events that the caller does not know. Left out are those of which a holder has died and those
        that were rung for more than `GLANCED_RINGS` times: perhaps they kill who looks at them, and starts count. A
        store that gains nothing by it answers none.
        """
        ...

    def cancel_asked(self, run_id: UUID, position: str) -> bool:
        """Whether the attempt at a position, or its run, has been asked to stop."""
        ...


class Store(Reader, Protocol):
    """Where the truth is."""

    url: str

    def open(self) -> None:
        """Connect and check the schema; memory and SQLite create theirs. Safe to call again, and after a fork.

        Raises:
            StoreUnavailable: The server or file can't be reached. The message says what was tried.
            SchemaMismatch: The schema is missing, older or newer. The message says what to do.
        """
        ...

    def close(self) -> None:
        """Let go of all connections."""
        ...

    def migrate(self) -> Sequence[str]:
        """Bring the schema up to date and answer the names of the steps applied, if any."""
        ...

    def schema_version(self) -> tuple[int, int]:
        """The version found (0 for none) and the version this code wants."""
        ...

    def apply(self, writes: Sequence[Write]) -> Sequence[Answer]:
        """Carry out writes in order, in one transaction or a few, and answer each once all are durable.

        Raises:
            PartlyApplied: Some are durable and the others were not written.
            StoreUnavailable: The connection was lost; the writes may or may not have happened. Repeating is safe.
        """
        ...

    def transaction(self) -> Transaction:
        """The transaction of one attempt of a transactional step; nothing begins before it is asked for."""
        ...

    def start_within(self, connection: object, write: Start) -> Answer:
        """Carry out a start in the caller's open transaction, and neither commit nor roll that back.

        Args:
            connection: The driver's, or one of SQLAlchemy's or Django's over it.
            write: Its user's id stays locked until the caller's transaction ends.

        Raises:
            DefinitionError: The connection is of another kind, to another database, or has no transaction.
            StoreError: The row can't be stored. The caller's transaction is as it was.
        """
        ...

    def stamp(self) -> object:
        """A value, cheap to get, that changes when another process writes; None where there is no such thing."""
        ...
