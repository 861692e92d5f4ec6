"""Durable steps per second, beside what the same machine does without them.

Alternating rounds in one run; medians with the least and the greatest. See `benchmarks/README.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import psycopg  # noqa: E402 - after the path is set
from redis import Redis  # noqa: E402

from benchmarks import bare  # noqa: E402
from tests.servers import PostgresServer, RedisServer, run  # noqa: E402
from tests.servers.janitor import born, kill_tree  # noqa: E402

_TIMEOUT_SECONDS = 300
_POLL_SECONDS = 0.005

#: What is divided by what. The machine's speed cancels out.
RATIOS = {
    "inline steps / group-committing loop": ("inline steps/s", "group-committing loop, rows/s"),
    "inline steps / plain Dramatiq links": ("inline steps/s", "plain Dramatiq links/s"),
    "queued steps / plain Dramatiq links": ("queued steps/s", "plain Dramatiq links/s"),
    "lone step / bare insert and commit": ("lone run, ms/step", "bare insert and commit, ms"),
    "SQLite steps / bare SQLite commits": ("SQLite steps/s", "bare SQLite commits/s"),
}


class Sizes:
    """How much of everything."""

    def __init__(self, *, quick: bool) -> None:
        self.runs, self.steps = (4, 5) if quick else (100, 50)
        self.queued_runs, self.queued_steps = (3, 3) if quick else (32, 40)
        self.plain_links = 5 if quick else 200
        self.lone_steps = 10 if quick else 200
        self.commits = 20 if quick else 400
        self.rows_a_thread = 10 if quick else 500


class Workers:
    """Ordinary Dramatiq workers. They stand still while work is prepared, so that only the work is timed."""

    def __init__(self, processes: int, threads: int) -> None:
        self._folder = run.new_folder("benchmark")
        sizes = ["-p", str(processes), "-t", str(threads)]
        with (self._folder / "workers.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dramatiq", *sizes, "benchmarks.bodies"],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        # Where the janitor looks, should this process be killed.
        (self._folder / "workers.pids").write_text(f"{self._process.pid} {born(self._process.pid)}\n")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def wait_until(self, is_done: Callable[[], bool]) -> None:
        began = perf_counter()
        tick = Event()
        while not is_done():
            if perf_counter() - began > _TIMEOUT_SECONDS or self._process.poll() is not None:
                log = (self._folder / "workers.log").read_text(errors="replace")
                raise TimeoutError(f"the workers have not done it:\n{log[-3000:]}")
            tick.wait(_POLL_SECONDS)

    def close(self) -> None:
        kill_tree(self._process.pid)
        self._process.wait()


class Bench:
    """The scenarios over one Postgres and one Redis. Each gives one figure."""

    def __init__(self, sizes: Sizes, postgres: str, redis: str, processes: int, threads: int) -> None:
        os.environ.update(QWIT_STORE_URL=postgres, REDIS_URL=redis)
        from benchmarks import bodies
        from qwit_durable import Durable
        from qwit_durable.stores import open_store

        store = open_store(postgres)
        store.migrate()
        store.close()
        bare.create_table(postgres)
        self._bodies, self._durable = bodies, Durable
        self._sizes, self._postgres = sizes, postgres
        self._processes, self._threads = processes, threads
        self._redis = Redis.from_url(redis)
        self._workers = Workers(processes, threads)

    def close(self) -> None:
        self._workers.close()
        self._bodies.durable.close()
        self._redis.close()

    def warm_up(self) -> None:
        """Let every process have imported, connected and prepared what it will use."""
        for workflow in (self._bodies.inline_steps, self._bodies.queued_steps):
            self._work(workflow, 4 * self._processes * self._threads, 3)

    def inline(self) -> float:
        return self._work(self._bodies.inline_steps, self._sizes.runs, self._sizes.steps)

    def queued(self) -> float:
        return self._work(self._bodies.queued_steps, self._sizes.queued_runs, self._sizes.queued_steps)

    def _work(self, workflow: Any, runs: int, steps: int) -> float:
        with self._workers.frozen():
            waiting = [workflow.start(steps) for _ in range(runs)]
        began = perf_counter()

        def are_done() -> bool:
            # The last one first: while it is open, nobody else is asked.
            while waiting and waiting[-1].run().ended_at is not None:
                waiting.pop()
            return not waiting

        self._workers.wait_until(are_done)
        return runs * steps / (perf_counter() - began)

    def plain(self) -> float:
        """Plain Dramatiq chains, of which nothing is durable."""
        chains, length = self._sizes.queued_runs, self._sizes.plain_links
        self._redis.delete("plain_chains_done")
        with self._workers.frozen():
            for _ in range(chains):
                self._bodies.plain_link.send(length)
        began = perf_counter()
        self._workers.wait_until(lambda: int(self._redis.get("plain_chains_done") or 0) >= chains)
        return chains * length / (perf_counter() - began)

    def grouped(self) -> float:
        """As many processes and threads as the workers have, which insert rows and do nothing else."""
        rows = self._sizes.rows_a_thread
        command = [
            *(sys.executable, "-m", "benchmarks.bare"),
            *(self._postgres, str(self._threads), str(rows)),
        ]
        processes = [
            subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(self._processes)
        ]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        seconds = max(float(answer) for answer in _all_go(processes))
        return self._processes * self._threads * rows / seconds

    def lone(self) -> float:
        steps = self._sizes.lone_steps
        with self._durable(self._postgres, namespace="lone").embedded(threads=1) as durable:
            durable.start(self._bodies.inline_steps, 10).result(timeout=_TIMEOUT_SECONDS)
            began = perf_counter()
            durable.start(self._bodies.inline_steps, steps).result(timeout=_TIMEOUT_SECONDS)
            return (perf_counter() - began) / steps * 1000

    def one_by_one(self) -> float:
        return bare.commit_one_by_one(self._postgres, self._sizes.commits) / self._sizes.commits * 1000

    def on_file(self) -> float:
        runs, steps = self._sizes.runs, self._sizes.steps
        with tempfile.TemporaryDirectory() as folder:
            store = f"sqlite:///{folder}/store.db"
            with self._durable(store).embedded(threads=8) as durable:
                durable.start(self._bodies.inline_steps, 10).result(timeout=_TIMEOUT_SECONDS)
                began = perf_counter()
                handles = [durable.start(self._bodies.inline_steps, steps) for _ in range(runs)]
                for handle in handles:
                    handle.result(timeout=_TIMEOUT_SECONDS)
                return runs * steps / (perf_counter() - began)

    def bare_file(self) -> float:
        with tempfile.TemporaryDirectory() as folder:
            return self._sizes.commits / bare.commit_to_file(Path(folder) / "bare.db", self._sizes.commits)

    @property
    def scenarios(self) -> dict[str, Callable[[], float]]:
        return {
            "inline steps/s": self.inline,
            "group-committing loop, rows/s": self.grouped,
            "queued steps/s": self.queued,
            "plain Dramatiq links/s": self.plain,
            "lone run, ms/step": self.lone,
            "bare insert and commit, ms": self.one_by_one,
            "SQLite steps/s": self.on_file,
            "bare SQLite commits/s": self.bare_file,
        }


def _all_go(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate()[0] for process in processes]


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
        try:
            yield postgres, redis
        finally:
            stack.close()
            run.close_run_directory()


def conditions(postgres: str) -> dict[str, str]:
    """Under what the figures were measured."""
    with psycopg.connect(postgres) as connection:

        def setting(name: str) -> str:
            row = connection.execute(f"show {name}").fetchone()
            return str(row[0]) if row else ""

        return {
            "python": platform.python_version(),
            "cores": str(os.cpu_count()),
            "postgres": setting("server_version"),
            "fsync": setting("fsync"),
            "synchronous_commit": setting("synchronous_commit"),
        }


def measure(
    sizes: Sizes, rounds: int, processes: int, threads: int
) -> tuple[dict[str, str], dict[str, list[float]]]:
    """All figures, round by round: each round takes every scenario once."""
    with servers() as (postgres, redis), ExitStack() as stack:
        bench = Bench(sizes, postgres, redis, processes, threads)
        stack.callback(bench.close)
        bench.warm_up()
        found: dict[str, list[float]] = {name: [] for name in bench.scenarios}
        for _ in range(rounds):
            for name, figure in bench.scenarios.items():
                found[name].append(figure())
        return conditions(postgres), found


def ratios(found: dict[str, list[float]]) -> dict[str, float]:
    """What the figures are worth: medians over medians."""
    median = {name: statistics.median(values) for name, values in found.items()}
    return {name: median[one] / median[other] for name, (one, other) in RATIOS.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only to see that it works")
    parser.add_argument("--rounds", type=int, default=None, metavar="N")
    parser.add_argument("--processes", type=int, default=2, metavar="N")
    parser.add_argument("--threads", type=int, default=8, metavar="N")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE")
    options = parser.parse_args(arguments)
    rounds = options.rounds or (1 if options.quick else 3)
    circumstances, found = measure(Sizes(quick=options.quick), rounds, options.processes, options.threads)
    print(f"dramatiq -p {options.processes} -t {options.threads}, {rounds} rounds; ", end="")
    print(", ".join(f"{name} {value}" for name, value in circumstances.items()), end="\n\n")
    print(f"{'':38}{'median':>10}{'least':>10}{'greatest':>10}")
    for name, values in found.items():
        print(f"{name:38}{statistics.median(values):>10.2f}{min(values):>10.2f}{max(values):>10.2f}")
    print()
    for name, value in ratios(found).items():
        print(f"{name:38}{value:>10.2f}")
    if options.json is not None:
        content = {"conditions": circumstances, "rounds": found, "ratios": ratios(found)}
        options.json.write_text(json.dumps(content, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
