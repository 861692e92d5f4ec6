"""What an embedded worker leaves behind when its block ends: bells in memory end with it, the work does not."""

from __future__ import annotations

import threading

import pytest

from qwit_durable import Durable, Workflow, gather, step, workflow
from qwit_durable.clock import ManualClock
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.postgres import PostgresStore
from qwit_durable.stores.sqlite import SqliteStore

#: Long enough for a machine that is very busy, or stands still for a while; nothing is expected to take so long.
_PATIENCE_SECONDS = 60.0
_RUNS = 12
begun = threading.Event()
may_end = threading.Event()


@step
def touch(number: int) -> int:
    begun.set()
    assert may_end.wait(_PATIENCE_SECONDS)
    return number


@step(dispatch="queue")
def touch_by_bell(number: int) -> int:
    return touch.fn(number)


@workflow
def inline(number: int) -> Workflow[int]:
    yield from touch(number)
    return (yield from touch(number))


@workflow
def queued(number: int) -> Workflow[int]:
    yield from gather(*(touch_by_bell(number) for _ in range(3)))
    return number


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request, tmp_path):
    clock = ManualClock()
    match request.param:
        case "memory":
            yield MemoryStore(clock=clock), clock
        case "sqlite":
            yield SqliteStore(f"sqlite:///{tmp_path}/leaving.db", clock=clock), clock
        case _:
            found = PostgresStore(request.getfixturevalue("postgres_url"), clock=clock)
            found.migrate()
            yield found, clock


@pytest.mark.parametrize("flow", [inline, queued])
def test_what_a_block_leaves_is_taken_up_at_once_by_the_next(store, flow):
    truth, clock = store
    begun.clear()
    may_end.clear()
    with Durable(truth, clock=clock).embedded(threads=2) as first:
        ids = [first.start(flow, number).id for number in range(_RUNS)]
        assert begun.wait(_PATIENCE_SECONDS)
        draining = first.runtime.engine.services.draining
        ender = threading.Thread(target=lambda: draining.wait(_PATIENCE_SECONDS) and may_end.set())
        ender.start()
    ender.join()

    with Durable(truth, clock=clock).embedded(threads=2) as second:
        results = [second.get(run_id).result(timeout=_PATIENCE_SECONDS) for run_id in ids]

    assert results == list(range(_RUNS))
