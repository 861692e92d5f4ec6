"""The limits: the least that has to be done to have a step's row on Postgres' disk, one by one and in groups.

`python -m qwit_durable.bench.bare` is one process of a group-committing loop: it says `ready`, waits for a line, and
says how long it took. The libpq kind is the best such a loop can be in Python: nothing is adapted, arrays are put
together as bytes. The cursor kind is what one writes first.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from struct import Struct, pack

import attrs
import psycopg
from psycopg import pq

from qwit_durable.bench.grouping import Commits, Grouped, Row, insert_by_threads, texts
from qwit_durable.bench.plan import BenchFailed
from qwit_durable.clock import monotonic
from qwit_durable.ids import new_uuid4

__all__ = ["Bare", "bare_table", "commit_grouped", "commit_one_by_one"]

_COLUMNS = "run_id, number, attempt, kind, position, name, args, value, detail"
_DDL = """
    create table {table} (run_id uuid not null, at timestamptz not null default clock_timestamp(),
    number int4 not null, attempt int4 not null, kind text not null, position text collate "C" not null,
    name text not null, args bytea not null, value bytea not null, detail bytea not null,
    primary key (run_id, number))
"""
_INSERT = "insert into {table} ({columns})"
_ONE = _INSERT + " values (%s, %s, 1, %s, %s, %s, %s, %s, '')"
_MANY = (
    _INSERT
    + """
    select * from unnest({}::uuid[], {}::int4[], {}::int4[], {}::text[], {}::text[], {}::text[], {}::bytea[],
    {}::bytea[], {}::bytea[])
"""
)
_PARAMETERS = 9
_KIND, _NAME, _DETAIL = "resolved", "qwit-bench.add", b""


@contextmanager
def bare_table(url: str) -> Generator[str]:
    """A table of the shape of a history, until the block ends.

    Raises:
        BenchFailed: This user may not create one.
    """
    table = f"qwit_bench_{new_uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            connection.execute(_DDL.format(table=table).encode())
        except psycopg.errors.InsufficientPrivilege as error:
            raise BenchFailed(
                f"bare loops need a table of their own, which this user may not create: {error}"
            ) from None
        try:
            yield table
        finally:
            connection.execute(f"drop table {table}".encode())


def commit_one_by_one(url: str, table: str, rows: int) -> float:
    """Insert and commit single rows with an ordinary cursor; the seconds it took."""
    with psycopg.connect(url, autocommit=True) as connection:
        run_id, statement = new_uuid4(), _ONE.format(table=table, columns=_COLUMNS).encode()

        def insert(number: int) -> None:
            row = (run_id, number, _KIND, texts(number)[0], _NAME, *texts(number)[1:])
            connection.execute(statement, row, prepare=True, binary=True)

        insert(0)
        began = monotonic()
        for number in range(1, rows + 1):
            insert(number)
        return monotonic() - began


# -- in groups ---------------------------------------------------------------------------------------------------

_INT = Struct("!i")
_UUID_OID, _INT4_OID, _TEXT_OID, _BYTEA_OID = 2950, 23, 25, 17


def _array(oid: int, count: int, elements: bytes) -> bytes:
    """Postgres' binary form of an array of one dimension, of elements that carry their lengths."""
    return pack("!iiIii", 1, 0, oid, count, 1) + elements


def _sized(element: bytes) -> bytes:
    return _INT.pack(len(element)) + element


class _Libpq:
    """A prepared statement and binary arrays, by libpq itself."""

    def __init__(self, url: str, table: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self.pid = self._connection.info.backend_pid
        self._pg: pq.abc.PGconn = self._connection.pgconn
        places = [f"${n}" for n in range(1, _PARAMETERS + 1)]
        self._pg.prepare(b"bare", _MANY.format(*places, table=table, columns=_COLUMNS).encode())
        self._binary = [1] * _PARAMETERS
        self._kind, self._name = _sized(_KIND.encode()), _sized(_NAME.encode())
        self._attempt, self._detail = _sized(_INT.pack(1)), _sized(_DETAIL)

    def __call__(self, rows: Sequence[Row], /) -> None:
        count = len(rows)
        told = [texts(number) for _, number in rows]
        result = self._pg.exec_prepared(
            b"bare",
            [
                _array(_UUID_OID, count, b"".join([b"\0\0\0\x10" + run_id for run_id, _ in rows])),
                _array(_INT4_OID, count, b"".join([b"\0\0\0\4" + _INT.pack(number) for _, number in rows])),
                _array(_INT4_OID, count, self._attempt * count),
                _array(_TEXT_OID, count, self._kind * count),
                _array(_TEXT_OID, count, b"".join([_sized(position.encode()) for position, _, _ in told])),
                _array(_TEXT_OID, count, self._name * count),
                _array(_BYTEA_OID, count, b"".join([_sized(args) for _, args, _ in told])),
                _array(_BYTEA_OID, count, b"".join([_sized(value) for _, _, value in told])),
                _array(_BYTEA_OID, count, self._detail * count),
            ],
            self._binary,
        )
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise BenchFailed(
                f"the bare loop's insert failed: {result.error_message.decode(errors='replace')}"
            )

    def close(self) -> None:
        self._connection.close()


class _Cursor:
    """The same with an ordinary cursor and lists."""

    def __init__(self, url: str, table: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self.pid = self._connection.info.backend_pid
        self._statement = _MANY.format(*["%s"] * _PARAMETERS, table=table, columns=_COLUMNS).encode()

    def __call__(self, rows: Sequence[Row], /) -> None:
        told = [texts(number) for _, number in rows]
        columns = [
            [run_id.hex() for run_id, _ in rows],
            [number for _, number in rows],
            [1] * len(rows),
            [_KIND] * len(rows),
            [position for position, _, _ in told],
            [_NAME] * len(rows),
            [args for _, args, _ in told],
            [value for _, _, value in told],
            [_DETAIL] * len(rows),
        ]
        self._connection.execute(self._statement, columns, prepare=True, binary=True)

    def close(self) -> None:
        self._connection.close()


@attrs.frozen
class Bare:
    """What a bare loop reached.

    Attributes:
        rows: How many, by all.
        seconds: From the first to the last.
        cpu: Seconds of CPU for a row in its processes.
        server_cpu: The same in the server's, where they are known.
    """

    rows: int
    seconds: float
    cpu: float
    server_cpu: float

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds

    @classmethod
    def of(cls, found: Sequence[Grouped], rows: int) -> Bare:
        """Of so many rows in all."""
        return cls(
            rows,
            max(one.ended for one in found) - min(one.began for one in found),
            sum(one.cpu for one in found) / rows,
            sum(one.server_cpu for one in found) / rows,
        )


def commit_grouped(url: str, table: str, kind: str, *, processes: int, threads: int, rows: int) -> Bare:
    """So many processes and threads insert so many rows each, `libpq` or `cursor`.

    Raises:
        BenchFailed: One of them has failed.
    """
    command = [sys.executable, "-m", "qwit_durable.bench.bare", kind, url, table, str(threads), str(rows)]
    running = [
        subprocess.Popen(  # noqa: S603 - our own module, by our own interpreter
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(processes)
    ]
    try:
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [process.communicate() for process in running]
    finally:
        for process in running:
            process.kill()
            process.communicate()
    if any(process.returncode for process in running):
        raise BenchFailed(f"a bare loop has failed: {answers[0][1][-1000:]}")
    return Bare.of([Grouped(*json.loads(answer)) for answer, _ in answers], processes * threads * rows)


def main(kind: str, url: str, table: str, threads: str, rows: str) -> None:
    """One process of the loop."""

    def wait_for_go() -> None:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()

    commit: Commits = _Libpq(url, table) if kind == "libpq" else _Cursor(url, table)
    with closing(commit):
        found = insert_by_threads(commit, int(threads), int(rows), wait_for_go)
    sys.stdout.write(json.dumps(attrs.astuple(found)))


if __name__ == "__main__":
    main(*sys.argv[1:])
