"""Lanes over SQL: their two tables, and row access within one transaction.

Imports no driver. With one writer at a time nothing needs to be locked; `stores.postgres.lanes` locks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import UUID

from qwit_durable.stores.encoding import Encoding
from qwit_durable.stores.lanes import LaneKey
from qwit_durable.stores.rows import LaneRow, PlaceRow
from qwit_durable.stores.sql.dialect import Dialect, Statements
from qwit_durable.stores.sql.mapped import Mapped
from qwit_durable.stores.sql.table import Columns, OfRun, Table

__all__ = ["LaneTable", "PlaceTable", "SqlLanes"]


class LaneTable(Table[LaneKey, LaneRow]):
    """Lanes that somebody is in."""

    name = "lane"
    columns = ("namespace", "lane", "head", "number", "last", "waiting", "since")
    width = 2

    def key_of(self, row: LaneRow) -> LaneKey:
        return row.namespace, row.lane

    def key_in(self, key: LaneKey) -> Columns:
        return key

    def row_in(self, row: LaneRow) -> Columns:
        d = self._dialect
        numbers = row.number, row.last, row.waiting
        return row.namespace, row.lane, d.id_in(row.head), *numbers, d.time_in(row.since)

    def row_out(self, columns: Columns) -> LaneRow:
        namespace, lane, head, number, last, waiting, since = columns
        return LaneRow(
            namespace=namespace,
            lane=lane,
            head=self._dialect.id_out(head),
            number=number,
            last=last,
            waiting=waiting,
            since=self._dialect.time_out(since),
        )


class PlaceTable(OfRun[PlaceRow]):
    """Places of runs that wait."""

    name = "place"
    columns = ("run_id", "namespace", "lane", "number")

    def __init__(self, dialect: Dialect, encoding: Encoding) -> None:
        super().__init__(dialect, encoding)
        self.select_next = dialect.sql(
            f"SELECT {self.listed()} FROM {{place}} WHERE namespace = ? AND lane = ? AND number > ? "
            "ORDER BY number LIMIT 1"
        )

    def key_of(self, row: PlaceRow) -> UUID:
        return row.run_id

    def row_in(self, row: PlaceRow) -> Columns:
        return self._dialect.id_in(row.run_id), row.namespace, row.lane, row.number

    def row_out(self, columns: Columns) -> PlaceRow:
        run_id, namespace, lane, number = columns
        return PlaceRow(run_id=self._dialect.id_out(run_id), namespace=namespace, lane=lane, number=number)


class SqlLanes:
    """`stores.lanes.Lanes` for one transaction; `flush` writes what the session has waiting."""

    def __init__(
        self,
        lanes: LaneTable,
        places: PlaceTable,
        statements: Statements,
        flush: Callable[[], None],
        lock: str,
    ) -> None:
        self.rows: Mapped[LaneKey, LaneRow] = Mapped(lanes, statements, lock)
        self.places: Mapped[UUID, PlaceRow] = Mapped(places, statements)
        self._lane_table = lanes
        self._place_table = places
        self._statements = statements
        self._flush = flush
        self._locked: set[LaneKey] = set()

    def lock(self, keys: Iterable[LaneKey]) -> None:
        wanted = sorted(set(keys) - self._locked)
        if wanted:
            self._take_locks(wanted)
            self._locked.update(wanted)

    def _take_locks(self, keys: list[LaneKey]) -> None:
        """Wait for these locks."""

    def get(self, key: LaneKey) -> LaneRow | None:
        self.lock([key])
        return self.rows.get(key)

    def head(self, key: LaneKey) -> UUID | None:
        if key in self._locked:
            known = self.rows.get(key)
            return None if known is None else known.head
        # What is read without a lock is not remembered.
        rows = self._statements.rows(self._lane_table.select, self._lane_table.key_in(key))
        return self._lane_table.row_out(rows[0]).head if rows else None

    def put(self, row: LaneRow) -> None:
        self.rows.put(row)

    def drop(self, key: LaneKey) -> None:
        self.rows.drop(key)

    def place(self, run_id: UUID) -> PlaceRow | None:
        return self.places.get(run_id)

    def next_place(self, lane: LaneRow) -> PlaceRow:
        if self.places.is_dirty:
            self._flush()
        rows = self._statements.rows(self._place_table.select_next, (lane.namespace, lane.lane, lane.number))
        return self.places.take(rows)[0]

    def put_place(self, row: PlaceRow) -> None:
        self.places.put(row)

    def drop_place(self, row: PlaceRow) -> None:
        self.places.drop(row.run_id)
