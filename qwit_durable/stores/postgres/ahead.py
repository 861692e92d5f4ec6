"""Looking ahead: what a whole batch will read, locked and read in one round trip before the first write is carried out.

Each statement sees what was committed when it began. So the live rows are locked first, in the order of their ids, and
everything that changes under that lock is read by later statements: nothing stale, no wake-up lost. Users' ids are
locked before they are looked up, whether they are there or not, by an advisory lock on their hash that ends with the
transaction; that is what makes two starts of one id in two processes come one after the other. What is not foreseen
here is read when it is asked for, at the price of a round trip.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from qwit_durable.core import Kind, OperatorActed, SignalReceived, Verb
from qwit_durable.ids import child_id, parse_run_id
from qwit_durable.stores.kernel import touched
from qwit_durable.stores.lanes import LaneKey
from qwit_durable.stores.postgres import lanes
from qwit_durable.stores.postgres.connecting import PgStatements
from qwit_durable.stores.postgres.lanes import LOCK, PATIENCE, PgLanes, lock_of
from qwit_durable.stores.pruning import Prune
from qwit_durable.stores.rows import TURN, RunRow
from qwit_durable.stores.schedules import DropSchedule, FireSchedule, PutSchedule
from qwit_durable.stores.sql.cache import RunCache
from qwit_durable.stores.sql.mapped import Mapped
from qwit_durable.stores.sql.session import SqlSession
from qwit_durable.stores.sql.table import Columns, Table
from qwit_durable.stores.sql.tables import EVENT_COLUMNS
from qwit_durable.stores.writes import (
    Acquire,
    Claim,
    Commit,
    CompleteTask,
    Deliver,
    Disown,
    FailTask,
    FireTimers,
    LeaveTask,
    OpenTask,
    ParkTask,
    ReportProgress,
    ResolveTask,
    Retire,
    Start,
    Unclaim,
    Write,
)

__all__ = ["PgSession"]

_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
_NOW = "SELECT clock_timestamp()"
# The history of a run that somebody holds is not wanted: the answer will be no.
_HISTORY = (
    f"SELECT run_id, {EVENT_COLUMNS} FROM qwit.event WHERE run_id = %s AND number > %s "
    "AND EXISTS (SELECT 1 FROM qwit.live WHERE run_id = %s AND owner IS NULL) ORDER BY number"
)
_HISTORIES = (
    f"SELECT event.run_id, {EVENT_COLUMNS} FROM unnest(%s::uuid[], %s::int8[]) AS wanted (run_id, after) "
    "JOIN qwit.live ON live.run_id = wanted.run_id AND owner IS NULL "
    "JOIN qwit.event ON event.run_id = wanted.run_id AND number > after ORDER BY event.run_id, number"
)

Question = tuple[str, Sequence[Any]]


class _Needs:
    """What a batch will read."""

    def __init__(self, writes: Sequence[Write], cache: RunCache) -> None:
        self._cache = cache
        self.lives: set[UUID] = set()
        self.runs: set[UUID] = set()
        self.schedules: set[tuple[str, str]] = set()
        self.keys: set[tuple[str, str]] = set()
        self.tasks: set[tuple[UUID, str]] = set()
        self.timers: set[tuple[UUID, str]] = set()
        self.signals: set[tuple[UUID, str]] = set()
        self.outcomes: set[UUID] = set()
        self.histories: dict[UUID, int] = {}
        self.lanes: set[LaneKey] = set()
        self.left_lanes: set[LaneKey] = set()
        for write in writes:
            self.lives.update(touched(write))
            self._add(write)
        self.runs |= self.lives
        self.runs = {run_id for run_id in self.runs if cache.get(run_id) is None}

    def _add(self, write: Write) -> None:
        if isinstance(write, ResolveTask | CompleteTask | Deliver):
            self.tasks.add((write.run_id, TURN))  # it may be owed one already
        match write:
            case Start(run=run):
                self._add_key(run)
                if run.lane is not None and not (write.delay or run.start_at or write.within):
                    self.lanes.add((run.namespace, run.lane))
            case Prune(namespace=namespace, roots=roots):
                self.keys.update((namespace, key) for _, key in roots)
                self.runs.update(run_id for run_id, _ in roots)
                self.outcomes.update(run_id for run_id, _ in roots)
            case PutSchedule(row=row):
                self.schedules.add((row.namespace, row.id))
            case DropSchedule(namespace=namespace, id=schedule_id):
                self.schedules.add((namespace, schedule_id))
            case FireSchedule(namespace=namespace, id=schedule_id, due=due):
                self.schedules.add((namespace, schedule_id))
                for one in due:
                    self._add_key(one.run)
                self.lanes.update(
                    (one.run.namespace, one.run.lane) for one in due if one.run.lane is not None
                )
            case Acquire(run_id=run_id, after=after):
                self.tasks.add((run_id, TURN))
                self.histories[run_id] = after
            case Commit():
                self._add_commit(write)
            case Claim(run_id=run_id, position=position):
                self.tasks.add((run_id, position))
            case ResolveTask(run_id=run_id, event=resolved):
                self.tasks.add((run_id, resolved.position))
            case FailTask(run_id=run_id, event=failed):
                self.tasks.add((run_id, failed.position))
            case CompleteTask(run_id=run_id, position=position):
                self.tasks.add((run_id, position))
            case OpenTask() | ParkTask() | ReportProgress() | LeaveTask() | Unclaim():
                self.tasks.add((write.run_id, write.position))
            case Deliver(run_id=run_id, event=OperatorActed(verb=Verb.TERMINATE)):
                self._add_left_lane(run_id)
            case Deliver(run_id=run_id, event=SignalReceived(dedupe_id=str(dedupe_id))):
                self.signals.add((run_id, dedupe_id))
            case Disown(tasks=tasks) | Retire(unheard=frozenset() as tasks):
                self.tasks.update(tasks)
            case FireTimers(run_id=UUID() as run_id, position=position):
                self.lives.add(run_id)
                self.timers.add((run_id, position or ""))
            case _:
                pass

    def _add_key(self, run: RunRow) -> None:
        spelled = parse_run_id(run.key)
        if spelled is not None:
            self.runs.add(spelled)
        if not run.names_itself:
            self.keys.add((run.namespace, run.key))

    def _add_commit(self, write: Commit) -> None:
        self.runs.update(child.id for child in write.starts)
        if write.seen is not None:
            self.tasks.add((write.run_id, TURN))
        self.tasks.update((write.run_id, new.after) for new in write.tasks if new.after is not None)
        self.outcomes.update(reopen.run_id for reopen in write.reopens)
        if write.report is not None:
            self.tasks.add((write.report.run_id, TURN))
        if write.outcome is not None:
            self._add_left_lane(write.run_id)
        run = self._cache.get(write.run_id)
        for settled in write.settle:
            if settled.kind is not Kind.WORKFLOW:
                self.tasks.add((write.run_id, settled.position))
            elif run is not None:
                self.lives.add(child_id(run.id, write.generation, settled.position))

    def _add_left_lane(self, run_id: UUID) -> None:
        """The lane that a run leaves, if the run is known; otherwise it is locked when the run has been read."""
        run = self._cache.get(run_id)
        if run is not None and run.lane is not None:
            self.lanes.add((run.namespace, run.lane))
            self.left_lanes.add((run.namespace, run.lane))


class PgSession(SqlSession):
    """A session that has looked ahead."""

    lanes: PgLanes
    lanes_class = PgLanes

    def begin(
        self, statements: PgStatements, writes: Sequence[Write], now: datetime | None, *, opens: bool = True
    ) -> None:
        """Begin the transaction if it `opens` one, lock and read what is foreseen, and learn the time."""
        tables, needs = self._tables, _Needs(writes, self._cache)
        questions: list[Question] = []
        takers: list[Callable[[Sequence[Columns]], None]] = []

        def ask(question: Question, taker: Callable[[Sequence[Columns]], None]) -> None:
            questions.append(question)
            takers.append(taker)

        def look_up(
            table: Table[Any, Any], mapped: Mapped[Any, Any], keys: Collection[Any], lock: str = ""
        ) -> None:
            if keys:
                ask(_rows_of(table, sorted(keys), lock), lambda rows: mapped.expect(keys, rows))

        if opens:
            ask((_BEGIN, ()), _ignore)
        # Nobody else locks schedules, and these lock nothing before them.
        look_up(tables.schedule, self._schedules, needs.schedules, " FOR UPDATE")
        if needs.keys:
            ask((LOCK, [sorted(lock_of(key, b"qwit-idem") for key in needs.keys)]), _ignore)
        look_up(tables.live, self._lives, needs.lives, " FOR UPDATE")
        if needs.lanes:
            ask((PATIENCE, (lanes.LOCK_PATIENCE,)), _ignore)
            ask(self.lanes.foresee_locks(needs.lanes), _ignore)
            look_up(tables.lane, self.lanes.rows, needs.lanes, " FOR UPDATE")
        if needs.left_lanes:
            ask(self.lanes.foresee_next(needs.left_lanes), self._expect_next)
        look_up(tables.key, self._keys, needs.keys)
        look_up(tables.task, self._tasks, needs.tasks, " FOR UPDATE")
        look_up(tables.timer, self._timers, needs.timers)
        look_up(tables.signal, self._signals, needs.signals)
        look_up(tables.run, self._runs, needs.runs)
        look_up(tables.outcome, self._outcomes, needs.outcomes)
        if needs.histories:
            ask(_histories(needs.histories), lambda rows: self._expect_events(needs.histories, rows))
        if now is None:
            ask((_NOW, ()), self._learn_time)
        else:
            self._now = now
        for taker, rows in zip(takers, statements.ask(questions), strict=True):
            taker(rows)

    def _learn_time(self, rows: Sequence[Columns]) -> None:
        self._now = rows[0][0]

    def _expect_next(self, rows: Sequence[Columns]) -> None:
        width = len(self._tables.place.columns)
        self.lanes.expect_next(row[:width] for row in rows)
        self._runs.take(row[width:] for row in rows)

    def _expect_events(self, histories: dict[UUID, int], rows: Sequence[Columns]) -> None:
        for row in rows:
            key = row[0], histories[row[0]]
            self._read.setdefault(key, []).append(self._tables.encoding.read_event(row[1:]))


def _ignore(_: Sequence[Columns]) -> None:
    pass


def _rows_of(table: Table[Any, Any], keys: Sequence[Any], lock: str) -> Question:
    """Look up the rows of these keys, in their order.

    One key is asked for without arrays: the server then keeps one plan, while for arrays it plans each time anew.
    """
    if len(keys) == 1:
        return table.select + lock, table.key_in(keys[0])
    names = table.columns[: table.width]
    select = f"SELECT {table.listed()} FROM qwit.{table.name} WHERE"
    if table.width == 1:
        return f"{select} {names[0]} = ANY(%s) ORDER BY {names[0]}{lock}", [list(keys)]
    both = ", ".join(names)
    columns = [list(column) for column in zip(*keys, strict=True)]
    first = "uuid" if table.columns[0] == "run_id" else "text"
    given = f"(SELECT * FROM unnest(%s::{first}[], %s::text[]))"
    return f"{select} ({both}) IN {given} ORDER BY {both}{lock}", columns


def _histories(wanted: dict[UUID, int]) -> Question:
    if len(wanted) == 1:
        ((run_id, after),) = wanted.items()
        return _HISTORY, (run_id, after, run_id)
    return _HISTORIES, ([*wanted], [*wanted.values()])
