"""What is special about the store in a file: processes, locks, messages, and what lies on the disk."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from uuid import UUID

import attrs
import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import CancelRequested, Completed, SignalReceived
from qwit_durable.errors import SchemaMismatch, StoreError, StoreUnavailable
from qwit_durable.stores.answers import Acquired, Refused
from qwit_durable.stores.processes import process_started, this_host
from qwit_durable.stores.sqlite import SqliteStore, batch, waiting
from qwit_durable.stores.writes import Beat, Checkpoint, Commit, Deliver, Release, Start, Write
from qwit_durable.testing.contract.stage import LEASE, Stage, failed, resolved
from tests.stores.places import UnsyncedStore, opened, sqlite_url


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock):
    with opened(UnsyncedStore(sqlite_url(tmp_path), clock=clock)) as store:
        yield store


@pytest.fixture
def stage(store: SqliteStore, clock: ManualClock):
    return Stage(store, clock)


# -- owners on this machine ------------------------------------------------------------------------------------


def _beat(stage: Stage, worker: int, pid: int, started: float, host: str | None = None) -> None:
    row = stage.worker(worker, host=host or this_host(), pid=pid, process_started=started)
    stage.do(Beat(worker=row, lease=LEASE))


def test_an_owner_whose_process_is_gone_is_taken_over_at_once(stage: Stage):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as owner:
        _beat(stage, 1, owner.pid, process_started(owner.pid))
        run = stage.begin(worker=1)
        before = stage.acquire(run.id, worker=2)
        owner.kill()

    after = stage.acquire(run.id, worker=2)

    assert before == Refused(reason="held", status=stage.live(run.id).status)
    assert isinstance(after, Acquired)
    assert after.live.lost == 1


def test_a_pid_that_is_used_again_is_another_process(stage: Stage):
    _beat(stage, 1, os.getpid(), process_started(os.getpid()) - 1)
    run = stage.begin(worker=1)

    assert isinstance(stage.acquire(run.id, worker=2), Acquired)


def test_a_machine_that_does_not_tell_when_processes_began_goes_by_the_pid(stage: Stage):
    _beat(stage, 1, os.getpid(), 0.0)
    run = stage.begin(worker=1)

    assert isinstance(stage.acquire(run.id, worker=2), Refused)


def test_a_lease_that_has_ended_is_over_whatever_the_process_does(stage: Stage):
    _beat(stage, 1, os.getpid(), process_started(os.getpid()))
    run = stage.begin(worker=1)
    stage.wait(10)

    assert isinstance(stage.acquire(run.id, worker=2), Acquired)


def test_an_owner_on_another_machine_is_judged_by_its_lease(stage: Stage):
    _beat(stage, 1, 2**22 - 1, 1.0, host="elsewhere")
    run = stage.begin(worker=1)

    assert isinstance(stage.acquire(run.id, worker=2), Refused)


# -- several processes -----------------------------------------------------------------------------------------

PROGRAM = """
import json, sys
from qwit_durable.clock import ManualClock
from qwit_durable.stores.answers import Acquired
from qwit_durable.stores.sqlite import SqliteStore
from qwit_durable.testing.contract.stage import Stage

worker, url = int(sys.argv[1]), sys.argv[2]
stage = Stage(SqliteStore(url, clock=ManualClock()), ManualClock())
stage.beat(worker)
print("ready", flush=True)
input()
created = held = 0
for turn in range(40):
    started = stage.start(f"order-{turn}")
    created += started.created
    found = stage.acquire(started.run.id, worker)
    if isinstance(found, Acquired):
        held += 1
stage.store.close()
print(json.dumps([created, held]))
"""


def test_two_processes_share_one_file(tmp_path: Path):
    url = sqlite_url(tmp_path)
    with ExitStack() as cleanup:
        programs = [cleanup.enter_context(_worker(number, url)) for number in (1, 2)]
        for program in programs:
            assert program.stdout.readline() == "ready\n"
        for program in programs:
            program.stdin.write("go\n")
            program.stdin.flush()
        found = [json.loads(program.stdout.readline()) for program in programs]

    assert sum(created for created, _ in found) == 40
    assert sum(held for _, held in found) == 40
    with opened(SqliteStore(url)) as store:
        assert sum(store.counts("contract").values()) == 40


def _worker(number: int, url: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(number), url]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_stamp_changes_when_somebody_else_writes_and_only_then(
    stage: Stage, store: SqliteStore, clock: ManualClock
):
    first = store.stamp()
    stage.start()
    own = store.stamp()
    with opened(UnsyncedStore(store.url, clock=clock)) as other:
        Stage(other, clock).start()

    assert own == first
    assert store.stamp() != own
    assert store.stamp() == store.stamp()


def test_threads_read_while_another_one_writes(stage: Stage, store: SqliteStore):
    hold = stage.begin()
    seen: list[int] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            history = store.history(hold.id)
            view = store.view(hold.id)
            assert view.live.head >= len(history)
            seen.append(len(history))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for position in range(50):
        hold.committed(resolved(str(position)))
    stop.set()
    for thread in threads:
        thread.join(10)

    assert max(seen) <= 50
    assert len(store.history(hold.id)) == 50


# -- the hottest writes ----------------------------------------------------------------------------------------


def test_transitions_that_only_append_answer_and_write_what_the_kernel_says(
    stage: Stage, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
):
    def play(changes: list[dict[str, object]]):
        holds = [stage.begin() for _ in changes]
        stage.tell(holds[4].id, CancelRequested(reason="no"))
        writes: list[Write] = []
        for hold, change in zip(holds, changes, strict=True):
            plain = Checkpoint(run_id=hold.id, worker=1, epoch=1, head=0, events=(resolved("0"),))
            writes.append(attrs.evolve(plain, **change))
        # In the middle of others, of the same runs too: in order.
        writes[2:2] = [Deliver(run_id=holds[2].id, event=SignalReceived(name="go", value=b"1"))]
        again = Commit(
            run_id=holds[0].id, worker=1, epoch=1, head=2, events=(failed("2"),), release=Release()
        )
        answers = store.apply([*writes, again])
        rows = [
            (attrs.evolve(stage.live(hold.id), run_id=UUID(int=0)), list(store.history(hold.id)))
            for hold in holds
        ]
        return answers, rows

    won = [{"events": (resolved("0"), Completed(value=b"1"))}, {}, {"head": 1}, {}]
    for last in (
        {},
        {"worker": 2},
        {"epoch": 2},
        {"head": 3},
        {"head": 1, "events": (failed("0"),)},
    ):
        cases = [*won, last]
        answers, rows = play(cases)
        with monkeypatch.context() as patch:
            patch.setattr(batch, "only_appends", lambda _: False)
            wanted = play(cases)

        assert (answers, rows) == wanted


def test_transitions_that_only_append_are_moved_and_inserted_without_a_look(stage: Stage, store: SqliteStore):
    holds = [stage.begin() for _ in range(5)]
    writes = [
        Checkpoint(run_id=hold.id, worker=1, epoch=1, head=0, events=(resolved("0"), failed("1")))
        for hold in holds
    ]
    seen: list[str] = []
    with store._writing() as connection:
        connection.set_trace_callback(seen.append)

    store.apply(writes)

    verbs = Counter(statement.split()[0] for statement in seen)
    assert verbs == {"BEGIN": 1, "UPDATE": 5, "INSERT": 10, "COMMIT": 1}


# -- what goes wrong -------------------------------------------------------------------------------------------


class Interrupt(BaseException):
    """As a time limit raises it in a thread."""


def test_an_interrupted_thread_leaves_nothing_behind(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    def interrupted(session, write):
        perform(session, write)
        raise Interrupt

    perform = batch.perform
    monkeypatch.setattr(batch, "perform", interrupted)
    with pytest.raises(Interrupt):
        stage.start("order-1")
    monkeypatch.undo()

    assert stage.store.find("contract", "order-1") is None
    assert stage.start("order-1").created


@pytest.mark.parametrize("changes", [{"key": "half a pair \ud800"}, {"attributes": {"share": float("nan")}}])
def test_what_cannot_be_stored_is_an_error_of_its_own_and_harms_nobody(stage: Stage, changes):
    poison = attrs.evolve(stage.row(), **changes)

    with pytest.raises(StoreError, match="a row can't be stored") as caught:
        stage.store.apply([Start(run=stage.row("neighbour")), Start(run=poison)])

    assert not isinstance(caught.value, StoreUnavailable)
    assert stage.store.find("contract", "neighbour") is None
    assert stage.start("neighbour").created


def test_a_file_that_is_locked_too_long_is_named(tmp_path: Path):
    url = sqlite_url(tmp_path)
    with opened(SqliteStore(url)):
        pass
    other = sqlite3.connect(tmp_path / "qwit.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store = SqliteStore(url, busy_seconds=0.05)

    with pytest.raises(StoreUnavailable, match=r"qwit\.db.*another process has held it locked for 0\.05 s"):
        Stage(store, ManualClock()).start()

    other.execute("ROLLBACK")
    other.close()
    assert Stage(store, ManualClock()).start().created
    store.close()


@pytest.mark.parametrize("is_step", [False, True])
def test_whoever_waits_for_the_file_looks_again_soon_however_long_it_has_waited(
    stage: Stage, store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_step: bool
):
    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3000:
            other.execute("COMMIT")

    pauses: list[float] = []
    ticks = count(step=0.003)
    monkeypatch.setattr(waiting, "monotonic", lambda: next(ticks))
    monkeypatch.setattr(waiting, "_pause", pause)
    with closing(sqlite3.connect(tmp_path / "qwit.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        if is_step:
            transaction = store.transaction()
            transaction.connection()
            transaction.close()
        else:
            assert stage.start().created

    assert len(pauses) == 3000
    assert max(pauses) <= 0.001


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("missing/qwit.db", "its folder .*missing' does not exist. Create it"),
        ("folder", "it is a folder. Name a file"),
        ("text.db", "not an SQLite database"),
        ("text.db/qwit.db", "its folder .* does not exist"),
    ],
)
def test_a_place_where_no_store_can_be_is_explained_in_one_line(tmp_path: Path, place: str, message: str):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.db").write_text("not a database, but long enough to be read as a header" * 20)
    store = SqliteStore(sqlite_url(tmp_path, place))

    for use in (store.open, lambda: store.counts("contract")):
        with pytest.raises(StoreUnavailable, match=message) as caught:
            use()
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="everything is permitted to root")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path):
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o500)

    with pytest.raises(StoreUnavailable, match=r"may not write the file or its folder .*closed"):
        SqliteStore(sqlite_url(folder)).open()


def test_a_file_that_may_only_be_read_is_named(store: SqliteStore):
    error = sqlite3.OperationalError("attempt to write a readonly database")
    error.sqlite_errorname = "SQLITE_READONLY_DBMOVED"

    assert "may not write the file" in str(store._explain(error))


# -- what lies on the disk -------------------------------------------------------------------------------------


def test_each_commit_is_synced_and_readers_wait_for_nobody(tmp_path: Path):
    store = SqliteStore(sqlite_url(tmp_path))

    with opened(store), store._writing() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


class Secret:
    """A codec that hides what it seals."""

    def seal(self, data: bytes) -> bytes:
        return bytes(byte ^ 0x55 for byte in data)

    open = seal


def test_with_a_payload_codec_no_payload_lies_open(tmp_path: Path, clock: ManualClock):
    from qwit_durable.core import AttemptFailed, SignalReceived
    from qwit_durable.errors import Failure
    from qwit_durable.stores.rows import TaskSpec
    from qwit_durable.stores.writes import NewTask

    leaked = Failure(type="Boom", message="hush-message", traceback="hush-traceback")
    with opened(UnsyncedStore(sqlite_url(tmp_path), clock=clock, payload_codec=Secret())) as store:
        stage = Stage(store, clock)
        hold = stage.hold(stage.start(row=stage.row(args=b'"hush-args"')).run.id)
        spec = TaskSpec(kind=resolved("0").kind, name="pack", args=b'"hush-spec"')
        hold.committed(
            resolved("0", args=b'"hush-step"'),
            AttemptFailed(position="1", name="pack", attempt=1, failure=leaked),
            tasks=(NewTask(position="2", queue="packing", spec=spec),),
        )
        stage.tell(hold.id, SignalReceived(name="go", value=b'"hush-signal"'))
        hold.head = None
        other = stage.begin()
        other.end(value=b'"hush-value"', failure=leaked)

        assert stage.events(hold.id)[0] == resolved("0", args=b'"hush-step"')
        assert stage.outcome(other.id).value == b'"hush-value"'
        assert stage.tasks(hold.id)["2"].spec == spec
        data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"packing" in data
    assert b"hush" not in data


def test_a_store_can_be_closed_and_used_again(stage: Stage, store: SqliteStore):
    stage.start("order-1")
    store.close()
    store.close()

    assert store.find("contract", "order-1") is not None


def test_a_schema_that_vanishes_is_not_made_anew_under_a_running_store(stage: Stage, store: SqliteStore):
    with sqlite3.connect(store._path) as connection:
        connection.execute("DROP TABLE live")
    connection.close()

    with pytest.raises((StoreError, SchemaMismatch)):
        stage.start()
