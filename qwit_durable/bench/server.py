"""What a Postgres server tells of itself, over a connection of the benchmark's own."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from types import TracebackType
from typing import LiteralString, Self

import psycopg

from qwit_durable.bench.processes import cpu_seconds_of
from qwit_durable.errors import StoreUnavailable
from qwit_durable.stores import redacted

__all__ = ["PostgresServer"]

_SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_level")


class PostgresServer:
    """The server below a Postgres store."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self.connection = psycopg.connect(url, autocommit=True)
        except psycopg.OperationalError as error:
            raise StoreUnavailable(f"the store {redacted(url)} can't be used: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.connection.close()

    def checkpoint(self) -> None:
        """Have it write what it holds back, if this user may ask for that."""
        with suppress(psycopg.errors.InsufficientPrivilege):
            self.connection.execute("checkpoint")

    def is_tidying(self) -> bool:
        """Whether it removes what was left behind, as it does by itself after much work."""
        return bool(
            self._one("select count(*) from pg_stat_activity where backend_type = 'autovacuum worker'")
        )

    @cached_property
    def _counts_statements(self) -> bool:
        """Whether the extension is there that does, in this database."""
        with suppress(psycopg.Error):
            self._one("select count(*) from pg_stat_statements")
            return True
        return False

    @property
    def queries_unit(self) -> str:
        """What `queries` counts."""
        return "statements/s" if self._counts_statements else "transactions/s"

    def queries(self, database: str | None = None) -> int:
        """How much has been asked in a database, by default this one, of which what is asked here alone is one.

        Statements where they are counted, known at once; else transactions, told up to ten seconds late.
        """
        query: LiteralString = (
            "select coalesce(sum(calls), 0) from pg_stat_statements join pg_database on oid = dbid "
            "where datname = coalesce(%s, current_database())"
            if self._counts_statements
            else "select xact_commit + xact_rollback from pg_stat_database "
            "where datname = coalesce(%s, current_database())"
        )
        return self._one(query, database)

    def _one(self, query: LiteralString, *given: str | None) -> int:
        row = self.connection.execute(query, given or None).fetchone()
        return int(row[0]) if row else 0

    def open_runs(self) -> int:
        """How many runs are open; those of a benchmark that was killed do not count."""
        return self._one(
            "select count(*) from qwit.live join qwit.run on id = run_id where namespace not like 'qwit-bench-%'"
        )

    def commits(self) -> int:
        """How many transactions have written something; known at once, unlike the statistics."""
        return self._one("select txid_snapshot_xmax(txid_current_snapshot())")

    def wal_bytes(self) -> int:
        """How much has been written ahead, by everybody."""
        return self._one("select pg_current_wal_lsn() - '0/0'")

    def timers(self) -> int:
        """How many timers are set."""
        return self._one("select count(*) from qwit.timer")

    def kept_bytes(self) -> int:
        """How large the store's tables are, with their indexes."""
        return self._one(
            "select coalesce(sum(pg_total_relation_size(oid)), 0) from pg_class "
            "where relnamespace = 'qwit'::regnamespace and relkind = 'r'"
        )

    def cpu_seconds(self) -> float:
        """CPU time of all sessions with clients that are there now, this one left out; 0 if it runs elsewhere."""
        rows = self.connection.execute(
            "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
        )
        return cpu_seconds_of(pid for (pid,) in rows)

    def settings(self) -> dict[str, str]:
        """Those that figures depend on."""
        found: dict[str, str] = {}
        for name in _SETTINGS:
            row = self.connection.execute(f"show {name}".encode()).fetchone()
            found["postgres" if name == "server_version" else name] = str(row[0]) if row else ""
        return found
