"""`stores.session.Session` over SQL: reads when asked, remembers, and writes at the end, table by table.

Rules, on which the locks of a server rest:

- A run's events, timers and tasks change only under the lock of its live row, which is taken first. (Bells that are put
  off and work that is freed change a task under the task's own lock.)
- Whoever selects a set of rows writes first what is waiting, so that the set holds its own changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from qwit_durable.core import Event, Status
from qwit_durable.stores.rows import LiveRow, OutcomeRow, PublishedRow, RunRow, TaskRow, TimerRow, WorkerRow
from qwit_durable.stores.sql.cache import RunCache
from qwit_durable.stores.sql.dialect import Statements
from qwit_durable.stores.sql.due import SqlDue
from qwit_durable.stores.sql.lanes import SqlLanes
from qwit_durable.stores.sql.mapped import Change, Mapped
from qwit_durable.stores.sql.pruning import SqlPruning
from qwit_durable.stores.sql.schedules import SqlSchedules
from qwit_durable.stores.sql.table import Columns, Table
from qwit_durable.stores.sql.tables import EVENT_COLUMNS, Tables

__all__ = ["SqlSession"]

_K = TypeVar("_K")
_R = TypeVar("_R")


class SqlSession(SqlSchedules, SqlPruning, SqlDue):
    """Rows within one transaction. The store that made it begins and ends the transaction."""

    lanes_class = SqlLanes

    def __init__(
        self, tables: Tables, statements: Statements, cache: RunCache, now: datetime | None = None
    ) -> None:
        self._tables = tables
        self._dialect = dialect = tables.dialect
        self._statements = statements
        self._cache = cache
        self._now = now
        self._runs: Mapped[UUID, RunRow] = Mapped(tables.run, statements)
        self._keys = Mapped(tables.key, statements)
        self._lives: Mapped[UUID, LiveRow] = Mapped(tables.live, statements, dialect.locked("live"))
        self._outcomes: Mapped[UUID, OutcomeRow] = Mapped(tables.outcome, statements)
        self._signals = Mapped(tables.signal, statements)
        self._published: Mapped[tuple[UUID, str], PublishedRow] = Mapped(tables.published, statements)
        self._tasks: Mapped[tuple[UUID, str], TaskRow] = Mapped(
            tables.task, statements, dialect.locked("task")
        )
        self._timers: Mapped[tuple[UUID, str], TimerRow] = Mapped(tables.timer, statements)
        self._schedules = Mapped(tables.schedule, statements, dialect.locked("schedule"))
        self._workers: Mapped[int, WorkerRow] = Mapped(tables.worker, statements)
        self._secrets: Mapped[str, tuple[str, bytes]] = Mapped(tables.secret, statements)
        self.lanes = self.lanes_class(
            tables.lane, tables.place, statements, self.flush, dialect.locked("lane")
        )
        self._appended: dict[UUID, list[tuple[int, Event]]] = {}
        self._read: dict[tuple[UUID, int], list[Event]] = {}
        self._without_work: set[UUID] = set()

    @property
    def now(self) -> datetime:
        assert self._now is not None
        return self._now

    # -- runs --------------------------------------------------------------------------------------------------

    def run(self, run_id: UUID) -> RunRow | None:
        return self._cache.get(run_id) or self._runs.get(run_id)

    def add_run(self, row: RunRow) -> None:
        self._runs.forget([row.id])
        self._runs.put(row)

    def run_of_key(self, namespace: str, key: str) -> UUID | None:
        found = self._keys.get((namespace, key))
        return None if found is None else found[2]

    def put_key(self, namespace: str, key: str, run_id: UUID) -> None:
        self._keys.put((namespace, key, run_id))

    def live(self, run_id: UUID) -> LiveRow | None:
        return self._lives.get(run_id)

    def live_unless_locked(self, run_id: UUID) -> LiveRow | None:
        if not self._lives.knows(run_id) and self._dialect.locks:
            select = self._tables.live.select + self._dialect.locked("live", skip=True)
            if not self._lives.take(self._statements.rows(select, [self._dialect.id_in(run_id)])):
                return None
        return self._lives.get(run_id)

    def put_live(self, row: LiveRow) -> None:
        if not self._lives.knows(row.run_id):
            # Whoever has not looked for it makes a new run: two that do so must not both succeed.
            self._lives.forget([row.run_id])
        self._lives.put(row)

    def drop_live(self, run_id: UUID) -> None:
        self._lives.drop(run_id)

    def lives_of(self, worker: int) -> Sequence[LiveRow]:
        lock = self._dialect.locked("live")
        return self._select(
            self._tables.live, self._lives, f"WHERE owner = ? ORDER BY run_id{lock}", [worker]
        )

    def stuck_over_code(self, limit: int) -> Sequence[LiveRow]:
        rest = (
            f"WHERE status = ? AND reason_kind = 'code' ORDER BY run_id LIMIT ?{self._dialect.locked('live')}"
        )
        return self._select(self._tables.live, self._lives, rest, [Status.STUCK.value, limit])

    def outcome(self, run_id: UUID) -> OutcomeRow | None:
        return self._outcomes.get(run_id)

    def put_outcome(self, row: OutcomeRow) -> None:
        self._outcomes.put(row)

    def drop_outcome(self, run_id: UUID) -> None:
        self._outcomes.drop(run_id)

    def open_children(self, run_id: UUID) -> Sequence[UUID]:
        self.flush()
        sql = "SELECT id FROM {run} JOIN {live} ON run_id = id WHERE parent_id = ? ORDER BY id"
        rows = self._statements.rows(self._dialect.sql(sql), [self._dialect.id_in(run_id)])
        return [self._dialect.id_out(row[0]) for row in rows]

    # -- history -----------------------------------------------------------------------------------------------

    def append(self, run_id: UUID, first: int, events: Sequence[Event]) -> None:
        self._appended.setdefault(run_id, []).extend((first + i, event) for i, event in enumerate(events))

    def events(self, run_id: UUID, after: int) -> Sequence[Event]:
        stored = self._read.get((run_id, after))
        if stored is None:
            self.flush()
            sql = self._dialect.sql(
                f"SELECT {EVENT_COLUMNS} FROM {{event}} WHERE run_id = ? AND number > ? ORDER BY number"
            )
            read = self._tables.encoding.read_event
            stored = [read(row) for row in self._statements.rows(sql, [self._dialect.id_in(run_id), after])]
        return [*stored, *(event for number, event in self._appended.get(run_id, ()) if number > after)]

    def knows_signal(self, run_id: UUID, dedupe_id: str) -> bool:
        return self._signals.get((run_id, dedupe_id)) is not None

    def is_new_signal(self, run_id: UUID, dedupe_id: str) -> bool:
        if self.knows_signal(run_id, dedupe_id):
            return False
        self._signals.put((run_id, dedupe_id))
        return True

    def put_published(self, row: PublishedRow) -> None:
        self._published.put(row)

    def drop_events(self, run_id: UUID) -> None:
        self.flush()
        sql = self._dialect.sql("DELETE FROM {event} WHERE run_id = ?")
        self._statements.many([(sql, [(self._dialect.id_in(run_id),)])])
        self._read = {key: events for key, events in self._read.items() if key[0] != run_id}

    # -- owed work ---------------------------------------------------------------------------------------------

    def task(self, run_id: UUID, position: str) -> TaskRow | None:
        if run_id in self._without_work and not self._tasks.knows((run_id, position)):
            return None
        return self._tasks.get((run_id, position))

    def tasks(self, run_id: UUID) -> Sequence[TaskRow]:
        rest = f"WHERE run_id = ? ORDER BY position{self._dialect.locked('task')}"
        return self._select(self._tables.task, self._tasks, rest, [self._dialect.id_in(run_id)])

    def tasks_under(self, run_id: UUID, position: str) -> Sequence[TaskRow]:
        rest = f"WHERE run_id = ? AND position >= ? AND position < ? ORDER BY position{self._dialect.locked('task')}"
        return self._select(self._tables.task, self._tasks, rest, self._under(run_id, position))

    def drop_idle_tasks(self, run_id: UUID, position: str) -> None:
        self.flush()
        rest = "run_id = ? AND position >= ? AND position < ? AND attempt = 0 AND owner IS NULL"
        sql = self._dialect.sql(f"DELETE FROM {{task}} WHERE {rest}")
        self._statements.many([(sql, [self._under(run_id, position)])])
        known = [key for key in self._tasks.known_keys() if key[0] == run_id]
        self._tasks.unlearn(key for key in known if key[1].startswith(f"{position}."))

    def _under(self, run_id: UUID, position: str) -> list[Any]:
        # "/" follows "." in the order of bytes, in which positions are sorted.
        return [self._dialect.id_in(run_id), f"{position}.", f"{position}/"]

    def tasks_of(self, worker: int) -> Sequence[TaskRow]:
        rest = f"WHERE owner = ? ORDER BY run_id, position{self._dialect.locked('task')}"
        return self._select(self._tables.task, self._tasks, rest, [worker])

    def put_task(self, row: TaskRow) -> None:
        self._cache.walks.due(row.ring_at)
        self._tasks.put(row)

    def drop_task(self, run_id: UUID, position: str) -> None:
        self._tasks.drop((run_id, position))

    def timer(self, run_id: UUID, position: str) -> TimerRow | None:
        if run_id in self._without_work and not self._timers.knows((run_id, position)):
            return None
        return self._timers.get((run_id, position))

    def put_timer(self, row: TimerRow) -> None:
        self._cache.walks.due(row.fire_at)
        self._timers.put(row)

    def drop_timer(self, run_id: UUID, position: str) -> None:
        self._timers.drop((run_id, position))

    def drop_work(self, run_id: UUID) -> None:
        self._without_work.add(run_id)
        for mapped in (self._tasks, self._timers):
            mapped.forget([key for key in mapped.known_keys() if key[0] == run_id])

    # -- workers -----------------------------------------------------------------------------------------------

    def worker(self, worker: int) -> WorkerRow | None:
        return self._workers.get(worker)

    def workers(self) -> Sequence[WorkerRow]:
        return self._select(self._tables.worker, self._workers, "ORDER BY started_at, id", [])

    def put_worker(self, row: WorkerRow) -> None:
        self._workers.put(row)

    def drop_worker(self, worker: int) -> None:
        self._workers.drop(worker)
        self.flush()  # in the order in which a beat locks them
        self._statements.many([(self._dialect.sql("DELETE FROM {duty} WHERE worker = ?"), [(worker,)])])

    def lead(self, duty: str, worker: int, lease: timedelta) -> bool:
        sql = self._dialect.sql(
            "INSERT INTO {duty} AS duty (duty, worker, until) VALUES (?, ?, ?) ON CONFLICT (duty) DO UPDATE "
            "SET worker = excluded.worker, until = excluded.until "
            "WHERE duty.worker = excluded.worker OR duty.until <= ? RETURNING worker"
        )
        until, now = self._dialect.time_in(self.now + lease), self._dialect.time_in(self.now)
        return bool(self._statements.rows(sql, [duty, worker, until, now]))

    def secret(self, name: str) -> bytes | None:
        found = self._secrets.get(name)
        return None if found is None else found[1]

    def put_secret(self, name: str, value: bytes) -> None:
        self._secrets.put((name, value))

    def is_alive(self, row: WorkerRow) -> bool:
        return row.expires_at > self.now

    # -- ending ------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what is waiting."""
        if changes := self.changes():
            self._statements.many(changes)

    def changes(self) -> list[Change]:
        """The statements that write what is waiting; afterwards nothing is."""
        changes: list[Change] = []
        if self._without_work:
            ids = [(self._dialect.id_in(run_id),) for run_id in sorted(self._without_work)]
            self._without_work.clear()
            changes += [
                (self._dialect.sql(f"DELETE FROM {{{t}}} WHERE run_id = ?"), ids) for t in ("task", "timer")
            ]
        for mapped in self._mapped:
            if mapped.is_dirty:
                changes += mapped.changes()
        if self._appended:
            changes.append(self._events_appended())
        return changes

    @property
    def _mapped(self) -> tuple[Mapped[Any, Any], ...]:
        return (
            *(self._runs, self._keys, self._lives, self._outcomes, self.lanes.rows, self.lanes.places),
            *(self._signals, self._published, self._tasks, self._timers, self._workers, self._secrets),
            self._schedules,
        )

    def _events_appended(self) -> Change:
        id_in, at, write = (
            self._dialect.id_in,
            self._dialect.time_in(self.now),
            self._tables.encoding.write_event,
        )
        rows: list[Columns] = [
            (id_in(run_id), number, at, *write(event))
            for run_id, events in self._appended.items()
            for number, event in events
        ]
        self._appended.clear()
        self._read.clear()
        return self._tables.insert_event, rows

    def look_again(self, run_ids: Iterable[UUID]) -> None:
        """Ask the database again about these runs, to which something is appended beside these rows.

        Nothing of them may be waiting to be written.
        """
        self._lives.unlearn(run_ids)
        self._read.clear()

    def committed(self) -> None:
        """Learn that the transaction is durable."""
        for _, row in self._runs.written():
            self._cache.add(row)

    def _select(
        self, table: Table[_K, _R], mapped: Mapped[_K, _R], rest: str, params: Sequence[Any]
    ) -> list[_R]:
        self.flush()
        sql = self._dialect.sql(f"SELECT {table.listed()} FROM {{{table.name}}} {rest}")
        return mapped.take(self._statements.rows(sql, params))
