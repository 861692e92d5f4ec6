"""The scenario of a store that has been in use for long: what open runs cost beside millions that have ended.

Runs that have ended are not carried out but copied: the rows of one that was, under ids as if one had been started each
second. In databases of their own, one of which stays empty and both of which are removed: so nobody's store is filled,
and both have the same runs to carry, in turns.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import attrs
import psycopg
from psycopg import sql

from qwit_durable.bench import figures
from qwit_durable.bench.bodies import inline_steps
from qwit_durable.bench.plan import POSTGRES, BenchFailed, Line, Plan, Ratio, Scenario
from qwit_durable.bench.stage import Stage
from qwit_durable.clock import monotonic
from qwit_durable.ids import new_uuid4
from qwit_durable.stores import open_store

__all__ = ["HISTORY", "copy_ended"]

_PORTION = 100_000
#: Of an id, which begins with the milliseconds of its time.
_BELOW_TIME = 80
_ID = sql.SQL("""(
    lpad(to_hex(%(milliseconds)s::int8 - (%(count)s::int8 - n) * 1000), 12, '0') || '7' || substr(md5(n::text), 1, 3)
    || '8' || substr(md5(n::text), 4, 15)
)::uuid""")
#: The tables in which something stays of a run that has ended, its id there, and what else tells it from others. In a
#: namespace of their own, so that nobody removes them run by run.
_KEPT: Mapping[str, Mapping[str, sql.SQL]] = {
    "run": {"id": _ID, "root_id": _ID, "key": sql.SQL("n::text"), "namespace": sql.SQL("'ended'")},
    "outcome": {"run_id": _ID},
    "event": {"run_id": _ID},
}
_COLUMNS = """
    SELECT column_name FROM information_schema.columns WHERE table_schema = 'qwit' AND table_name = %s
"""
_AIM = 0.95


@contextmanager
def _history(stage: Stage) -> Generator[Plan]:
    count = stage.sizes.closed
    with ExitStack() as stack:
        try:
            urls = [stack.enter_context(_database(stage.place.store)) for _ in range(2)]
        except psycopg.errors.InsufficientPrivilege as error:
            why = f"needs databases of its own: {error}".strip()
            yield Plan([], absent=dict.fromkeys((figures.YOUNG, figures.beside(count)), why))
            return
        young, old = (stack.enter_context(_stage_at(stage, url)) for url in urls)
        runs = _enough(young)
        copy_ended(old, count)

        def reach(here: Stage, figure: str) -> dict[str, float]:
            server, (started, worked) = here.server_cpu_seconds(), _seconds(here, runs)
            server = here.server_cpu_seconds() - server
            found = {figure: runs / (started + worked)}
            label = figures.label(figure)
            return found | ({f"{label}, CPU µs each in the server": server / runs * 1e6} if server else {})

        yield Plan(
            [
                Line("no runs have ended", lambda: reach(young, figures.YOUNG)),
                Line(f"{count:,} runs have ended", lambda: reach(old, figures.beside(count))),
            ],
            [
                Ratio(
                    f"beside {count:,} that have ended / beside none",
                    figures.beside(count),
                    figures.YOUNG,
                    at_least=_AIM,
                )
            ],
        )


@contextmanager
def _database(url: str) -> Generator[str]:
    """A new database on the server, migrated, removed with the block."""
    name = f"qwit_bench_{new_uuid4().hex[:12]}"
    found = re.fullmatch(r"(postgres(?:ql)?://[^/?]*)(?:/[^?]*)?(\?.*)?", url)
    if found is None:
        raise BenchFailed(
            "a database of its own can't be named: the store's URL is not postgresql://…/database"
        )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            there = f"{found[1]}/{name}{found[2] or ''}"
            store = open_store(there)
            store.migrate()
            store.close()
            yield there
        finally:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )


def _stage_at(stage: Stage, url: str) -> Stage:
    """Another one, whose threads are those of this process: then no bell goes to a worker of the other."""
    place = attrs.evolve(stage.place, store=url, broker="")
    return Stage(place, stage.sizes, processes=1, threads=stage.threads)


def _enough(stage: Stage) -> int:
    """So many runs take as long as a round of a line is to take."""
    few = 2 * stage.threads
    _seconds(stage, few)
    return max(int(few * stage.sizes.seconds / sum(_seconds(stage, few))), few)


def _seconds(stage: Stage, runs: int) -> tuple[float, float]:
    """How long so many short runs take: to be started, while nobody works, and to be carried to their ends."""
    with stage.crew.held():
        before = monotonic()
        handles = stage.start_all([inline_steps.options()] * runs, stage.sizes.short_steps)
        started = monotonic() - before
        began = stage.durable.reader.now()
    return started, (stage.end_of(handles) - began).total_seconds()


def copy_ended(stage: Stage, count: int) -> None:
    """Have so many runs in the store that have ended."""
    assert stage.postgres is not None
    connection = stage.postgres.connection
    handle = stage.durable.start(inline_steps, 1)
    stage.end_of([handle])
    real = handle.run().run_id
    given = {"real": real, "milliseconds": real.int >> _BELOW_TIME, "count": count}
    for table, own in _KEPT.items():
        listed = connection.execute(_COLUMNS, [table]).fetchall()
        statement = _copying(table, [name for (name,) in listed], own)
        for first in range(0, count, _PORTION):
            last = min(first + _PORTION, count) - 1
            connection.execute(statement, {**given, "first": first, "last": last})
    connection.execute("VACUUM (ANALYZE)")
    stage.postgres.checkpoint()


def _copying(table: str, columns: Sequence[str], own: Mapping[str, sql.SQL]) -> sql.Composed:
    """The statement that copies the rows of one run: all columns as they are, except those that tell it from others."""
    return sql.SQL(
        "INSERT INTO {table} ({columns}) SELECT {values} "
        "FROM generate_series(%(first)s::int8, %(last)s::int8) AS n CROSS JOIN {table} AS real "
        "WHERE real.{key} = %(real)s ORDER BY n"
    ).format(
        table=sql.Identifier("qwit", table),
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        values=sql.SQL(", ").join(own.get(name) or sql.Identifier("real", name) for name in columns),
        key=sql.Identifier(next(iter(own))),
    )


HISTORY = Scenario(
    "history",
    "what runs cost beside hundreds of thousands that have ended",
    _history,
    frozenset({POSTGRES}),
    is_long=True,
)
