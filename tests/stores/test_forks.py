"""Stores in a process that forks: both sides go on, and neither takes what is the other's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.stores.places import migrate, sqlite_url

FORKING = """
import os, sys
from qwit_durable.clock import ManualClock
from qwit_durable.stores import open_store
from qwit_durable.testing.contract.stage import Stage

stage = Stage(open_store(sys.argv[1]), ManualClock())
stage.store.open()
stage.start("before")
stage.store.counts("contract")
child = os.fork()
if child == 0:
    try:
        stage.start("child")
        assert stage.store.find("contract", "before") is not None
        stage.store.close()
    finally:
        os._exit(0 if stage.store.find("contract", "child") else 1)
_, status = os.waitpid(child, 0)
assert status == 0
stage.start("parent")
assert sum(stage.store.counts("contract").values()) == 3
stage.store.close()
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    return str(request.getfixturevalue("postgres_template")("migrated", migrate))


def test_a_store_goes_on_on_both_sides_of_a_fork(url: str):
    subprocess.run([sys.executable, "-c", FORKING, url], check=True, timeout=60)


FORKED_FROM = """
import os, sys, threading
from qwit_durable.clock import ManualClock
from qwit_durable.errors import StoreUnavailable
from qwit_durable.stores.sqlite import SqliteStore
from qwit_durable.testing.contract.stage import Stage

stage = Stage(SqliteStore(sys.argv[2]), ManualClock())
stage.start("before")
may_go_on, go_on = os.pipe()

def fork(work):
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return child

def ended(*children):
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)

def a_closed_file():
    def work():
        stage.start("child")
        os.read(may_go_on, 1)
        stage.start("late")
    child = fork(work)
    while stage.store.find("contract", "child") is None:
        pass
    stage.store.close()
    os.write(go_on, b"x")
    ended(child)
    assert sum(stage.store.counts("contract").values()) == 3

def the_midst_of_writes():
    is_over = threading.Event()
    def write():
        while not is_over.is_set():
            stage.start()
            stage.store.counts("contract")
    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    ended(*(fork(lambda number=number: stage.start(f"child-{number}")) for number in range(20)))
    is_over.set()
    for thread in threads:
        thread.join()
    assert all(stage.store.find("contract", f"child-{number}") for number in range(20))

def a_transactional_step():
    def work():
        try:
            stage.start("child")
        except StoreUnavailable as error:
            assert "start the process by spawn" in str(error)
        else:
            raise AssertionError
    transaction = stage.store.transaction()
    transaction.connection().execute("CREATE TABLE theirs (x)")
    ended(fork(work))
    transaction.close()
    stage.start("after")

globals()[sys.argv[1]]()
stage.store.close()
"""


@pytest.mark.parametrize("moment", ["a_closed_file", "the_midst_of_writes", "a_transactional_step"])
def test_a_child_has_locks_of_its_own_or_is_refused(tmp_path: Path, moment: str):
    program = [sys.executable, "-c", FORKED_FROM, moment, sqlite_url(tmp_path)]
    subprocess.run(program, check=True, timeout=60)
