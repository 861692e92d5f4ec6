"""Transactional steps: what they write and their checkpoint are one transaction of the store, or neither is there."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from qwit_durable import (
    AttemptTimedOut,
    GiveUp,
    MisuseError,
    Retry,
    Workflow,
    WorkflowFailed,
    current,
    gather,
    step,
    workflow,
)
from qwit_durable.clock import ManualClock
from qwit_durable.core import AttemptFailed, Resolved, Status
from qwit_durable.stores import open_store
from qwit_durable.stores.protocol import Store
from qwit_durable.stores.writes import Acquire
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import MortalStore, ProcessDied

_ONCE = Retry(max_attempts=1)


class Bank:
    """Entries in the store's own database, written by steps and read from outside."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_postgres = not url.startswith("sqlite")
        self.clock = ManualClock()
        self.store: Store = open_store(url, clock=self.clock)
        self.store.migrate()
        self.store.open()
        with self.connection() as connection:
            connection.execute("CREATE TABLE entry (what text, attempt int)")
        self.before: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def connection(self) -> Iterator[Any]:
        """A connection of somebody else's."""
        if self.is_postgres:
            with psycopg.connect(self.url) as connection:
                yield connection
        else:
            with contextlib.closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as connection:
                yield connection
                connection.commit()

    def add(self, what: str) -> None:
        """What a step writes."""
        mark = "%s" if self.is_postgres else "?"
        sql = f"INSERT INTO entry VALUES ({mark}, {mark})"
        current().connection.execute(sql, (what, current().attempt))

    def entries(self) -> list[tuple[str, int]]:
        """What is there for everybody."""
        with self.connection() as connection:
            return list(connection.execute("SELECT what, attempt FROM entry ORDER BY what, attempt"))

    def environment(self, store: Store | None = None) -> Environment:
        """One process."""
        return Environment(store or self.store, clock=self.clock)


bank: Bank


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store in a file, and one on a server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/bank.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(autouse=True)
def a_bank(url: str) -> Iterator[Bank]:
    """A fresh bank."""
    global bank
    bank = Bank(url)
    yield bank
    bank.store.close()


# -- steps -----------------------------------------------------------------------------------------------------


@step(transactional=True, retry=Retry(max_attempts=3, first=timedelta(0)))
def enter(what: str) -> str:
    bank.add(what)
    bank.before()
    return what.upper()


@enter.undo
def strike(what: str, result: str) -> None:
    bank.add(f"undo {what} {result}")


@step(transactional=True, retry=_ONCE)
def misuse(how: str) -> str:
    bank.add(how)
    connection = current().connection
    match how:
        case "commit" | "rollback" | "close":
            getattr(connection, how)()
        case "with":
            with connection:
                pass
        case "swallowed":
            with contextlib.suppress(Exception):
                connection.commit()
        case sql:
            connection.execute(sql)
    bank.add("after")
    return "done"


@step(transactional=True, retry=_ONCE, timeout=timedelta(seconds=0.3))
def slow(gate: str) -> str:
    bank.add("slow")
    Gates[gate].wait(20)
    bank.add("late")
    return "late"


Gates: dict[str, threading.Event] = {}


@step(retry=_ONCE)
def plain() -> str:
    return str(current().connection)


@step(retry=_ONCE)
def fail() -> None:
    raise GiveUp("no")


@workflow
def one(what: str) -> Workflow[str]:
    return (yield from enter(what))


@workflow
def three(what: str) -> Workflow[str]:
    first = yield from enter(f"{what}1")
    second, third = yield from gather(enter(f"{what}2"), enter(f"{what}3"))
    return f"{first}{second}{third}"


@workflow
def undone(what: str) -> Workflow[None]:
    yield from enter(f"{what}1")
    yield from gather(enter(f"{what}2"))
    yield from fail()


@workflow
def misusing(how: str) -> Workflow[str]:
    return (yield from misuse(how))


@workflow
def waiting(gate: str) -> Workflow[str]:
    return (yield from slow(gate))


@workflow
def plainly() -> Workflow[str]:
    return (yield from plain())


# -- together --------------------------------------------------------------------------------------------------


def test_rows_and_checkpoints_of_inline_and_queued_steps_are_all_there() -> None:
    environment = bank.environment()

    handle = environment.start(three, "a")
    environment.settle()

    assert handle.result(0) == "A1A2A3"
    assert bank.entries() == [("a1", 1), ("a2", 1), ("a3", 1)]


def test_what_a_failing_attempt_wrote_never_happened() -> None:
    environment = bank.environment()
    fails = iter([True, True, False])

    def maybe() -> None:
        if next(fails):
            raise ValueError("not yet")

    bank.before = maybe
    handle = environment.start(one, "a")
    environment.settle()

    assert handle.result(0) == "A"
    assert bank.entries() == [("a", 3)]


def test_undos_of_transactional_steps_are_transactional_too() -> None:
    environment = bank.environment()

    handle = environment.start(undone, "a")
    environment.settle()

    assert handle.status() is Status.COMPENSATED
    assert bank.entries() == [("a1", 1), ("a2", 1), ("undo a1 A1", 1), ("undo a2 A2", 1)]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", range(1, 16))
def test_death_around_any_write_leaves_each_row_once(dies_at: int, after: bool, url: str) -> None:
    if bank.is_postgres and dies_at % 3:
        return  # every third crash point: what differs between the databases is not when a process dies
    first = bank.environment(mortal := MortalStore(bank.store, dies_at=dies_at, after=after))
    with contextlib.suppress(ProcessDied):
        first.start(three.options(id="A"), "a")
        first.settle()
    assert mortal.is_dead or dies_at > 8
    second = bank.environment()

    handle = second.start(three.options(id="A"), "a")
    second.settle()

    assert handle.result(0) == "A1A2A3"
    assert [what for what, _ in bank.entries()] == ["a1", "a2", "a3"]


def test_an_owner_who_has_lost_the_run_leaves_nothing_behind() -> None:
    zombie, successor = bank.environment(), bank.environment()
    handle = zombie.start(one.options(id="A"), "a")
    run = bank.store.find("default", "A")
    assert run is not None
    stolen: list[object] = []

    def steal() -> None:
        if bank.is_postgres and not stolen:
            stolen.append(run)
            # As if the lease had lapsed: another process takes over while the step is at it.
            write = Acquire(run_id=run.run.id, worker=successor.engine.services.worker)
            bank.store.apply([write])

    bank.before = steal
    zombie.answer_bells()
    before = bank.entries()
    bank.before = lambda: None
    successor.settle()
    zombie.settle()

    assert before == ([] if bank.is_postgres else [("a", 1)])
    assert handle.result(0) == "A"
    assert len(bank.entries()) == 1


def test_an_event_that_comes_while_the_step_runs_is_not_lost() -> None:
    environment = bank.environment()
    handle = environment.start(undone, "a")

    def signal() -> None:
        if bank.is_postgres:  # on SQLite nobody else can write then
            handle.signal("any", 1)

    bank.before = signal
    environment.settle()

    assert handle.status() is Status.COMPENSATED
    assert bank.entries() == [("a1", 1), ("a2", 1), ("undo a1 A1", 1), ("undo a2 A2", 1)]
    recorded = [entry.event for entry in handle_history(handle.id)]
    assert len([e for e in recorded if isinstance(e, Resolved) and e.name == "enter"]) == 4


def handle_history(key: str) -> Any:
    """The raw history of a run."""
    view = bank.store.find("default", key)
    assert view is not None
    return bank.store.history(view.run.id)


# -- misuse ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["commit", "rollback", "close", "with", "COMMIT", "ROLLBACK"])
def test_a_step_cannot_end_its_transaction(how: str) -> None:
    environment = bank.environment()

    handle = environment.start(misusing, how)
    environment.settle()

    with pytest.raises(WorkflowFailed) as caught:
        handle.result(0)
    assert caught.value.cause is not None
    cause = caught.value.cause.root
    if how.islower():
        assert "its writes are committed with its checkpoint" in cause.message
    if how == "COMMIT" and bank.is_postgres:
        # The server has done as it was told; all there is to do is to say so.
        assert "a transactional step called COMMIT or ROLLBACK" in cause.message
        assert bank.entries() == [("COMMIT", 1)]
    else:
        assert bank.entries() == []


def test_a_refused_commit_that_the_step_swallows_changes_nothing() -> None:
    environment = bank.environment()

    handle = environment.start(misusing, "swallowed")
    environment.settle()

    assert handle.result(0) == "done"
    assert bank.entries() == [("after", 1), ("swallowed", 1)]


def test_a_step_that_is_not_transactional_has_no_connection() -> None:
    environment = bank.environment()

    handle = environment.start(plainly)
    environment.settle()

    with pytest.raises(WorkflowFailed, match="@step\\(transactional=True\\)") as caught:
        handle.result(0)
    assert caught.value.cause is not None
    assert caught.value.cause.is_a(MisuseError)


def test_a_timeout_rolls_back_and_the_store_can_be_written_again_though_the_step_does_not_return() -> None:
    environment = bank.environment()
    gate = Gates["g"] = threading.Event()
    handle = environment.start(waiting, "g")
    worker = threading.Thread(target=environment.settle)
    worker.start()

    with pytest.raises(WorkflowFailed) as caught:
        result_within(handle, environment)
    entries = bank.entries()
    gate.set()
    worker.join()

    assert caught.value.cause is not None
    assert caught.value.cause.is_a(AttemptTimedOut)
    assert entries == []
    assert bank.entries() == []


def result_within(handle: Any, environment: Environment) -> Any:
    """What the run comes to, driven by a second thread while the first one hangs."""
    for _ in range(200):
        if any(isinstance(entry.event, Resolved | AttemptFailed) for entry in handle_history(handle.id)):
            break
        threading.Event().wait(0.02)
    for _ in range(200):
        # The watchdog gives the run back a moment after it has recorded the timeout.
        environment.engine.take_turn(bank.store.find("default", handle.id).run.id)  # type: ignore[union-attr]
        with contextlib.suppress(TimeoutError):
            return handle.result(0.02)
    return handle.result(0)
