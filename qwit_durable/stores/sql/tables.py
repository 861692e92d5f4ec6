"""All tables of a store: here those of owed work, of users' ids and of workers.

The names of columns are those of `stores/schema`. Events have no table of this kind: they are only ever appended, and
read in order (`stores.sql.session`).
"""

from __future__ import annotations

import json
from uuid import UUID

from qwit_durable.stores.encoding import Encoding
from qwit_durable.stores.rows import PublishedRow, TaskRow, TimerRow, WorkerRow
from qwit_durable.stores.sql.dialect import Dialect, marks
from qwit_durable.stores.sql.lanes import LaneTable, PlaceTable
from qwit_durable.stores.sql.run_tables import Lives, Outcomes, Runs
from qwit_durable.stores.sql.schedules import Schedules
from qwit_durable.stores.sql.table import AtPosition, Columns, Table

__all__ = ["EVENT_COLUMNS", "Tables"]

EVENT_COLUMNS = "kind, position, name, attempt, args, value, detail"


class Tasks(AtPosition[TaskRow]):
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
        *("opened", "parked_at", "ended", "progress", "progress_at", "note"),
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
            row.opened,
            d.maybe_time(row.parked_at),
            None if row.ended is None else self._encoding.write_failure(row.ended),
            None if row.progress is None else self._encoding.seal(row.progress),
            d.maybe_time(row.progress_at),
            row.note,
        )

    def row_out(self, columns: Columns) -> TaskRow:
        d = self._dialect
        run_id, position, queue, name, ready_at, ring_at, priority, attempt, owner, began_at, *rest = columns
        claimed_at, rings, cancelled, spec, opened, parked_at, ended, progress, progress_at, note = rest
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
            opened=opened,
            parked_at=d.maybe_time_out(parked_at),
            ended=None if ended is None else self._encoding.read_failure(ended),
            progress=None if progress is None else self._encoding.open(progress),
            progress_at=d.maybe_time_out(progress_at),
            note=note,
        )


class Timers(AtPosition[TimerRow]):
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


class Signals(AtPosition[tuple[UUID, str]]):
    """Ids of signals that have come."""

    name = "signal"
    columns = ("run_id", "dedupe_id")

    def key_of(self, row: tuple[UUID, str]) -> tuple[UUID, str]:
        return row

    def row_in(self, row: tuple[UUID, str]) -> Columns:
        return self.key_in(row)

    def row_out(self, columns: Columns) -> tuple[UUID, str]:
        return self._dialect.id_out(columns[0]), columns[1]


class Published(AtPosition[PublishedRow]):
    """What bodies let others see."""

    name = "published"
    columns = ("run_id", "key", "value", "at")

    def key_of(self, row: PublishedRow) -> tuple[UUID, str]:
        return row.run_id, row.key

    def row_in(self, row: PublishedRow) -> Columns:
        d = self._dialect
        return d.id_in(row.run_id), row.key, self._encoding.seal(row.value), d.time_in(row.at)

    def row_out(self, columns: Columns) -> PublishedRow:
        run_id, key, value, at = columns
        d = self._dialect
        return PublishedRow(
            run_id=d.id_out(run_id), key=key, value=self._encoding.open(value), at=d.time_out(at)
        )


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


class Secrets(Table[str, tuple[str, bytes]]):
    """What the store's processes share and nobody else may know: as text, because any byte may stand in a secret."""

    name = "secret"
    columns = ("name", "value")

    def key_of(self, row: tuple[str, bytes]) -> str:
        return row[0]

    def key_in(self, key: str) -> Columns:
        return (key,)

    def row_in(self, row: tuple[str, bytes]) -> Columns:
        return row[0], self._encoding.seal(row[1].hex().encode())

    def row_out(self, columns: Columns) -> tuple[str, bytes]:
        return columns[0], bytes.fromhex(self._encoding.open(columns[1]).decode())


class Tables:
    """All tables of one store."""

    def __init__(self, dialect: Dialect, encoding: Encoding) -> None:
        self.dialect = dialect
        self.encoding = encoding
        self.insert_event = dialect.sql(
            f"INSERT INTO {{event}} (run_id, number, at, {EVENT_COLUMNS}) VALUES ({marks(10)})"
        )
        self.run = Runs(dialect, encoding)
        self.live = Lives(dialect, encoding)
        self.outcome = Outcomes(dialect, encoding)
        self.task = Tasks(dialect, encoding)
        self.timer = Timers(dialect, encoding)
        self.signal = Signals(dialect, encoding)
        self.published = Published(dialect, encoding)
        self.key = Keys(dialect, encoding)
        self.lane = LaneTable(dialect, encoding)
        self.place = PlaceTable(dialect, encoding)
        self.schedule = Schedules(dialect, encoding)
        self.worker = Workers(dialect, encoding)
        self.secret = Secrets(dialect, encoding)
