"""Durable steps per second, beside what the same machine does without them.

Alternating rounds in one run; medians with the least and the greatest. See `benchmarks/README.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import psycopg  # noqa: E402 - after the path is set
from redis import Redis  # noqa: E402

from tests.servers import PostgresServer, RedisServer  # noqa: E402

_TIMEOUT_SECONDS = 300


class Sizes:
    """How much of everything."""

    def __init__(self, *, quick: bool) -> None:
        self.runs, self.steps = (4, 5) if quick else (100, 50)
        self.queued_runs, self.queued_steps = (3, 3) if quick else (40, 20)
        self.lone_steps = 10 if quick else 200
        self.inserts = 20 if quick else 400


@contextmanager
def servers() -> Iterator[tuple[str, str]]:
    """The URLs of a Postgres that waits for the disk, and of a Redis."""
    with ExitStack() as stack:
        postgres = os.environ.get("QWIT_TEST_POSTGRES_URL")
        redis = os.environ.get("QWIT_TEST_REDIS_URL")
        if postgres is None:
            postgres = stack.enter_context(PostgresServer(fsync=True)).create_database()
        if redis is None:
            redis = stack.enter_context(RedisServer()).url
        yield postgres, redis


@contextmanager
def workers(environment: dict[str, str], processes: int, threads: int) -> Iterator[None]:
    """Ordinary Dramatiq workers."""
    command = [
        sys.executable,
        "-m",
        "dramatiq",
        "benchmarks.bodies",
        "-p",
        str(processes),
        "-t",
        str(threads),
    ]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, start_new_session=True, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)


def steps_per_second(workflow: Any, runs: int, steps: int) -> float:
    """Start runs and wait for all of them."""
    began = perf_counter()
    handles = [workflow.start(steps) for _ in range(runs)]
    for handle in handles:
        handle.result(timeout=_TIMEOUT_SECONDS)
    return runs * steps / (perf_counter() - began)


def plain_per_second(redis: Redis, link: Any, chains: int, length: int) -> float:
    """Plain Dramatiq chains, of which nothing is durable."""
    redis.delete("plain_chains_done")
    waiting = threading.Event()
    began = perf_counter()
    for _ in range(chains):
        link.send(length)
    while int(redis.get("plain_chains_done") or 0) < chains:
        if perf_counter() - began > _TIMEOUT_SECONDS:
            raise TimeoutError
        waiting.wait(0.005)
    return chains * length / (perf_counter() - began)


def inserts_ms(url: str, count: int) -> float:
    """Milliseconds per bare single-row insert and commit."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS bare (id bigserial PRIMARY KEY, payload bytea)")
        began = perf_counter()
        for _ in range(count):
            connection.execute("INSERT INTO bare (payload) VALUES (%s)", (b"x" * 100,))
        return (perf_counter() - began) / count * 1000


def measure(sizes: Sizes, rounds: int, processes: int, threads: int) -> dict[str, list[float]]:
    """All figures, round by round."""
    with servers() as (postgres, redis_url):
        os.environ.update(QWIT_STORE_URL=postgres, REDIS_URL=redis_url)
        from benchmarks import bodies
        from qwit_durable import Durable
        from qwit_durable.stores import open_store

        open_store(postgres).migrate()
        redis = Redis.from_url(redis_url)

        def lone() -> float:
            with Durable(postgres, namespace="lone").embedded(threads=1) as durable:
                durable.start(bodies.inline_steps, 5).result(timeout=_TIMEOUT_SECONDS)
                began = perf_counter()
                durable.start(bodies.inline_steps, sizes.lone_steps).result(timeout=_TIMEOUT_SECONDS)
                return (perf_counter() - began) / sizes.lone_steps * 1000

        at_work: dict[str, Callable[[], float]] = {
            "inline steps/s": lambda: steps_per_second(bodies.inline_steps, sizes.runs, sizes.steps),
            "queued steps/s": lambda: steps_per_second(
                bodies.queued_steps, sizes.queued_runs, sizes.queued_steps
            ),
            "plain Dramatiq links/s": lambda: plain_per_second(
                redis, bodies.plain_link, sizes.queued_runs, sizes.queued_steps
            ),
        }
        alone: dict[str, Callable[[], float]] = {
            "lone run, ms/step": lone,
            "bare insert and commit, ms": lambda: inserts_ms(postgres, sizes.inserts),
        }
        found: dict[str, list[float]] = {name: [] for name in (*at_work, *alone)}
        with workers(dict(os.environ, PYTHONPATH=str(ROOT)), processes, threads):
            steps_per_second(bodies.inline_steps, 2, 2)
            for _ in range(rounds):
                for name, figure in at_work.items():
                    found[name].append(figure())
        for _ in range(rounds):
            for name, figure in alone.items():
                found[name].append(figure())
        bodies.durable.close()
        return found


def ratios(found: dict[str, list[float]]) -> dict[str, float]:
    """What the figures are worth: medians of one, over medians of another."""
    median = {name: statistics.median(values) for name, values in found.items()}
    return {
        "inline steps / plain Dramatiq links": median["inline steps/s"] / median["plain Dramatiq links/s"],
        "queued steps / plain Dramatiq links": median["queued steps/s"] / median["plain Dramatiq links/s"],
        "lone step / bare insert and commit": median["lone run, ms/step"]
        / median["bare insert and commit, ms"],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only to see that it works")
    parser.add_argument("--rounds", type=int, default=None, metavar="N")
    parser.add_argument("--processes", type=int, default=2, metavar="N")
    parser.add_argument("--threads", type=int, default=8, metavar="N")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE")
    options = parser.parse_args(arguments)
    rounds = options.rounds or (1 if options.quick else 3)
    found = measure(Sizes(quick=options.quick), rounds, options.processes, options.threads)
    print(f"dramatiq -p {options.processes} -t {options.threads}, {rounds} rounds\n")
    print(f"{'':36}{'median':>10}{'least':>10}{'greatest':>10}")
    for name, values in found.items():
        print(f"{name:36}{statistics.median(values):>10.2f}{min(values):>10.2f}{max(values):>10.2f}")
    print()
    for name, value in ratios(found).items():
        print(f"{name:36}{value:>10.2f}")
    if options.json is not None:
        options.json.write_text(json.dumps({"rounds": found, "ratios": ratios(found)}, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
