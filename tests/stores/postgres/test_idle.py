"""What a worker process asks of the server while everything is asleep, and what that costs the server."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import attrs
import psycopg
import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import SignalReceived, Verb
from qwit_durable.language.verbs import sleep
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.postgres import PostgresStore
from qwit_durable.stores.postgres import store as postgres_module
from qwit_durable.stores.postgres.connecting import PgStatements
from qwit_durable.stores.rows import TURN, TimerKind, TimerRow
from qwit_durable.stores.writes import Beat, FireTimers, Lead, RingDue
from qwit_durable.testing.contract.stage import LEASE, Hold, Stage, seconds, task
from qwit_durable.testing.environment import Environment


@workflow
def asleep() -> Workflow[None]:
    yield from sleep(timedelta(days=1))


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch):
    """What is carried out, in order; a batch of several counts as what it is: more than one."""
    seen: list[str] = []

    def watched(name: str):
        method = getattr(PgStatements, name)

        def call(statements, what, *args, **options):
            seen.append(what if name == "rows" else name)
            return method(statements, what, *args, **options)

        return call

    for name in ("rows", "ask", "many"):
        monkeypatch.setattr(PgStatements, name, watched(name))
    return seen


def by_the_kernel(carry_out, transact, tables, walks, write, now):
    """What is carried out in one statement, as the kernel does it."""
    return carry_out(lambda statements: transact(statements, [write]))[0]


def ten_seconds_of(environment: Environment, clock: ManualClock) -> None:
    """What the two threads of a process do in ten seconds, with the default settings."""
    for second in range(10):
        if second % 3 == 0:
            environment.engine.heart.beat()
        environment.engine.sweeper.sweep()
        clock.advance(seconds(1))


def idle(store: PostgresStore, clock: ManualClock) -> Environment:
    """A process that has nothing left to look after."""
    environment = Environment(store, clock=clock)
    environment.engine.sweeper._rings_locally = False
    for _ in range(3):
        ten_seconds_of(environment, clock)
    return environment


def test_the_process_that_sweeps_asks_once_a_second_and_a_beat_is_one_statement(
    store: PostgresStore, clock: ManualClock, statements: list[str]
):
    sleeping = Stage(store, clock).begin()
    due = clock.now() + seconds(1000)
    sleeping.release(timers=(TimerRow(run_id=sleeping.id, position="0", fire_at=due),))
    environment = idle(store, clock)
    statements.clear()

    ten_seconds_of(environment, clock)

    assert len(statements) == 10 + 4 + 1
    assert sum("min(fire_at)" in statement for statement in statements) == 10


def test_any_other_process_beats_and_nothing_else(
    store: PostgresStore, clock: ManualClock, statements: list[str]
):
    Stage(store, clock).do(Lead(duty="sweep", worker=1, lease=seconds(1000)))
    other = idle(store, clock)
    statements.clear()

    ten_seconds_of(other, clock)

    assert len(statements) == 4
    assert all("qwit.worker" in statement for statement in statements)


def test_a_process_that_held_a_run_by_mistake_lets_go_of_it(store: PostgresStore, clock: ManualClock):
    stage = Stage(store, clock)
    environment = idle(store, clock)
    run_id = stage.start().run.id
    stage.hold(run_id, worker=environment.engine.services.worker)
    environment.start(asleep)

    for _ in range(2):
        ten_seconds_of(environment, clock)

    assert stage.live(run_id).owner is None
    assert TURN in stage.tasks(run_id)


def test_the_beat_in_one_statement_answers_and_writes_what_the_kernel_does(
    store: PostgresStore, clock: ManualClock, url: str, monkeypatch: pytest.MonkeyPatch
):
    stage = Stage(store, clock)

    def play(first: int):
        def beat(worker: int):
            row = stage.worker(worker, queues=("a", "b"))
            return stage.do(
                Beat(worker=row, lease=LEASE, asks=Lead(duty=f"of {first}", worker=worker, lease=seconds(5)))
            )

        answers = [beat(first), beat(first + 1), beat(first)]
        clock.advance(seconds(5))
        answers += [beat(first + 1), beat(first)]
        with psycopg.connect(url) as connection:
            rows = connection.execute(
                "SELECT id - %s, host, pid - %s, process_started, beat_at - started_at, expires_at - beat_at, queues,"
                " duty.worker - %s, until - beat_at FROM qwit.worker LEFT JOIN qwit.duty ON duty.worker = id"
                " WHERE id BETWEEN %s AND %s ORDER BY id",
                [first, first, first, first, first + 1],
            ).fetchall()
        return answers, rows

    in_one = play(10)
    monkeypatch.setattr(postgres_module, "tend", by_the_kernel)

    assert in_one == play(20)


def test_timers_and_bells_in_one_statement_are_answered_and_written_as_by_the_kernel(
    store: PostgresStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    stage = Stage(store, clock)

    def begin(**options: Any) -> Hold:
        stage.wait(0.001)  # ids are in the order of their times
        return stage.begin(**options)

    def later(delay: timedelta) -> UUID:
        stage.wait(0.001)
        return stage.start(delay=delay).run.id

    def sleeps(hold: Hold, *timers: tuple[str, str, float], **parts: Any) -> UUID:
        hold.release(timers=tuple(_timer(hold, *timer) for timer in timers), **parts)
        return hold.id

    def _timer(hold: Hold, position: str, kind: TimerKind, after: float) -> TimerRow:
        due = clock.now() + seconds(after)
        return TimerRow(run_id=hold.id, position=position, kind=kind, fire_at=due)

    def play() -> list[Any]:
        held, begun = begin(), begin(deadline=seconds(4))
        stage.beat(1)
        runs = [
            sleeps(begin(), ("0", "fire", 1)),
            sleeps(begin(), ("0", "fire", 1)),
            sleeps(begin(), ("1", "fire", 2), ("0", "fire", 3), ("2", "wake", 3)),
            sleeps(begin(), ("0", "wake", 2), ("1", "fire", 9)),
            sleeps(begin(), ("0", "fire", 3), tasks=(task("1"),)),
            stage.join("right", delay=seconds(1)).run.id,
            later(seconds(2)),
            stage.join(delay=seconds(3)).run.id,
            stage.join(delay=seconds(2)).run.id,
            sleeps(begun, ("0", "fire", 5)),
            sleeps(begin(), ("0", "fire", 5)),
            held.id,
        ]
        held.committed(timers=(_timer(held, "0", "fire", 1),))
        stage.operate(runs[1], Verb.PAUSE)
        stage.tell(runs[10], SignalReceived(name="go"))
        stage.claimed(runs[4], "1", worker=1)
        answers: list[Any] = []
        for wait in (2, 3, 10, 10):
            stage.wait(wait)
            stage.beat(1)
            answers += [stage.do(FireTimers(limit=limit)) for limit in (1, 4, 500)]
            answers += [stage.do(RingDue(limit=limit)) for limit in (2, 500)]
        rows = [
            (
                attrs.evolve(stage.live(run_id), run_id=UUID(int=0)),
                list(store.history(run_id)),
                [attrs.evolve(row, run_id=UUID(int=0)) for row in store.tasks(run_id)],
                [attrs.evolve(row, run_id=UUID(int=0)) for row in store.timers(run_id)],
            )
            for run_id in runs
        ]
        for run_id in runs:
            stage.operate(run_id, Verb.TERMINATE)
        names = {run_id: number for number, run_id in enumerate(runs)}
        told = [[(names[ring.run_id], ring.position) for ring in answer.rings] for answer in answers]
        return [told, [answer.more for answer in answers], rows]

    def since(found: Any, start: datetime) -> Any:
        """The same with times that count from the beginning."""
        match found:
            case datetime():
                return found - start
            case list() | tuple():
                return [since(one, start) for one in found]
            case _ if attrs.has(type(found)):
                return [since(getattr(found, field.name), start) for field in attrs.fields(type(found))]
            case _:
                return found

    start = clock.now()
    in_one = since(play(), start)
    monkeypatch.setattr(postgres_module, "tend", by_the_kernel)
    start = clock.now()

    assert in_one == since(play(), start)
    assert sum(map(len, in_one[0])) > len(in_one[0])
