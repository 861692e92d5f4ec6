"""Statements that are prepared once and sent in binary, on the driver's own connection: one round trip for all of them.

Below the driver's cursors, at its documented interface to libpq (`psycopg.pq`). Several statements go as a pipeline:
they are one implicit transaction, which commits at its end. An error leaves the connection unusable, and whoever owns
it discards it, as after each of the server's errors. A single statement is one call of libpq: each call gives up the
interpreter's lock, and with eight threads that want it, getting it back costs more than the call.
"""

from __future__ import annotations

import select
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult

from qwit_durable.stores.postgres.hot.awake import Wakefulness
from qwit_durable.stores.sql.table import Columns

__all__ = ["Prepared", "Question"]

#: A statement and its parameters, each in binary or None.
Question = tuple[bytes, Sequence[bytes | None]]

_GOOD = frozenset({ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK})
_BINARY = 1
_PLANNED_AFTER = 10


class Prepared:
    """Asks questions over one connection, of which nobody else makes use meanwhile.

    Args:
        connection: An idle one.
        prepares: Whether statements are kept on the server, which some poolers do not know how to do.
        is_by_key: Whether the session keeps that rows are to be looked for by their keys.
        may_wait_awake: Whether a core may be spent on that, if there is one to spare.
    """

    def __init__(
        self,
        connection: psycopg.Connection[tuple[object, ...]],
        *,
        prepares: bool,
        is_by_key: bool,
        may_wait_awake: bool = True,
    ) -> None:
        self.is_by_key = is_by_key
        self._link = connection.pgconn
        self._main = threading.main_thread().ident
        self._transformer = Transformer(connection)
        self._prepares = prepares
        self._names: dict[bytes, bytes] = {}
        self._asked: Counter[bytes] = Counter()
        self._readable, self._either = select.poll(), select.poll()
        self._readable.register(self._link.socket, select.POLLIN)
        self._either.register(self._link.socket, select.POLLIN | select.POLLOUT)
        self._wakefulness = Wakefulness(self._link.socket, can_spare=None if may_wait_awake else False)

    def ask(self, questions: Sequence[Question], *, is_alone: bool = False) -> list[PGresult]:
        """The answers, when all of it is committed.

        `is_alone`: one write asks, for which this thread may wait awake.

        Raises:
            psycopg.Error: Nothing of it was written, unless the connection was lost.
        """
        for sql, _ in questions:
            self._asked[sql] += 1
        if len(questions) == 1 and (name := self._names.get(questions[0][0])) is not None:
            return [self._ask_one(name, questions[0][1], is_alone=is_alone)]
        return self._ask_in_pipeline(questions)

    def _ask_one(self, name: bytes, params: Sequence[bytes | None], *, is_alone: bool) -> PGresult:
        link = self._link
        formats = [_BINARY] * len(params)
        is_awake = is_alone and self._wakefulness.pays
        if not is_awake and threading.get_ident() != self._main:
            given: Any = params  # the driver's stub has no NULL here
            return self._good(link.exec_prepared(name, given, formats, _BINARY))
        # Ctrl-C reaches this thread alone, and only while it waits in Python.
        link.send_query_prepared(name, params, formats, _BINARY)
        self._flush()
        if is_awake:
            self._wakefulness.wait()
        result = self._answer()
        self._take()
        return result

    def is_well_known(self, question: Question) -> bool:
        """Whether the server has made its plan for a statement: it does when it has carried it out five times."""
        return self._prepares and self._asked[question[0]] > _PLANNED_AFTER

    def rows(self, result: PGresult) -> Sequence[Columns]:
        """What was answered, in columns, as the driver reads them."""
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    def _ask_in_pipeline(self, questions: Sequence[Question]) -> list[PGresult]:
        link = self._link
        link.enter_pipeline_mode()
        fresh = [sql for sql, _ in questions if self._prepares and sql not in self._names]
        for sql in fresh:
            self._names[sql] = b"qwit_%d" % len(self._names)
            link.send_prepare(self._names[sql], sql)
        for sql, params in questions:
            self._send(sql, params)
        link.pipeline_sync()
        self._flush()
        results: list[PGresult] = []
        for _ in range(len(fresh) + len(questions)):
            results.append(self._answer())
            self._take()  # the None behind each answer
        self._take()  # the end of the pipeline
        link.exit_pipeline_mode()
        return results[len(fresh) :]

    def _send(self, sql: bytes, params: Sequence[bytes | None]) -> None:
        formats = [_BINARY] * len(params)
        if self._prepares:
            self._link.send_query_prepared(self._names[sql], params, formats, _BINARY)
        else:
            self._link.send_query_params(sql, params, None, formats, _BINARY)

    def _flush(self) -> None:
        while self._link.flush():
            ((_, events),) = self._either.poll()
            if events & ~select.POLLOUT:
                self._link.consume_input()

    def _answer(self) -> PGresult:
        result = self._take()
        if result is None:
            msg = "the server's answer is missing"
            raise psycopg.OperationalError(msg)
        return self._good(result)

    def _good(self, result: PGresult) -> PGresult:
        if result.status in _GOOD:
            return result
        if self._link.status == ConnStatus.BAD:
            # The client library says so itself, without a code: it is no complaint of the server's.
            raise psycopg.OperationalError(result.error_message.decode(errors="replace"))
        raise psycopg.errors.error_from_result(result)

    def _take(self) -> PGresult | None:
        link = self._link
        while link.is_busy():
            self._readable.poll()
            link.consume_input()
        return link.get_result()
