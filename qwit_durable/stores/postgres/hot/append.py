"""Transitions that only append events: the write that a run makes once a step.

The holder, the epoch and the head are compared in the update's `WHERE`, under the row's lock, and the events are
inserted for the rows that were updated. Three forms of one statement: for one event of one run, whose plan is the
cheapest; for one event each of several; for several. Each by the rows' keys, or where they were last (`places`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from psycopg.pq.abc import PGresult

from qwit_durable.stores.answers import Answer, Committed
from qwit_durable.stores.encoding import Columns
from qwit_durable.stores.postgres.hot import binary
from qwit_durable.stores.postgres.hot.places import AT_PLACE, Places, is_key
from qwit_durable.stores.postgres.hot.prepared import Prepared, Question
from qwit_durable.stores.postgres.hot.rows import EVENT_ROWS, rows
from qwit_durable.stores.sql.tables import EVENT_COLUMNS, Tables
from qwit_durable.stores.writes import Checkpoint, Commit, Transition, Write

__all__ = [
    "ADDED",
    "EVENT_TYPES",
    "IS_HELD",
    "NOW",
    "Append",
    "event_arrays",
    "holders",
    "marks",
    "numbered",
]

ADDED = f"INSERT INTO qwit.event (run_id, number, at, {EVENT_COLUMNS})"
NOW = "coalesce($1::timestamptz, statement_timestamp())"
#: Of `EVENT_COLUMNS`.
EVENT_TYPES = ("text", "text", "text", "int8", "bytea", "bytea", "bytea")


def marks(first: int, types: Sequence[str], suffix: str = "") -> str:
    """Parameters of these types, counted from `first`."""
    return ", ".join(f"${first + nth}::{kind}{suffix}" for nth, kind in enumerate(types))


_BY_KEY = is_key("live.run_id", "id")
#: A live row is held as `holders` says.
IS_HELD = "live.owner = holder AND live.epoch = term AND live.head = coalesce(known, live.head)"


def _one(row: str) -> bytes:
    return f"""
WITH won AS (
    UPDATE qwit.live SET head = head + 1, lost = 0, updated_at = {NOW}
    WHERE {row} AND owner = $3::int8 AND epoch = $4::int8 AND head = $5::int8
    RETURNING run_id, head, updated_at, cancel_asked, ctid AS place
), added AS (
    {ADDED} SELECT run_id, head, updated_at, {marks(6, EVENT_TYPES)} FROM won
)
SELECT run_id, updated_at, cancel_asked, place FROM won
""".encode()


def _one_each(row: str, *place: tuple[int, str]) -> bytes:
    return f"""
WITH won AS (
    UPDATE qwit.live SET head = live.head + 1, lost = 0, updated_at = {NOW}
    FROM {rows("given", 2, f"id uuid, holder int8, term int8, known int8, {EVENT_ROWS}", *place)}
    WHERE {row} AND {IS_HELD}
    RETURNING live.run_id, live.head, updated_at, cancel_asked, live.ctid AS place, {EVENT_COLUMNS}
), added AS (
    {ADDED} SELECT run_id, head, updated_at, {EVENT_COLUMNS} FROM won
)
SELECT run_id, updated_at, cancel_asked, place FROM won
""".encode()


def _many(row: str, *place: tuple[int, str]) -> bytes:
    return f"""
WITH won AS (
    UPDATE qwit.live SET head = live.head + count, lost = 0, updated_at = {NOW}
    FROM {rows("given", 2, "id uuid, holder int8, term int8, known int8, count int8", *place)}
    WHERE {row} AND {IS_HELD}
    RETURNING live.run_id, live.head, live.head - count AS before, updated_at, cancel_asked, live.ctid AS place
), added AS (
    {ADDED} SELECT run_id, before + nth, updated_at, {EVENT_COLUMNS}
    FROM {rows("event", 7, f"run_id uuid, nth int8, {EVENT_ROWS}")} JOIN won USING (run_id)
)
SELECT run_id, updated_at, cancel_asked, place FROM won
""".encode()


_ONE = _one("run_id = $2::uuid")
_ONE_THERE = _one("ctid = $13::tid AND run_id IS NOT DISTINCT FROM $2::uuid")
_ONE_EACH, _ONE_EACH_THERE = _one_each(_BY_KEY), _one_each(AT_PLACE, (13, "place tid"))
_MANY, _MANY_THERE = _many(_BY_KEY), _many(AT_PLACE, (16, "place tid"))


class Append:
    """`HotWrites`' kind for them."""

    locks = True

    def __init__(self, tables: Tables, places: Places) -> None:
        self._encoding = tables.encoding
        self._places = places

    def takes(self, write: Write) -> Sequence[UUID] | None:
        """The run, if the write only appends events to it."""
        return (write.run_id,) if isinstance(write, Checkpoint) else None

    def questions(self, writes: Sequence[Checkpoint], now: bytes | None) -> Sequence[Question]:
        """The statement that carries all of them out."""
        return (self.question([write.run_id.bytes for write in writes], writes, now),)

    def question(self, ids: Sequence[bytes], writes: Sequence[Checkpoint], now: bytes | None) -> Question:
        """The same, of the runs of these ids."""
        places = self._places.of(ids)
        write_event = self._encoding.write_event
        if len(writes) == 1 and len(writes[0].events) == 1:
            (write,) = writes
            kind, position, name, attempt, args, value, detail = write_event(write.events[0])
            number = binary.number
            one = (
                now,
                ids[0],
                number(write.worker),
                number(write.epoch),
                number(write.head),
                kind.encode(),
                position.encode(),
                name.encode(),
                number(attempt),
                args,
                value,
                detail,
            )
            return (_ONE, one) if places is None else (_ONE_THERE, (*one, places[0]))
        whose = holders(writes, ids)
        columns = event_arrays([write_event(event) for write in writes for event in write.events])
        counts = [len(write.events) for write in writes]
        if max(counts) == 1:
            each = (now, *whose, *columns)
            return (_ONE_EACH, each) if places is None else (_ONE_EACH_THERE, (*each, binary.places(places)))
        of_run, nth = numbered(writes)
        many = (now, *whose, binary.numbers(counts), of_run, nth, *columns)
        return (_MANY, many) if places is None else (_MANY_THERE, (*many, binary.places(places)))

    def answers(
        self, writes: Sequence[Checkpoint], results: Sequence[PGresult], link: Prepared
    ) -> Sequence[Answer | None]:
        """The answers of those that won."""
        _ = link
        by_run = {write.run_id.bytes: write for write in writes}
        won = self.won(by_run, results[0])
        return [won.get(run_id) for run_id in by_run]

    def won(self, by_run: Mapping[bytes, Checkpoint], result: PGresult) -> Mapping[bytes, Committed]:
        """The same by the ids of their runs."""
        value = result.get_value
        won: dict[bytes, Committed] = {}
        if not result.ntuples:
            return won
        # It is one statement, so it has one time.
        now = binary.read_time(value(0, 1) or b"")
        for row in range(result.ntuples):
            run_id = value(row, 0) or b""
            write = by_run[run_id]
            self._places.found(run_id, value(row, 3) or b"")
            head = write.head + len(write.events)
            won[run_id] = Committed(head=head, now=now, cancel_asked=value(row, 2) != b"\0")
        return won


def committed(writes: Sequence[Commit], result: PGresult) -> Sequence[Committed | None]:
    """The answers of those whose run, head, time and `cancel_asked` were answered."""
    won: dict[bytes | None, Committed] = {}
    value = result.get_value
    now = binary.read_time(value(0, 2) or b"") if result.ntuples else None
    for row in range(result.ntuples):
        assert now is not None
        head = binary.read_number(value(row, 1) or b"")
        won[value(row, 0)] = Committed(head=head, now=now, cancel_asked=value(row, 3) != b"\0")
    return [won.get(write.run_id.bytes) for write in writes]


def holders(writes: Sequence[Transition], ids: Sequence[bytes]) -> tuple[bytes, bytes, bytes, bytes]:
    """Of which runs, by whom, under which epoch and over which head, as arrays."""
    return (
        binary.keys(ids),
        binary.numbers([write.worker for write in writes]),
        binary.numbers([write.epoch for write in writes]),
        binary.numbers([write.head for write in writes]),
    )


def numbered(writes: Sequence[Transition]) -> tuple[bytes, bytes]:
    """For each event the run that it belongs to, and its number among those of its write, as arrays."""
    of_run = binary.uuids([write.run_id for write in writes for _ in write.events])
    return of_run, binary.numbers([nth for write in writes for nth, _ in enumerate(write.events, start=1)])


def event_arrays(events: Sequence[Columns]) -> Sequence[bytes]:
    """Events as arrays of their columns."""
    columns = zip(*events, strict=True) if events else ((),) * len(EVENT_TYPES)
    kinds, positions, names, attempts, args, values, details = columns
    return (
        binary.texts(kinds),
        binary.texts(positions),
        binary.texts(names),
        binary.numbers(attempts),
        binary.payloads(args),
        binary.payloads(values),
        binary.payloads(details),
    )
