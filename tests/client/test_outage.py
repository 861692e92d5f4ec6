"""A store that is out of reach for a while does not end a wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from qwit_durable.client import patience
from qwit_durable.client.handle import Handle
from qwit_durable.errors import StoreUnavailable
from qwit_durable.language import Workflow, now, wait_signal, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.testing.environment import Environment


class ShakyStore(MemoryStore):
    """Is out of reach for so many looks at a run, or for good."""

    looks = 0
    for_good = False

    def view(self, run_id: Any) -> Any:
        if self.for_good or self.looks:
            self.looks -= 1
            message = "connection refused"
            raise StoreUnavailable(message)
        return super().view(run_id)


@workflow
def quick() -> Workflow[str]:
    yield from now()
    return "done"


@workflow
def waiting() -> Workflow[None]:
    yield from wait_signal("never")


@pytest.fixture
def environment() -> Environment:
    return Environment(ShakyStore())


def started(environment: Environment, body: Any = quick) -> tuple[Handle[Any], Any]:
    handle = environment.start(body.options(id="r"))
    environment.settle(until=environment.clock.now())
    return handle, environment.store


@pytest.fixture
def minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute passes whenever the time is asked for."""
    ticks: Iterator[int] = iter(range(0, 10_000, 60))
    monkeypatch.setattr(patience, "monotonic", lambda: next(ticks))


@pytest.mark.parametrize("timeout", [None, 30])
def test_a_result_is_waited_for_through_an_outage(environment: Environment, timeout: float | None) -> None:
    handle, store = started(environment)
    store.looks = 3

    assert handle.result(timeout) == "done"


def test_it_is_awaited_through_an_outage(environment: Environment) -> None:
    handle, store = started(environment)
    store.looks = 3

    async def wait() -> str:
        return await handle

    assert asyncio.run(wait()) == "done"


def test_an_outage_is_told_once(environment: Environment, caplog: pytest.LogCaptureFixture) -> None:
    handle, store = started(environment)
    store.looks = 3

    with caplog.at_level(logging.WARNING, "qwit_durable.client"):
        handle.result()

    (record,) = caplog.records
    assert "run r is waited for on" in record.getMessage()
    assert "connection refused" in record.getMessage()


def test_a_timeout_in_an_outage_says_that_the_store_is_out_of_reach(environment: Environment) -> None:
    handle, store = started(environment)
    store.for_good = True

    with pytest.raises(StoreUnavailable, match=r"run r .* out of reach .*: connection refused") as caught:
        handle.result(timedelta(milliseconds=20))

    assert isinstance(caught.value.__cause__, StoreUnavailable)
    assert "the run is safe in it" in str(caught.value)


def test_a_timeout_after_an_outage_is_a_timeout(environment: Environment) -> None:
    handle, store = started(environment, waiting)
    store.looks = 1

    with pytest.raises(TimeoutError, match="has not ended"):
        handle.result(0.05)


@pytest.mark.usefixtures("minutes")
def test_without_a_timeout_patience_ends_after_some_minutes(environment: Environment) -> None:
    handle, store = started(environment)
    store.for_good = True

    with pytest.raises(StoreUnavailable, match="out of reach for"):
        handle.result()


@pytest.mark.usefixtures("minutes")
def test_an_outage_that_ended_does_not_count_for_the_next_one(environment: Environment) -> None:
    handle, store = started(environment)
    found = patience.Patience("r", patience.PATIENCE)
    store.looks = 1
    first = found.ask(handle.status)

    answer = found.ask(handle.status)

    assert (first, answer, found.since) == (None, handle.status(), None)
