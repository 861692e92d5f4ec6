"""What is special about the store on a server: connections that die, poolers, messages, round trips."""

from __future__ import annotations

import os
import re
import socket
import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

import attrs
import psycopg
import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import CancelRequested, Completed, SignalReceived, Status
from qwit_durable.errors import StoreError, StoreUnavailable
from qwit_durable.stores.answers import Acquired, Committed, Conflict, Fenced
from qwit_durable.stores.postgres import PostgresStore, hot
from qwit_durable.stores.postgres import store as postgres_module
from qwit_durable.stores.postgres.connecting import PgStatements
from qwit_durable.stores.postgres.hot import awake
from qwit_durable.stores.postgres.hot.prepared import Prepared
from qwit_durable.stores.rows import TURN, OutcomeRow
from qwit_durable.stores.writes import Acquire, Checkpoint, Commit, Deliver, Reap, Release, Start
from qwit_durable.testing.contract.stage import Stage, failed, resolved
from tests.stores.places import opened

HOUR = timedelta(hours=1)


def _cut(url: str) -> int:
    """End all other sessions of the database, as an administrator or a failover does."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    return len(rows)


# -- connections that die --------------------------------------------------------------------------------------


def test_connections_that_died_while_nobody_used_them_are_replaced(stage: Stage, url: str):
    hold = stage.begin()
    stage.store.counts("contract")
    assert _cut(url) == 2

    hot_commit = hold.commit(resolved("0"))
    _cut(url)
    read = stage.store.history(hold.id)
    _cut(url)
    another = stage.start()

    assert isinstance(hot_commit, Committed)
    assert len(read) == 1
    assert another.created


def test_a_connection_that_breaks_under_a_write_says_that_it_is_lost(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    """As when the server is killed: the client library knows of no code of the server's."""
    # It breaks after the look that a connection gets which was not used for a moment.
    monkeypatch.setattr(postgres_module, "is_stale", lambda _: False)
    hold = stage.begin()
    hold.commit(resolved("0"))
    broken: list[StoreError] = []

    def commit() -> None:
        try:
            hold.commit(resolved("1"))
        except StoreError as error:
            broken.append(error)

    with socket.socket(fileno=os.dup(stage.store._here.writer.link.connection.fileno())) as link:
        link.shutdown(socket.SHUT_RDWR)
    # Ctrl-C is waited for in the main thread, so it asks in another way.
    thread = threading.Thread(target=commit)
    thread.start()
    thread.join()

    assert [type(error) for error in broken] == [StoreUnavailable]
    assert isinstance(hold.commit(resolved("1")), Committed)


def _performing(monkeypatch: pytest.MonkeyPatch, before, *, times: int) -> list[int]:
    """Do something before writes are carried out, so many times; the list counts."""
    perform, calls = postgres_module.perform, []

    def disturbed(session, write):
        if len(calls) < times:
            calls.append(1)
            before()
        return perform(session, write)

    monkeypatch.setattr(postgres_module, "perform", disturbed)
    return calls


def test_a_connection_lost_before_anything_was_written_is_tried_again(
    stage: Stage, url: str, monkeypatch: pytest.MonkeyPatch
):
    def lose():
        _cut(url)
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    calls = _performing(monkeypatch, lose, times=2)

    assert stage.start("order-1", delay=HOUR).created
    assert len(calls) == 2


def test_a_connection_lost_while_writing_is_told_and_repeating_is_safe(
    stage: Stage, url: str, monkeypatch: pytest.MonkeyPatch
):
    row = stage.row("order-1")
    _performing(monkeypatch, lambda: _cut(url), times=1)

    with pytest.raises(StoreUnavailable, match="no connection to the Postgres server"):
        stage.start(row=row, delay=HOUR)

    assert stage.start(row=row, delay=HOUR).run.id == row.id
    assert len(stage.store.runs(_all())) == 1


def _all():
    from qwit_durable.stores.protocol import RunQuery

    return RunQuery(namespace="contract")


class Interrupt(BaseException):
    """As a time limit raises it in a thread."""


def test_an_interrupted_thread_leaves_nothing_behind_and_gives_up_its_connection(
    stage: Stage, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
):
    def interrupt():
        raise Interrupt

    store.open()
    before = store._here.writer.link.connection
    _performing(monkeypatch, interrupt, times=1)

    with pytest.raises(Interrupt):
        stage.start("order-1", delay=HOUR)

    assert before.closed
    assert stage.store.find("contract", "order-1") is None
    assert stage.start("order-1").created


def test_winners_of_a_batch_stay_winners_when_the_look_at_its_losers_is_disturbed(
    stage: Stage, url: str, monkeypatch: pytest.MonkeyPatch
):
    def lose():
        _cut(url)
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    won, lost = stage.begin(), stage.begin()
    _performing(monkeypatch, lose, times=1)
    writes = [
        Checkpoint(run_id=won.id, worker=1, epoch=1, head=0, events=(resolved("0"),)),
        Checkpoint(run_id=lost.id, worker=9, epoch=1, head=0, events=(resolved("0"),)),
    ]

    assert stage.store.apply(writes) == [Committed(head=1, now=stage.clock.now()), Fenced()]


# -- sessions and round trips ----------------------------------------------------------------------------------


def test_nothing_is_kept_in_a_session_so_a_pooler_may_stand_in_between(url: str, clock: ManualClock):
    def forget(store: PostgresStore) -> None:
        store._here.writer.link.connection.execute("DISCARD ALL")

    with opened(PostgresStore(f"{url}?prepare_threshold=none", clock=clock)) as store:
        stage = Stage(store, clock)
        for _ in range(7):
            hold = stage.begin()
            forget(store)
            hold.committed(resolved("0"))
            forget(store)
            hold.committed(resolved("1"), resolved("2"))
            forget(store)
            hold.end()
            assert len(store.history(hold.id)) == 3
        assert store._here.writer.link.connection.execute(
            "SELECT count(*) FROM pg_prepared_statements"
        ).fetchone() == (0,)


def test_nobody_waits_awake_where_the_url_says_so(
    url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(awake, "cores", lambda: 64)
    pays = []

    for address in (url, f"{url}?wait_awake=auto", f"{url}?wait_awake=no"):
        with opened(PostgresStore(address, clock=clock)) as store:
            Stage(store, clock).begin()
            pays.append(store._here.writer.link.prepared._wakefulness.pays)

    assert pays == [True, True, False]


class Counted:
    """Counts how often a connection waits for the server."""

    def __init__(self, store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trips: list[str] = []
        for name in ("rows", "ask", "many"):
            monkeypatch.setattr(PgStatements, name, self._counting(getattr(PgStatements, name), name))
        monkeypatch.setattr(Prepared, "ask", self._counting(Prepared.ask, "hot"))

    def _counting(self, method, name):
        def counted(statements, *args, **options):
            self.trips.append(name)
            return method(statements, *args, **options)

        return counted

    def during(self, call):
        self.trips.clear()
        call()
        return list(self.trips)


def test_how_many_round_trips_writes_cost(
    stage: Stage, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
):
    held, free, other, ending = stage.begin(), stage.start(), stage.start(), stage.begin()
    others = [stage.begin() for _ in range(20)]
    batch = [
        Checkpoint(run_id=hold.id, worker=1, epoch=1, head=0, events=(resolved("0"), failed("1")))
        for hold in others
    ]
    again = [attrs.evolve(write, head=2) for write in batch]
    mixed = [
        *(Start(run=stage.row()) for _ in range(5)),
        *(Deliver(run_id=hold.id, event=CancelRequested(reason="enough")) for hold in others),
    ]
    signals = [Deliver(run_id=hold.id, event=SignalReceived(name="go", dedupe_id="1")) for hold in others]
    counted = Counted(store, monkeypatch)

    assert counted.during(lambda: held.committed(resolved("0"))) == ["hot"]
    assert counted.during(lambda: store.apply(batch)) == ["hot"]
    assert counted.during(stage.start) == ["hot"]
    assert counted.during(lambda: stage.acquire(free.run.id)) == ["hot"]
    assert counted.during(lambda: store.apply([*again, Acquire(run_id=other.run.id, worker=1)])) == ["hot"]
    assert counted.during(lambda: ending.end(resolved("0"))) == ["hot"]
    assert counted.during(lambda: store.apply(signals)) == ["hot"]
    assert counted.during(lambda: held.release(resolved("1"), settle=(resolved("2"),))) == ["ask", "many"]
    assert counted.during(lambda: store.apply(mixed)) == ["hot", "ask", "many"]


def test_a_history_that_is_not_known_costs_a_round_trip_of_its_own(
    stage: Stage, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
):
    hold = stage.begin()
    hold.committed(resolved("0"), resolved("1"), release=Release(wake_at=stage.clock.now()))
    counted = Counted(store, monkeypatch)

    assert counted.during(lambda: stage.acquire(hold.id)) == ["hot", "hot"]
    assert len(stage.store.history(hold.id)) == 2


def test_the_hot_statement_answers_and_writes_what_the_kernel_does(
    stage: Stage, store: PostgresStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    def play(is_hot: bool):
        if not is_hot:
            monkeypatch.setattr(hot.HotWrites, "carry_out", lambda _, __, writes, ___: [None] * len(writes))
        holds = [stage.begin() for _ in range(5)]
        stage.tell(holds[1].id, SignalReceived(name="go"))
        stage.tell(holds[4].id, SignalReceived(name="go"))
        writes = [
            Checkpoint(
                run_id=holds[0].id, worker=1, epoch=1, head=0, events=(resolved("0"), Completed(value=b"1"))
            ),
            Checkpoint(run_id=holds[1].id, worker=1, epoch=1, head=0, events=(resolved("0"),)),
            Checkpoint(run_id=holds[2].id, worker=2, epoch=1, head=0, events=(resolved("0"),)),
            Checkpoint(run_id=holds[3].id, worker=1, epoch=2, head=0, events=(failed("0"),)),
            Commit(run_id=holds[4].id, worker=1, epoch=1, head=None, events=(failed("0"),)),
        ]
        batch = store.apply(writes)
        single = [store.apply([write])[0] for write in writes]
        rows = [
            (attrs.evolve(stage.live(hold.id), run_id=UUID(int=0)), list(store.history(hold.id)))
            for hold in holds
        ]
        return batch, single, rows

    assert play(is_hot=True) == play(is_hot=False)


def test_starts_turns_and_ends_mean_what_the_kernel_says_in_one_batch_too(
    stage: Stage, store: PostgresStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    def play(is_hot: bool):
        if not is_hot:
            monkeypatch.setattr(hot.HotWrites, "carry_out", lambda _, __, writes, ___: [None] * len(writes))
        lost = [stage.begin(worker=9), stage.begin(worker=9)]
        stage.do(Reap(orphans=frozenset(one.id for one in lost)))
        ended, told, going, free = stage.begin(), stage.begin(), stage.begin(), stage.start()
        stage.tell(told.id, SignalReceived(name="go"))
        fresh, taken = stage.row(f"order-{is_hot}"), stage.row(f"order-{is_hot}")
        end = OutcomeRow(run_id=ended.id, status=Status.COMPLETED, ended_at=clock.now(), value=b"1")
        writes = [
            Commit(run_id=ended.id, worker=1, epoch=1, head=0, events=(resolved("0"),), outcome=end),
            Commit(run_id=told.id, worker=1, epoch=1, head=0, outcome=attrs.evolve(end, run_id=told.id)),
            Start(run=fresh),
            Start(run=taken),
            Start(run=stage.row()),
            Acquire(run_id=free.run.id, worker=1),
            Acquire(run_id=going.id, worker=2),
            *(
                Acquire(run_id=one.id, worker=2, lost_too=wanted)
                for one, wanted in zip(lost, (True, False), strict=True)
            ),
            Checkpoint(run_id=going.id, worker=1, epoch=1, head=0, events=(resolved("0"),)),
        ]
        answers = store.apply(writes)
        ids = [ended.id, told.id, going.id, free.run.id, fresh.id, taken.id, *(one.id for one in lost)]
        rows = [(store.view(run_id), list(store.history(run_id)), store.tasks(run_id)) for run_id in ids]
        return _named(repr(answers), ids), _named(repr(rows), ids)

    assert play(is_hot=True) == play(is_hot=False)


def _named(text: str, ids: list[UUID]) -> str:
    """With the ids of runs as their places, and without those of others."""
    for nth, run_id in enumerate(ids):
        text = text.replace(str(run_id), f"run {nth}")
    return re.sub(r"[0-9a-f-]{36}|order-(True|False)", "", text)


def test_a_server_that_has_forgotten_the_statements_is_told_them_again(stage: Stage, store: PostgresStore):
    hold = stage.begin()
    hold.committed(resolved("0"))
    store._here.writer.link.connection.execute("DEALLOCATE ALL")

    assert hold.committed(resolved("1")).head == 2


def test_times_are_the_servers_and_in_utc(url: str):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {url.rpartition('/')[2]} SET timezone = 'Asia/Kathmandu'")
    with opened(PostgresStore(url)) as store:
        stage = Stage(store, ManualClock())

        hold = stage.begin()
        committed = hold.committed(resolved("0"))

        (recorded,) = store.history(hold.id)
        now = store.now()
        assert recorded.at == committed.now
        assert recorded.at.utcoffset() == now.utcoffset() == datetime.now(UTC).utcoffset()
        assert abs((now - committed.now).total_seconds()) < 60
        assert now != stage.clock.now()


# -- races -----------------------------------------------------------------------------------------------------


def test_a_deadlock_is_run_again(stage: Stage, url: str, monkeypatch: pytest.MonkeyPatch):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {url.rpartition('/')[2]} SET deadlock_timeout = '20ms'")
    other = PostgresStore(url, clock=stage.clock)
    first, second = sorted(stage.start().run.id for _ in range(2))
    barrier = threading.Barrier(2)
    perform, waited = postgres_module.perform, set()

    def crossing(session, write):
        # Each has locked the run of its batch; now each wants the other's.
        if threading.get_ident() not in waited:
            waited.add(threading.get_ident())
            barrier.wait(10)
            session.live(second if write.run_id == first else first)
        return perform(session, write)

    monkeypatch.setattr(postgres_module, "perform", crossing)
    answers = []

    def deliver(store, run_id):
        answers.append(store.apply([Deliver(run_id=run_id, event=SignalReceived(name="go"))])[0])

    threads = [
        threading.Thread(target=deliver, args=args) for args in ((stage.store, first), (other, second))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(answers) == 2
    assert [len(stage.events(run_id)) for run_id in (first, second)] == [1, 1]
    other.close()


def test_an_acquisition_that_waited_for_a_commit_sees_what_it_wrote(
    stage: Stage, store: PostgresStore, url: str
):
    hold = stage.begin()
    hold.release()
    other = psycopg.connect(url)
    other.execute("SELECT 1 FROM qwit.live WHERE run_id = %s FOR UPDATE", [hold.id])
    other.execute(
        "INSERT INTO qwit.event (run_id, number, at, kind, position, name, attempt, args, value, detail) "
        "VALUES (%s, 1, now(), 'timer_fired', '0', '', 0, '', '', '')",
        [hold.id],
    )
    other.execute("UPDATE qwit.live SET head = 1 WHERE run_id = %s", [hold.id])
    found = []
    thread = threading.Thread(target=lambda: found.append(stage.acquire(hold.id, worker=2)))
    thread.start()
    _until_somebody_waits(url)

    other.commit()
    thread.join(30)
    other.close()

    (answer,) = found
    assert isinstance(answer, Acquired)
    assert (answer.live.head, len(answer.events)) == (1, 1)


def test_a_hot_commit_that_waited_for_another_writer_is_a_conflict(stage: Stage, url: str):
    hold = stage.begin()
    other = psycopg.connect(url)
    other.execute("UPDATE qwit.live SET head = 1 WHERE run_id = %s", [hold.id])
    found = []
    thread = threading.Thread(target=lambda: found.append(hold.commit(resolved("0"))))
    thread.start()
    _until_somebody_waits(url)

    other.commit()
    thread.join(30)
    other.close()

    assert found == [Conflict(head=1)]
    assert stage.events(hold.id) == []


def _until_somebody_waits(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        while True:
            waiting = connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
            if waiting[0]:
                return


def test_the_sweep_leaves_out_what_another_session_works_on(stage: Stage, url: str):
    from qwit_durable.stores.rows import TimerRow
    from qwit_durable.stores.writes import FireTimers, RingDue

    hold = stage.begin()
    timer = TimerRow(run_id=hold.id, position="0", fire_at=stage.clock.now())
    hold.release(timers=(timer,))
    other_run = stage.start().run
    with psycopg.connect(url) as connection:
        connection.execute("SELECT 1 FROM qwit.live WHERE run_id = %s FOR UPDATE", [hold.id])
        connection.execute("SELECT 1 FROM qwit.task WHERE run_id = %s FOR UPDATE", [other_run.id])

        busy = stage.do(FireTimers()), stage.do(RingDue())
    free = stage.do(FireTimers()), stage.do(RingDue())

    assert [answer.rings for answer in busy] == [(), ()]
    assert [[(ring.run_id, ring.position) for ring in answer.rings] for answer in free] == [
        [(hold.id, TURN)],
        [(other_run.id, TURN)],
    ]


# -- what goes wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "a\0b"},
        {"key": "half a pair \ud800"},
        {"attributes": {"note": "\0"}},
        {"attributes": {"share": float("nan")}},
    ],
)
def test_what_cannot_be_stored_is_an_error_of_its_own_and_harms_nobody(stage: Stage, changes):
    poison = attrs.evolve(stage.row(), **changes)

    with pytest.raises(StoreError, match="a row can't be stored") as caught:
        stage.store.apply([Start(run=stage.row("neighbour")), Start(run=poison)])

    assert not isinstance(caught.value, StoreUnavailable)
    assert stage.store.find("contract", "neighbour") is None
    assert stage.start("neighbour").created


def test_a_poison_event_fails_its_hot_commit_and_nothing_else(stage: Stage):
    hold = stage.begin()

    with pytest.raises(StoreError):
        hold.commit(resolved("0", name="a\0b"))

    assert hold.committed(resolved("0")).head == 1


def test_a_server_that_cannot_be_reached_is_named_without_a_password():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    store = PostgresStore(f"postgresql://ann:secret@127.0.0.1:{port}/shop")
    uses = [
        store.open,
        store.migrate,
        store.now,
        lambda: store.counts("contract"),
        lambda: Stage(store, ManualClock()).start(),
    ]

    for use in uses:
        with pytest.raises(StoreUnavailable) as caught:
            use()
        text = str(caught.value)
        assert f"127.0.0.1:{port}/shop" in text
        assert "Check that it runs" in text
        assert "\n" not in text
        assert "secret" not in text


def test_a_database_that_is_not_there_is_named(postgres_url: str):
    missing = PostgresStore(postgres_url + "_missing")

    with pytest.raises(StoreUnavailable, match=r"_missing.*does not exist"):
        missing.open()


def test_a_server_that_takes_no_writes_is_named(stage: Stage, store: PostgresStore):
    store._here.writer.link.connection.execute("SET default_transaction_read_only = on")

    with pytest.raises(StoreUnavailable, match="read-only: a standby"):
        stage.start()


def test_a_schema_that_vanishes_under_a_running_store_is_explained(stage: Stage, url: str):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA qwit CASCADE")

    with pytest.raises(StoreError, match="Run `qwit migrate`"):
        stage.start()


def test_a_store_can_be_closed_and_used_again(stage: Stage, store: PostgresStore):
    stage.start("order-1")
    store.close()
    store.close()

    assert store.find("contract", "order-1") is not None
    assert stage.start("order-2").created
