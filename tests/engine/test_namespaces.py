"""What happens in one namespace is not seen from another one of the same store, and changes nothing there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from qwit_durable import Workflow, step, wait_signal, workflow
from qwit_durable.clock import ManualClock
from qwit_durable.core import Status
from qwit_durable.errors import RunNotFound, ScheduleNotFound
from qwit_durable.stores import open_store
from qwit_durable.stores.protocol import Store
from qwit_durable.testing.environment import Environment

DAY = timedelta(days=1)


@step
def greet(name: str) -> str:
    return f"hello {name}"


@workflow
def greeting(name: str) -> Workflow[str]:
    return (yield from greet(name))


@workflow
def waiting() -> Workflow[str]:
    return (yield from wait_signal("go", str))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path) -> Iterator[Store]:
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/qwit.db"}
    url = urls.get(request.param) or request.getfixturevalue("postgres_url")
    found = open_store(url, clock=clock)
    found.migrate()
    found.open()
    yield found
    found.close()


@pytest.fixture
def here(store: Store, clock: ManualClock) -> Environment:
    return Environment(store, clock=clock, namespace="here")


@pytest.fixture
def there(store: Store, clock: ManualClock) -> Environment:
    return Environment(store, clock=clock, namespace="there")


def test_one_id_is_another_run_in_each(here: Environment, there: Environment) -> None:
    first = here.start(greeting.options(id="a"), "Ann")
    second = there.start(greeting.options(id="a"), "Bob")
    here.settle()
    there.settle()

    assert (first.result(0), second.result(0)) == ("hello Ann", "hello Bob")
    assert here.get("a").run().run_id != there.get("a").run().run_id


def test_a_run_is_not_found_from_another_one_not_even_by_its_uuid(
    here: Environment, there: Environment
) -> None:
    handle = here.start(greeting, "Ann")

    for key in (handle.id, str(handle.run().run_id)):
        with pytest.raises(RunNotFound, match="namespace 'there'"):
            there.get(key)


def test_lists_and_counts_hold_the_runs_of_one(here: Environment, there: Environment) -> None:
    for number in range(3):
        here.start(greeting.options(id=f"a {number}", attributes={"n": 1}), "Ann")
    there.start(greeting.options(id="b", attributes={"n": 1}), "Bob")

    assert sorted(run.id for run in here.runs(attributes={"n": 1})) == ["a 0", "a 1", "a 2"]
    assert [run.id for run in there.runs(status="running")] == ["b"]
    assert [environment.counts()[Status.RUNNING] for environment in (here, there)] == [3, 1]


def test_a_signal_goes_to_the_run_of_its_namespace(here: Environment, there: Environment) -> None:
    first, second = (one.start(waiting.options(id="a")) for one in (here, there))
    here.settle()

    there.get("a").signal("go", "there")
    there.settle()
    here.settle()

    assert (first.status(), second.result(0)) == (Status.RUNNING, "there")


def test_a_schedule_belongs_to_one(here: Environment, there: Environment) -> None:
    here.schedule("daily", greeting, "Ann", every=DAY)
    there.schedule("daily", greeting, "Bob", every=DAY, paused=True)
    there.schedule("other", greeting, "Bob", every=DAY * 365)

    here.settle(until=here.clock.now() + DAY * 2.5)
    here.get_schedule("daily").delete()

    assert [len(list(one.runs())) for one in (here, there)] == [2, 0]
    assert [schedule.id for schedule in there.schedules()] == ["daily", "other"]
    with pytest.raises(ScheduleNotFound):
        here.get_schedule("other")


def test_whoever_sweeps_fires_the_schedules_of_all(here: Environment, there: Environment) -> None:
    here.schedule("daily", greeting, "Ann", every=DAY)

    here.clock.advance(DAY)
    there.settle()

    (run,) = here.runs()
    assert (run.attributes["schedule"], run.status) == ("daily", Status.COMPLETED)


def test_pruning_removes_the_runs_of_one(here: Environment, there: Environment) -> None:
    for one in (here, there):
        one.start(greeting.options(id="a"), "Ann")
        one.settle()
    here.clock.advance(DAY * 2)

    pruned = here.prune(DAY)

    assert (pruned.roots, list(here.runs())) == (1, [])
    assert there.get("a").status() is Status.COMPLETED
