"""What grows and what must not: the members of a map, and the generations of a run that restarts for ever.

One process with eight threads on a store of each kind. See `benchmarks/README.md`.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from qwit_durable import Durable, Workflow, map_steps, publish, restart, step, workflow  # noqa: E402 - after the path
from tests.servers import PostgresServer, run  # noqa: E402

_LONG = timedelta(hours=2)


@step
def double(number: int) -> int:
    return 2 * number


@workflow
def fan(count: int) -> Workflow[int]:
    return sum((yield from map_steps(double, range(count))))


@workflow
def generations(left: int) -> Workflow[int]:
    yield from double(left)
    yield from publish("left", left)
    if left:
        yield from restart(left - 1)
    return left


def rss_kib() -> int:
    """The resident memory of this process now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextmanager
def durables() -> Iterator[dict[str, Durable]]:
    """One of each kind, embedded."""
    with ExitStack() as stack:
        server = stack.enter_context(PostgresServer(fsync=True))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="qwit-bench-"))
        urls = {"SQLite": f"sqlite:///{folder}/growth.db", "Postgres": server.create_database()}
        yield {name: Durable(url, migrate=True) for name, url in urls.items()}
    run.close_run_directory()


def fan_out(durable: Durable, count: int) -> tuple[float, float]:
    """Milliseconds and KiB of resident memory for a member."""
    before, began = rss_kib(), perf_counter()
    value = durable.start(fan, count).result(timeout=_LONG.total_seconds())
    assert value == count * (count - 1)
    return (perf_counter() - began) * 1000 / count, (rss_kib() - before) / count


def begin_again(durable: Durable, count: int) -> tuple[float, float, int]:
    """Milliseconds and KiB of resident memory for a generation, and the events that are left at the end."""
    before, began = rss_kib(), perf_counter()
    handle = durable.start(generations, count)
    assert handle.result(timeout=_LONG.total_seconds()) == 0
    took = perf_counter() - began
    return took * 1000 / count, (rss_kib() - before) / count, len(handle.history())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only to see that it works")
    parser.add_argument("--members", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--generations", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--store", action="append", help="SQLite or Postgres; both by default")
    options = parser.parse_args(arguments)
    members, ages = ([20, 40], [10, 20]) if options.quick else (options.members, options.generations)
    with durables() as found:
        for name, durable in found.items():
            if options.store and name not in options.store:
                continue
            with durable.embedded(threads=8):
                fan_out(durable, 20)
                for count in members:
                    ms, kib = fan_out(durable, count)
                    print(f"{name:10}map of {count:>8,}: {ms:8.3f} ms, {kib:8.3f} KiB a member", flush=True)
                for count in ages:
                    ms, kib, events = begin_again(durable, count)
                    text = f"{ms:8.3f} ms, {kib:8.3f} KiB a generation, {events} entries left"
                    print(f"{name:10}restart {count:>8,}: {text}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
