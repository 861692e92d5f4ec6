"""Scenarios of steps one after the other: many runs, one run alone, by messages."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from qwit_durable.bench.bare import bare_table, commit_grouped, commit_one_by_one
from qwit_durable.bench.bodies import inline_steps, queued_steps
from qwit_durable.bench.plan import BROKER, Line, Plan, Ratio, Scenario
from qwit_durable.bench.processes import cpu_seconds_of
from qwit_durable.bench.stage import Stage

__all__ = ["INLINE", "LONE", "QUEUED"]

_STEPS, _LIBPQ, _CURSOR = "durable steps, /s", "bare group commits by libpq, rows/s", "by a cursor, rows/s"
_LONE, _ONE = "step of a lone run, ms", "bare insert and commit, ms"
_QUEUED, _LINKS = "queued steps, /s", "plain Dramatiq links, /s"


def _warm_up(stage: Stage) -> float:
    """Let every process have imported, connected and prepared what it will use; roughly how many steps a second."""
    runs, steps = 4 * stage.crew.processes * stage.threads, min(stage.sizes.steps, 20)
    return runs * steps / min(stage.seconds_of(inline_steps, runs, steps) for _ in range(2))


@contextmanager
def _inline(stage: Stage) -> Generator[Plan]:
    sizes = stage.sizes
    rate = _warm_up(stage)
    least = stage.crew.processes * stage.threads
    runs = max(min(int(rate * sizes.seconds / sizes.steps), sizes.runs), min(least, sizes.runs))
    steps = runs * sizes.steps

    def inline() -> dict[str, float]:
        pids = stage.crew.pids
        crew, server = cpu_seconds_of(pids), stage.server_cpu_seconds()
        found = {_STEPS: steps / stage.seconds_of(inline_steps, runs, sizes.steps)}
        crew, server = cpu_seconds_of(pids) - crew, stage.server_cpu_seconds() - server
        return found | _cpu(_STEPS, crew / steps * 1e6, server / steps * 1e6)

    lines = [Line("durable steps", inline)]
    if stage.postgres is None:
        yield Plan(lines)
        return
    with bare_table(stage.place.store) as table:
        crew = {"processes": stage.crew.processes, "threads": stage.threads}
        guesses = {
            kind: commit_grouped(stage.place.store, table, kind, rows=min(500, sizes.runs), **crew).rate
            for kind in ("libpq", "cursor")
        }

        def grouped(kind: str, name: str) -> dict[str, float]:
            rows = max(int(guesses[kind] * sizes.seconds / least), 10)
            found = commit_grouped(stage.place.store, table, kind, rows=rows, **crew)
            return {name: found.rate} | _cpu(name, found.cpu_us, found.server_cpu_us)

        lines += [
            Line("bare group commits by libpq", lambda: grouped("libpq", _LIBPQ)),
            Line("bare group commits by a cursor", lambda: grouped("cursor", _CURSOR)),
        ]
        yield Plan(
            lines,
            [
                Ratio("durable steps / bare group commits by libpq", _STEPS, _LIBPQ, at_least=0.8),
                Ratio("durable steps / bare group commits by a cursor", _STEPS, _CURSOR),
            ],
        )


def _cpu(name: str, own: float, server: float) -> dict[str, float]:
    """CPU time for one, where it is known."""
    what = name.partition(",")[0]
    found = {f"{what}, CPU µs each": own, f"{what}, CPU µs each in the server": server}
    return {each: value for each, value in found.items() if value > 0}


@contextmanager
def _lone(stage: Stage) -> Generator[Plan]:
    steps = stage.sizes.lone_steps

    def lone() -> dict[str, float]:
        stage.seconds_of(inline_steps, 1, 10)
        return {_LONE: stage.seconds_of(inline_steps, 1, steps) / steps * 1000}

    lines = [Line("a lone run", lone)]
    if stage.postgres is None:
        yield Plan(lines)
        return
    with bare_table(stage.place.store) as table:
        rows = 2 * steps
        lines.append(
            Line(
                "bare inserts and commits",
                lambda: {_ONE: commit_one_by_one(stage.place.store, table, rows) / rows * 1000},
            )
        )
        yield Plan(lines, [Ratio("step of a lone run / bare insert and commit", _LONE, _ONE, at_most=1.5)])


@contextmanager
def _queued(stage: Stage) -> Generator[Plan]:
    sizes = stage.sizes
    count = sizes.chains * sizes.links
    stage.seconds_of(queued_steps, sizes.chains, 3)
    stage.seconds_of_chains(sizes.chains, 3)

    def queued() -> dict[str, float]:
        seconds = stage.seconds_of(queued_steps, sizes.chains, sizes.links)
        return {_QUEUED: count / seconds}

    def plain() -> dict[str, float]:
        return {_LINKS: count / stage.seconds_of_chains(sizes.chains, sizes.links)}

    yield Plan(
        [Line("queued steps", queued), Line("plain Dramatiq chains", plain)],
        [Ratio("queued steps / plain Dramatiq links", _QUEUED, _LINKS, at_least=0.6)],
    )


INLINE = Scenario("inline", "inline steps of many runs, beside bare group commits", _inline)
LONE = Scenario("lone", "a step of a run that is alone, beside a bare insert and commit", _lone)
QUEUED = Scenario(
    "queued", "steps by messages, beside plain Dramatiq chains", _queued, needs=frozenset({BROKER})
)
