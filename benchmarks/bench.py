"""All scenarios of `qwit bench` on servers of its own, and the peers beside them. See `benchmarks/README.md`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from qwit_durable.bench.running import Asked, run  # noqa: E402 - after the path is set
from qwit_durable.bench.scenarios import SCENARIOS  # noqa: E402
from qwit_durable.cli.benchmarking import show  # noqa: E402
from qwit_durable.cli.output import Output  # noqa: E402
from qwit_durable.stores import open_store  # noqa: E402
from tests.servers import PostgresServer, RedisServer  # noqa: E402
from tests.servers import run as servers_run  # noqa: E402

#: As a server that is meant to work, not to be made anew for each test.
_SETTINGS = {
    "autovacuum": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "track_wal_io_timing": "off",
}


@contextmanager
def servers() -> Iterator[tuple[str, str]]:
    """The URLs of a Postgres that waits for the disk, migrated, and of a Redis."""
    with ExitStack() as stack:
        postgres = os.environ.get("QWIT_TEST_POSTGRES_URL")
        redis = os.environ.get("QWIT_TEST_REDIS_URL")
        if postgres is None:
            postgres = stack.enter_context(PostgresServer(fsync=True, settings=_SETTINGS)).create_database()
        if redis is None:
            redis = stack.enter_context(RedisServer()).url
        store = open_store(postgres)
        store.migrate()
        store.close()
        try:
            yield postgres, redis
        finally:
            stack.close()
            servers_run.close_run_directory()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only to see that it works")
    parser.add_argument("--only", action="append", default=[], choices=list(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=None, metavar="N")
    parser.add_argument("--processes", type=int, default=2, metavar="N")
    parser.add_argument("--threads", type=int, default=8, metavar="N")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE")
    options = parser.parse_args(arguments)
    output = Output(is_json=False)
    with servers() as (postgres, redis):
        asked = Asked(
            store=postgres,
            broker=redis,
            only=options.only,
            rounds=options.rounds,
            quick=options.quick,
            processes=options.processes,
            threads=options.threads,
        )
        report = run(asked, output.say)
    if options.json is not None:
        options.json.write_text(json.dumps(report.to_json(), indent=2) + "\n")
    show(output, report)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
