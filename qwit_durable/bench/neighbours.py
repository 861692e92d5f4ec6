"""Whether a store is somebody else's at this moment: workers sweep for a whole store, so a benchmark's would, too."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from qwit_durable.app import Durable
from qwit_durable.bench.plan import BenchFailed
from qwit_durable.bench.server import PostgresServer
from qwit_durable.client.workers import Workers

__all__ = ["refuse_neighbours"]

_WAY_OUT = (
    "\n  likely cause: this is the store of an application"
    "\n  way out: give the benchmark one of its own on the same server: make a database, `qwit migrate --store` it, "
    "and name it with --store"
)


def refuse_neighbours(durable: Durable, postgres: PostgresServer | None, file: Path | None) -> None:
    """Make sure that nobody works on this store and nothing waits in it.

    Raises:
        BenchFailed: A benchmark's workers would fire timers and ring bells for runs that are none of theirs.
    """
    store = durable.store
    alive = Workers(tuple(store.workers()), store.now()).alive
    if alive:
        named = ", ".join(f"{row.host}:{row.pid}" for row in alive[:3])
        raise BenchFailed(
            f"{len(alive)} workers live on this store ({named}): they would disturb each other{_WAY_OUT}"
        )
    count = 0
    if postgres is not None:
        count = postgres.open_runs()
    elif file is not None:
        with closing(sqlite3.connect(file)) as connection:
            [count] = connection.execute(
                "SELECT count(*) FROM live JOIN run ON id = run_id WHERE namespace NOT LIKE 'qwit-bench-%'"
            ).fetchone()
    if count:
        raise BenchFailed(
            f"{count:,} runs are open in this store: the benchmark's workers would ring for them{_WAY_OUT}"
        )
