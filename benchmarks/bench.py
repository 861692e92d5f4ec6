"""All scenarios of `qwit bench` on servers of its own, and the peers beside them. See `benchmarks/README.md`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import attrs  # noqa: E402 - after the path is set
import psycopg  # noqa: E402

from benchmarks.beside import Peers  # noqa: E402
from benchmarks.peers import PEERS, Servers  # noqa: E402
from qwit_durable.bench.ending import ended_by_signals  # noqa: E402
from qwit_durable.bench.measuring import Measured  # noqa: E402
from qwit_durable.bench.running import Asked, run  # noqa: E402
from qwit_durable.bench.scenarios import SCENARIOS  # noqa: E402
from qwit_durable.cli.benchmarking import save, show  # noqa: E402
from qwit_durable.cli.output import Output  # noqa: E402
from qwit_durable.stores import open_store  # noqa: E402
from tests.servers import PostgresServer, RabbitServer, RedisServer, Unavailable  # noqa: E402
from tests.servers import run as servers_run  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"

#: As a server that is meant to work, not to be made anew for each test.
_SETTINGS = {
    "autovacuum": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "max_connections": "500",
    "track_wal_io_timing": "off",
}


def _counting() -> dict[str, str]:
    """What lets the server count statements, where it can."""
    with PostgresServer() as server, psycopg.connect(server.url) as connection:
        row = connection.execute("SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'").fetchone()
    there = row is not None and Path(row[0], "pg_stat_statements.so").exists()
    return {"shared_preload_libraries": "pg_stat_statements"} if there else {}


@contextmanager
def servers() -> Generator[tuple[str, str, str]]:
    """The URLs of a Postgres that waits for the disk, migrated, of a Redis, and of a database for peers."""
    with ExitStack() as stack:
        postgres = theirs = os.environ.get("QWIT_TEST_POSTGRES_URL")
        redis = os.environ.get("QWIT_TEST_REDIS_URL")
        if postgres is None or theirs is None:
            server = stack.enter_context(PostgresServer(fsync=True, settings=_SETTINGS | _counting()))
            postgres, theirs = server.create_database(), server.create_database()
            with psycopg.connect(postgres) as connection, suppress(psycopg.errors.FeatureNotSupported):
                connection.execute("CREATE EXTENSION pg_stat_statements")
        if redis is None:
            redis = stack.enter_context(RedisServer()).url
        store = open_store(postgres)
        store.migrate()
        store.close()
        try:
            yield postgres, redis, theirs
        finally:
            stack.close()
            servers_run.close_run_directory()


def on_rabbitmq(asked: Asked, output: Output) -> list[Measured]:
    """The latency by another broker, where there is one."""
    url = os.environ.get("QWIT_TEST_RABBITMQ_URL")
    with ExitStack() as stack:
        try:
            url = url or stack.enter_context(RabbitServer()).url
        except Unavailable as why:
            output.say(f"latency by RabbitMQ: left out, {why}")
            return []
        found = run(attrs.evolve(asked, broker=url, only=("latency",)), output.say)
    return [
        attrs.evolve(one, scenario=attrs.evolve(one.scenario, name="latency by RabbitMQ"))
        for one in found.measured
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only to see that it works")
    parser.add_argument(
        "--full", action="store_true", help="the sizes that promises are about: it takes hours"
    )
    parser.add_argument("--only", action="append", default=[], choices=list(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=None, metavar="N")
    parser.add_argument("--processes", type=int, default=2, metavar="N")
    parser.add_argument("--threads", type=int, default=8, metavar="N")
    parser.add_argument(
        "--peers",
        nargs="*",
        default=list(PEERS),
        choices=list(PEERS),
        help="which; by default all that can be had",
    )
    parser.add_argument("--json", type=Path, default=None, metavar="FILE")
    parser.add_argument("--chart", type=Path, default=None, metavar="FILE")
    options = parser.parse_args(arguments)
    output = Output(is_json=False)
    with ended_by_signals(), servers() as (postgres, redis, theirs):
        asked = Asked(
            store=postgres,
            broker=redis,
            only=options.only,
            with_long=True,
            rounds=options.rounds,
            quick=options.quick,
            full=options.full,
            processes=options.processes,
            threads=options.threads,
        )
        with Peers(options.peers, Servers(postgres=theirs, redis=redis), output.say) as peers:
            report = run(asked, output.say, extend=peers.beside)
        if not options.only or "latency" in options.only:
            report = attrs.evolve(report, measured=[*report.measured, *on_rabbitmq(asked, output)])
    RESULTS.mkdir(exist_ok=True)
    save(
        report,
        json_to=options.json or RESULTS / "figures.json",
        chart_to=options.chart or RESULTS / "figures.svg",
    )
    show(output, report)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
