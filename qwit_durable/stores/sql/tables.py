"""The tables: their columns, and how rows of `stores.rows` lie in them. One set of instances per store.

The names here are those of `stores/schema`. Events are not among them: they are only ever appended, and read in order
(`stores.sql.session`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from qwit_durable.core import Status
from qwit_durable.stores.encoding import Encoding
from qwit_durable.stores.reasons import read_reason
from qwit_durable.stores.rows import LiveRow, OutcomeRow, RunRow, TaskRow, TimerRow, WorkerRow
from qwit_durable.stores.sql.dialect import Dialect, marks

__all__ = ["EVENT_COLUMNS", "Columns", "Keys", "Lives", "Outcomes", "Runs", "Table", "Tables", "Tasks"]

_K = TypeVar("_K")
_R = TypeVar("_R")
Columns = Sequence[Any]

EVENT_COLUMNS = "kind, position, name, attempt, args, value, detail"


class Table(Generic[_K, _R]):
    """One table and its statements. The first `width` columns are its key; values follow in the order of `columns`."""

    name: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    width: ClassVar[int] = 1

    def __init__(self, dialect: Dialect, encoding: Encoding) -> None:
        self._dialect = dialect
        self._encoding = encoding
        key, rest = self.columns[: self.width], self.columns[self.width :]
        where = " AND ".join(f"{column} = ?" for column in key)
        insert = (
            f"INSERT INTO {{{self.name}}} ({', '.join(self.columns)}) VALUES ({marks(len(self.columns))})"
        )
        renewed = ", ".join(f"{column} = excluded.{column}" for column in rest)
        then = f"DO UPDATE SET {renewed}" if rest else "DO NOTHING"
        changed = ", ".join(f"{column} = ?" for column in rest)
        self.select = dialect.sql(f"SELECT {self.listed()} FROM {{{self.name}}} WHERE {where}")
        self.insert = dialect.sql(insert)
        self.upsert = dialect.sql(f"{insert} ON CONFLICT ({', '.join(key)}) {then}")
        self.update = dialect.sql(f"UPDATE {{{self.name}}} SET {changed} WHERE {where}")
        self.delete = dialect.sql(f"DELETE FROM {{{self.name}}} WHERE {where}")

    @classmethod
    def listed(cls, alias: str = "") -> str:
        """The columns as they stand in a select."""
        return ", ".join(f"{alias}.{column}" if alias else column for column in cls.columns)

    def key_of(self, row: _R) -> _K:
        """The key of a row."""
        raise NotImplementedError

    def key_in(self, key: _K) -> Columns:
        """A key as columns."""
        raise NotImplementedError

    def row_in(self, row: _R) -> Columns:
        """A row as columns."""
        raise NotImplementedError

    def row_out(self, columns: Columns) -> _R:
        """The row in these columns."""
        raise NotImplementedError


class _OfRun(Table[UUID, _R]):
    """One row per run."""

    def key_in(self, key: UUID) -> Columns:
        return (self._dialect.id_in(key),)


class Runs(_OfRun[RunRow]):
    """Runs as they were started."""

    name = "run"
    columns = (
        *(
            "id",
            "namespace",
            "key",
            "workflow",
            "version",
            "queue",
            "root_id",
            "args",
            "created_at",
            "start_at",
        ),
        *("parent_id", "parent_position", "generation", "attributes", "deadline_at", "trace"),
    )

    def key_of(self, row: RunRow) -> UUID:
        return row.id

    def row_in(self, row: RunRow) -> Columns:
        d = self._dialect
        return (
            d.id_in(row.id),
            row.namespace,
            row.key,
            row.workflow,
            row.version,
            row.queue,
            d.id_in(row.root_id),
            self._encoding.seal(row.args),
            d.time_in(row.created_at),
            d.maybe_time(row.start_at),
            d.maybe_id(row.parent_id),
            row.parent_position,
            row.generation,
            json.dumps(row.attributes, sort_keys=True, allow_nan=False),
            d.maybe_time(row.deadline_at),
            row.trace,
        )

    def row_out(self, columns: Columns) -> RunRow:
        d = self._dialect
        run_id, namespace, key, workflow, version, queue, root_id, args, created_at, start_at, *rest = columns
        parent_id, parent_position, generation, attributes, deadline_at, trace = rest
        return RunRow(
            id=d.id_out(run_id),
            namespace=namespace,
            key=key,
            workflow=workflow,
            version=version,
            queue=queue,
            root_id=d.id_out(root_id),
            args=self._encoding.open(args),
            created_at=d.time_out(created_at),
            start_at=d.maybe_time_out(start_at),
            parent_id=d.maybe_id_out(parent_id),
            parent_position=parent_position,
            generation=generation,
            attributes=json.loads(attributes),
            deadline_at=d.maybe_time_out(deadline_at),
            trace=trace,
        )


class Lives(_OfRun[LiveRow]):
    """What changes about open runs. `reason_kind` is taken out of `reason`, which may be sealed."""

    name = "live"
    columns = (
        *(
            "run_id",
            "status",
            "updated_at",
            "owner",
            "epoch",
            "head",
            "awaiting",
            "begun",
            "lost",
            "cancel_asked",
        ),
        *("reason", "reason_kind", "note"),
    )

    def key_of(self, row: LiveRow) -> UUID:
        return row.run_id

    def row_in(self, row: LiveRow) -> Columns:
        d = self._dialect
        reason = read_reason(row.reason)
        return (
            d.id_in(row.run_id),
            row.status.value,
            d.time_in(row.updated_at),
            row.owner,
            row.epoch,
            row.head,
            row.awaiting,
            row.begun,
            row.lost,
            row.cancel_asked,
            None if row.reason is None else self._encoding.seal(row.reason),
            None if reason is None else reason.kind,
            row.note,
        )

    def row_out(self, columns: Columns) -> LiveRow:
        d = self._dialect
        run_id, status, updated_at, owner, epoch, head, awaiting, begun, lost, cancel_asked, *rest = columns
        reason, _, note = rest
        return LiveRow(
            run_id=d.id_out(run_id),
            status=Status(status),
            updated_at=d.time_out(updated_at),
            owner=owner,
            epoch=epoch,
            head=head,
            awaiting=awaiting,
            begun=bool(begun),
            lost=lost,
            cancel_asked=bool(cancel_asked),
            reason=None if reason is None else self._encoding.open(reason),
            note=note,
        )


class Outcomes(_OfRun[OutcomeRow]):
    """How runs ended."""

    name = "outcome"
    columns = ("run_id", "status", "ended_at", "value", "failure", "undone", "epoch", "head")

    def key_of(self, row: OutcomeRow) -> UUID:
        return row.run_id

    def row_in(self, row: OutcomeRow) -> Columns:
        return (
            self._dialect.id_in(row.run_id),
            row.status.value,
            self._dialect.time_in(row.ended_at),
            None if row.value is None else self._encoding.seal(row.value),
            None if row.failure is None else self._encoding.write_failure(row.failure),
            json.dumps(row.undone),
            row.epoch,
            row.head,
        )

    def row_out(self, columns: Columns) -> OutcomeRow:
        run_id, status, ended_at, value, failure, undone, epoch, head = columns
        return OutcomeRow(
            run_id=self._dialect.id_out(run_id),
            status=Status(status),
            ended_at=self._dialect.time_out(ended_at),
            value=None if value is None else self._encoding.open(value),
            failure=None if failure is None else self._encoding.read_failure(failure),
            undone=tuple(json.loads(undone)),
            epoch=epoch,
            head=head,
        )


class _AtPosition(Table[tuple[UUID, str], _R]):
    """Rows of a run, each with a text of its own."""

    width = 2

    def key_in(self, key: tuple[UUID, str]) -> Columns:
        return self._dialect.id_in(key[0]), key[1]


class Tasks(_AtPosition[TaskRow]):
    """Owed work."""

    name = "task"
    columns = (
        *(
            "run_id",
            "position",
            "queue",
            "name",
            "ready_at",
            "ring_at",
            "priority",
            "attempt",
            "owner",
            "began_at",
        ),
        *("claimed_at", "rings", "cancelled", "spec"),
    )

    def key_of(self, row: TaskRow) -> tuple[UUID, str]:
        return row.run_id, row.position

    def row_in(self, row: TaskRow) -> Columns:
        d = self._dialect
        return (
            d.id_in(row.run_id),
            row.position,
            row.queue,
            row.name,
            d.time_in(row.ready_at),
            d.time_in(row.ring_at),
            row.priority,
            row.attempt,
            row.owner,
            d.maybe_time(row.began_at),
            d.maybe_time(row.claimed_at),
            row.rings,
            row.cancelled,
            None if row.spec is None else self._encoding.write_spec(row.spec),
        )

    def row_out(self, columns: Columns) -> TaskRow:
        d = self._dialect
        run_id, position, queue, name, ready_at, ring_at, priority, attempt, owner, began_at, *rest = columns
        claimed_at, rings, cancelled, spec = rest
        return TaskRow(
            run_id=d.id_out(run_id),
            position=position,
            queue=queue,
            name=name,
            ready_at=d.time_out(ready_at),
            ring_at=d.time_out(ring_at),
            priority=priority,
            attempt=attempt,
            owner=owner,
            began_at=d.maybe_time_out(began_at),
            claimed_at=d.maybe_time_out(claimed_at),
            rings=rings,
            cancelled=bool(cancelled),
            spec=None if spec is None else self._encoding.read_spec(spec),
        )


class Timers(_AtPosition[TimerRow]):
    """What is due at a time."""

    name = "timer"
    columns = ("run_id", "position", "fire_at", "kind")

    def key_of(self, row: TimerRow) -> tuple[UUID, str]:
        return row.run_id, row.position

    def row_in(self, row: TimerRow) -> Columns:
        return self._dialect.id_in(row.run_id), row.position, self._dialect.time_in(row.fire_at), row.kind

    def row_out(self, columns: Columns) -> TimerRow:
        run_id, position, fire_at, kind = columns
        found = self._dialect
        return TimerRow(
            run_id=found.id_out(run_id), position=position, fire_at=found.time_out(fire_at), kind=kind
        )


class Signals(_AtPosition[tuple[UUID, str]]):
    """Ids of signals that have come."""

    name = "signal"
    columns = ("run_id", "dedupe_id")

    def key_of(self, row: tuple[UUID, str]) -> tuple[UUID, str]:
        return row

    def row_in(self, row: tuple[UUID, str]) -> Columns:
        return self.key_in(row)

    def row_out(self, columns: Columns) -> tuple[UUID, str]:
        return self._dialect.id_out(columns[0]), columns[1]


class Keys(Table[tuple[str, str], tuple[str, str, UUID]]):
    """Which run stands under a user's id."""

    name = "idem"
    columns = ("namespace", "key", "run_id")
    width = 2

    def key_of(self, row: tuple[str, str, UUID]) -> tuple[str, str]:
        return row[0], row[1]

    def key_in(self, key: tuple[str, str]) -> Columns:
        return key

    def row_in(self, row: tuple[str, str, UUID]) -> Columns:
        return row[0], row[1], self._dialect.id_in(row[2])

    def row_out(self, columns: Columns) -> tuple[str, str, UUID]:
        return columns[0], columns[1], self._dialect.id_out(columns[2])


class Workers(Table[int, WorkerRow]):
    """Incarnations of processes."""

    name = "worker"
    columns = ("id", "host", "pid", "process_started", "started_at", "beat_at", "expires_at", "queues")

    def key_of(self, row: WorkerRow) -> int:
        return row.id

    def key_in(self, key: int) -> Columns:
        return (key,)

    def row_in(self, row: WorkerRow) -> Columns:
        times = map(self._dialect.time_in, (row.started_at, row.beat_at, row.expires_at))
        return row.id, row.host, row.pid, row.process_started, *times, json.dumps(row.queues)

    def row_out(self, columns: Columns) -> WorkerRow:
        worker, host, pid, process_started, started_at, beat_at, expires_at, queues = columns
        return WorkerRow(
            id=worker,
            host=host,
            pid=pid,
            process_started=process_started,
            started_at=self._dialect.time_out(started_at),
            beat_at=self._dialect.time_out(beat_at),
            expires_at=self._dialect.time_out(expires_at),
            queues=tuple(json.loads(queues)),
        )


class Tables:
    """All tables of one store."""

    def __init__(self, dialect: Dialect, encoding: Encoding) -> None:
        self.dialect = dialect
        self.encoding = encoding
        self.run = Runs(dialect, encoding)
        self.live = Lives(dialect, encoding)
        self.outcome = Outcomes(dialect, encoding)
        self.task = Tasks(dialect, encoding)
        self.timer = Timers(dialect, encoding)
        self.signal = Signals(dialect, encoding)
        self.key = Keys(dialect, encoding)
        self.worker = Workers(dialect, encoding)
