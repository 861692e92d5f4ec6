"""Runs that begin at once: their rows, and the turn that they are owed, unless their id is taken.

For runs in no lane, without a delay or a deadline. Ids are taken in their order. Two that take one id at once wait for
each other at its row, and the later one finds it taken.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import datetime, timedelta

import attrs
from psycopg.pq.abc import PGresult

from qwit_durable.core import Status
from qwit_durable.ids import parse_run_id
from qwit_durable.stores.answers import Answer, Started
from qwit_durable.stores.kernel.starting import begun
from qwit_durable.stores.postgres.hot import binary
from qwit_durable.stores.postgres.hot.append import NOW
from qwit_durable.stores.postgres.hot.prepared import Prepared, Question
from qwit_durable.stores.postgres.hot.rows import rows
from qwit_durable.stores.rows import TURN, Ring
from qwit_durable.stores.sql.cache import RunCache
from qwit_durable.stores.sql.tables import Tables
from qwit_durable.stores.writes import Start, Write

__all__ = ["StartAtOnce"]

_RUN = "id, namespace, key, workflow, version, queue, root_id, args, attributes, trace"
_MADE = "id, namespace, key, workflow, version, queue, root_id, args, attributes::jsonb, trace"
_GIVEN = (
    "id uuid, namespace text, key text, workflow text, version text, queue text, root_id uuid, args bytea, "
    "attributes text, trace text, names_itself bool, ring_after int8, holder int8"
)
_START = f"""
WITH given AS (
    SELECT * FROM {rows("given", 2, _GIVEN)}
), taken AS (
    INSERT INTO qwit.idem (namespace, key, run_id)
    SELECT namespace, key, id FROM given WHERE NOT names_itself ORDER BY namespace, key
    ON CONFLICT DO NOTHING RETURNING run_id
), won AS (
    INSERT INTO qwit.run ({_RUN}, created_at)
    SELECT {_MADE}, {NOW} FROM given WHERE names_itself OR id IN (SELECT run_id FROM taken)
    ON CONFLICT (id) DO NOTHING RETURNING id, queue, workflow, created_at
), lives AS (
    INSERT INTO qwit.live (
        run_id, status, updated_at, owner, epoch, begun, head, awaiting, lost, cancel_asked, generation
    ) SELECT id, 'running', created_at, holder, (holder IS NOT NULL)::int, holder IS NOT NULL, 0, 0, 0, false, 0
    FROM won JOIN given USING (id)
), turns AS (
    INSERT INTO qwit.task (run_id, position, queue, name, ready_at, ring_at, attempt, rings, cancelled, opened)
    SELECT id, '', won.queue, won.workflow, created_at, created_at + ring_after * interval '1 microsecond',
        0, 0, false, 0
    FROM won JOIN given USING (id) WHERE holder IS NULL
)
SELECT id, created_at FROM won
""".encode()


def _alone(*, names_itself: bool, is_held: bool) -> bytes:
    """The same for one run, without what only a batch needs: a third of the server's work."""
    taken = """
    taken AS (
        INSERT INTO qwit.idem (namespace, key, run_id) VALUES ($3::text, $4::text, $2::uuid)
        ON CONFLICT DO NOTHING RETURNING run_id
    ),"""
    turn = """,
    turn AS (
        INSERT INTO qwit.task (run_id, position, queue, name, ready_at, ring_at, attempt, rings, cancelled, opened)
        SELECT id, '', $7::text, $5::text, created_at, created_at + $12::int8 * interval '1 microsecond', 0, 0, false, 0
        FROM won
    )"""
    return f"""
    WITH {"" if names_itself else taken}
    won AS (
        INSERT INTO qwit.run ({_RUN}, created_at)
        SELECT $2::uuid, $3::text, $4::text, $5::text, $6::text, $7::text, $8::uuid, $9::bytea, $10::text::jsonb,
            $11::text, {NOW} {"" if names_itself else "FROM taken"}
        ON CONFLICT (id) DO NOTHING RETURNING id, created_at
    ){"" if is_held else turn}
    INSERT INTO qwit.live (
        run_id, status, updated_at, owner, epoch, begun, head, awaiting, lost, cancel_asked, generation
    ) SELECT id, 'running', created_at, {"$12::int8, 1, true" if is_held else "NULL, 0, false"}, 0, 0, 0, false, 0
    FROM won RETURNING run_id, updated_at
    """.encode()


#: By whether nobody chose the id, and whether the first turn is the starter's.
_ALONE = {
    (names_itself, is_held): _alone(names_itself=names_itself, is_held=is_held)
    for names_itself in (False, True)
    for is_held in (False, True)
}
_MICROSECOND = timedelta(microseconds=1)


class StartAtOnce:
    """`HotWrites`' kind for them."""

    locks = False

    def __init__(self, tables: Tables, cache: RunCache) -> None:
        self._tables = tables
        self._cache = cache

    def takes(self, write: Write) -> Sequence[Hashable] | None:
        """The run and its user's id, if it is to begin at once."""
        if type(write) is not Start or write.delay is not None or write.deadline is not None or write.within:
            return None
        run = write.run
        waits = run.start_at is not None or run.deadline_at is not None or run.lane is not None
        # An id that looks like one of ours may stand for the run that has it.
        is_odd = not run.names_itself and parse_run_id(run.key) is not None
        return None if waits or is_odd or run.parent_id is not None else (run.id, (run.namespace, run.key))

    def questions(self, writes: Sequence[Start], now: bytes | None) -> Sequence[Question]:
        """The statement that starts those whose id is free."""
        if len(writes) == 1:
            return (self._alone(writes[0], now),)
        # In the order of `Runs.columns`.
        rows = zip(*(self._tables.run.row_in(write.run) for write in writes), strict=True)
        ids, namespaces, keys, workflows, versions, queues, roots, args, *_, attributes, _, traces = rows
        params = (
            now,
            binary.uuids(ids),
            binary.texts(namespaces),
            binary.texts(keys),
            binary.texts(workflows),
            binary.texts(versions),
            binary.texts(queues),
            binary.uuids(roots),
            binary.payloads(args),
            binary.texts(attributes),
            binary.texts(traces),
            binary.flags([write.run.names_itself for write in writes]),
            binary.numbers([write.ring_after // _MICROSECOND for write in writes]),
            binary.numbers([write.holder for write in writes]),
        )
        return ((_START, params),)

    def _alone(self, write: Start, now: bytes | None) -> Question:
        run_id, namespace, key, workflow, version, queue, root, args, *_, attributes, _, trace = (
            self._tables.run.row_in(write.run)
        )
        holder = write.holder
        params = (
            now,
            run_id.bytes,
            namespace.encode(),
            key.encode(),
            workflow.encode(),
            None if version is None else version.encode(),
            queue.encode(),
            root.bytes,
            args,
            attributes.encode(),
            None if trace is None else trace.encode(),
            binary.number(write.ring_after // _MICROSECOND if holder is None else holder),
        )
        return _ALONE[write.run.names_itself, holder is not None], params

    def answers(
        self, writes: Sequence[Start], results: Sequence[PGresult], link: Prepared
    ) -> Sequence[Answer | None]:
        """The answers of those that won."""
        _ = link
        (result,) = results
        won = {
            result.get_value(row, 0): binary.read_time(result.get_value(row, 1) or b"")
            for row in range(result.ntuples)
        }
        return [self._started(write, won.get(write.run.id.bytes)) for write in writes]

    def _started(self, write: Start, now: datetime | None) -> Started | None:
        if now is None:
            return None
        run = attrs.evolve(write.run, created_at=now)
        self._cache.add(run)
        if write.holder is not None:
            return begun(run, write.holder, now)
        ring = Ring(run_id=run.id, position=TURN, queue=run.queue, name=run.workflow)
        return Started(run=run, created=True, status=Status.RUNNING, ring=ring)
