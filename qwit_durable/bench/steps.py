"""Scenarios of steps one after the other: many runs, one run alone, by messages."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import attrs

from qwit_durable.bench import figures
from qwit_durable.bench.bare import Bare, bare_table, commit_grouped, commit_one_by_one
from qwit_durable.bench.bare_file import commit_grouped_to_file, commit_to_file
from qwit_durable.bench.bodies import inline_steps, queued_steps
from qwit_durable.bench.plan import BROKER, Line, Plan, Ratio, Scenario
from qwit_durable.bench.processes import cpu_seconds_of
from qwit_durable.bench.stage import Stage

__all__ = ["INLINE", "LONE", "QUEUED", "SQLITE"]

_ONE = "bare insert and commit, ms"
_LINKS = "plain Dramatiq links, /s"
_WATCHED = "queued steps by a message each, /s"
_LONE_RUNS = 5
_FILE_ONE = "bare SQLite commits one by one, rows/s"


@attrs.frozen
class _Limit:
    """A bare loop: its figure, how it is measured with so many rows a thread, and what part of it steps may reach."""

    figure: str
    commit: Callable[[int], Bare]
    at_least: float | None = None


@contextmanager
def _beside(store: Path) -> Generator[Path]:
    """A file on the same disk as the store's, in a folder that is made for it and removed."""
    with tempfile.TemporaryDirectory(
        prefix="qwit-bench-", dir=store.parent, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder) / "bare.db"


@contextmanager
def _limits(stage: Stage) -> Generator[list[_Limit]]:
    processes, threads = stage.crew.processes, stage.threads
    url = stage.place.store
    if stage.file is not None:
        with _beside(stage.file) as file:
            yield [
                _Limit(
                    "bare SQLite group commits, rows/s",
                    lambda rows: commit_grouped_to_file(file, threads=threads, rows=rows),
                    at_least=0.7,
                ),
                _Limit(_FILE_ONE, lambda rows: commit_grouped_to_file(file, threads=1, rows=rows)),
            ]
        return
    with bare_table(url) as table:

        def by(kind: str) -> Callable[[int], Bare]:
            return lambda rows: commit_grouped(
                url, table, kind, processes=processes, threads=threads, rows=rows
            )

        yield [
            _Limit("bare group commits by libpq, rows/s", by("libpq"), at_least=0.8),
            _Limit("bare group commits by a cursor, rows/s", by("cursor")),
        ]


@contextmanager
def _inline(stage: Stage) -> Generator[Plan]:
    sizes = stage.sizes
    least = stage.crew.processes * stage.threads
    rate = stage.warm_up()
    runs = max(min(int(rate * sizes.seconds / sizes.steps), sizes.runs), min(least, sizes.runs))
    steps = runs * sizes.steps

    def inline() -> dict[str, float]:
        pids = stage.crew.pids
        crew, server, kept = cpu_seconds_of(pids), stage.server_cpu_seconds(), stage.kept_bytes()
        wal, commits = stage.written()
        found = {figures.STEPS: steps / stage.seconds_of(inline_steps, runs, sizes.steps)}
        crew, server = cpu_seconds_of(pids) - crew, stage.server_cpu_seconds() - server
        found |= _cpu(figures.STEPS, crew / steps, server / steps)
        found["durable step, bytes kept"] = (stage.kept_bytes() - kept) / steps
        if stage.postgres is not None:
            now_wal, now_commits = stage.written()
            found["durable step, bytes of WAL"] = (now_wal - wal) / steps
            found["durable step, commits"] = (now_commits - commits) / steps
        return found

    with _limits(stage) as limits:
        yield Plan(
            [
                Line("durable steps", inline),
                *(Line(limit.figure.partition(",")[0], _grouped(stage, limit)) for limit in limits),
            ],
            [
                Ratio(
                    f"durable steps / {limit.figure.partition(',')[0]}",
                    figures.STEPS,
                    limit.figure,
                    at_least=limit.at_least,
                )
                for limit in limits
            ],
        )


def _grouped(stage: Stage, limit: _Limit) -> Callable[[], dict[str, float]]:
    """As long as steps are measured."""
    rows = min(200, stage.sizes.runs)
    rows = max(int(rows * stage.sizes.seconds / limit.commit(rows).seconds), 10)

    def measure() -> dict[str, float]:
        found = limit.commit(rows)
        return {limit.figure: found.rate} | _cpu(limit.figure, found.cpu, found.server_cpu)

    return measure


def _cpu(name: str, own: float, server: float) -> dict[str, float]:
    """CPU time for one, where it is known, of seconds."""
    what = name.partition(",")[0]
    found = {f"{what}, CPU µs each": own * 1e6, f"{what}, CPU µs each in the server": server * 1e6}
    return {each: value for each, value in found.items() if value > 0}


@contextmanager
def _lone(stage: Stage) -> Generator[Plan]:
    steps = stage.sizes.lone_steps
    rows = _LONE_RUNS * steps

    def lone() -> dict[str, float]:
        """One run after another: a single one is over in a tenth of a second, in which the machine may do anything."""
        stage.seconds_of(inline_steps, 1, 10)
        seconds = [stage.seconds_of(inline_steps, 1, steps) for _ in range(_LONE_RUNS)]
        return {figures.LONE: statistics.median(seconds) / steps * 1000}

    def plan(commit: Callable[[], float]) -> Plan:
        return Plan(
            [
                Line("a lone run", lone),
                Line("bare inserts and commits", lambda: {_ONE: commit() / rows * 1000}),
            ],
            [Ratio("step of a lone run / bare insert and commit", figures.LONE, _ONE, at_most=1.5)],
        )

    if stage.file is not None:
        with _beside(stage.file) as file:
            yield plan(lambda: commit_to_file(file, rows))
        return
    with bare_table(stage.place.store) as table:
        yield plan(lambda: commit_one_by_one(stage.place.store, table, rows))


@contextmanager
def _queued(stage: Stage) -> Generator[Plan]:
    sizes = stage.sizes
    count = sizes.chains * sizes.links
    stage.seconds_of(queued_steps, sizes.chains, 3)
    stage.seconds_of_chains(sizes.chains, 3)

    def queued() -> dict[str, float]:
        seconds = stage.seconds_of(queued_steps, sizes.chains, sizes.links)
        return {figures.QUEUED: count / seconds}

    def plain() -> dict[str, float]:
        return {_LINKS: count / stage.seconds_of_chains(sizes.chains, sizes.links)}

    def watched() -> dict[str, float]:
        """The same where a middleware sees each message: none is shared, none left out. Most stay in their process."""
        place = attrs.evolve(stage.place, follows_messages=True)
        with stage.crewed(stage.crew.processes, stage.threads, place=place):
            return {_WATCHED: count / stage.seconds_of(queued_steps, sizes.chains, sizes.links)}

    yield Plan(
        [
            Line("queued steps", queued),
            Line("plain Dramatiq chains", plain),
            Line("queued steps by a message each", watched),
        ],
        [
            Ratio("queued steps / plain Dramatiq links", figures.QUEUED, _LINKS, at_least=0.6),
            Ratio("queued steps by a message each / plain Dramatiq links", _WATCHED, _LINKS),
        ],
    )


@contextmanager
def _on_file(stage: Stage) -> Generator[Plan]:
    with tempfile.TemporaryDirectory(prefix="qwit-bench-") as folder:
        place = attrs.evolve(stage.place, store=f"sqlite:///{folder}/qwit.db", broker="", folder=folder)
        with Stage(place, stage.sizes, processes=1, threads=stage.threads) as small, _inline(small) as plan:
            yield plan


INLINE = Scenario("inline", "inline steps of many runs, beside bare group commits", _inline)
LONE = Scenario("lone", "a step of a run that is alone, beside a bare insert and commit", _lone)
QUEUED = Scenario("queued", "steps by messages, beside plain Dramatiq chains", _queued, frozenset({BROKER}))
SQLITE = Scenario("sqlite", "inline steps in an SQLite file of their own, in this process alone", _on_file)
