"""Kill the process before and after its n-th write, for every n, of a run that is completed from outside."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import Resolved, Retry, Status
from qwit_durable.errors import GiveUp
from qwit_durable.language.context import current
from qwit_durable.language.groups import gather
from qwit_durable.language.pending import pending
from qwit_durable.language.step import step
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores import open_store
from qwit_durable.stores.protocol import Store
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import LossyBells, MortalStore, ProcessDied

SECOND = timedelta(seconds=1)
_WRITES = 80
tokens: dict[str, str] = {}
undone: set[str] = set()
pages: list[int] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    tokens.clear()
    undone.clear()
    pages.clear()


@step(retry=Retry(max_attempts=9, first=SECOND), deadline=timedelta(days=30))
def sign(who: str) -> str:
    p = pending()
    tokens[who] = p.token
    return p


@sign.undo(retry=Retry(max_attempts=9, first=SECOND))
def unsign(who: str, result: str) -> None:
    p = pending()
    tokens[f"undo {who}"] = p.token
    undone.add(result)
    return p


@step(retry=Retry(max_attempts=9, first=SECOND))
def export(count: int) -> int:
    begin = current().last_heartbeat or 0
    for page in range(begin, count):
        pages.append(page)
        current().heartbeat(page + 1)
    return count


@step
def refuse() -> None:
    message = "no"
    raise GiveUp(message)


@workflow
def contract(*, fails: bool) -> Workflow[list[str]]:
    first = yield from sign("Ann")
    yield from export(3)
    rest = yield from gather(sign("Bob"), sign("Cid"))
    if fails:
        yield from refuse()
    return [first, *rest]


def drive(environment: Environment) -> None:
    """Everything that is due, and whoever is asked signs: again, if the process that was told has died."""
    for _ in range(12):
        environment.settle(until=environment.clock.now() + timedelta(minutes=2))
        if not tokens:
            return
        for who, token in list(tokens.items()):
            environment.complete(token, f"{who}!")
            if tokens[who] == token:
                del tokens[who]


def play(
    *, fails: bool, dies_at: int | None = None, after: bool = False, url: str = "memory://"
) -> tuple[Store, Environment, int]:
    """Play it in one process, and once it has died, in a second one over the same store."""
    clock = ManualClock()
    truth = open_store(url, clock=clock)
    truth.open()
    mortal = MortalStore(truth, dies_at=dies_at, after=after)
    first = Environment(mortal, clock=clock)
    try:
        first.start(contract.options(id="C"), fails=fails)
        drive(first)
    except ProcessDied:
        pass
    second = Environment(truth, clock=clock)
    second.start(contract.options(id="C"), fails=fails)
    drive(second)
    return truth, second, mortal.calls


def check(truth: Store, environment: Environment, *, fails: bool) -> None:
    handle = environment.get("C")
    if fails:
        assert handle.status() is Status.COMPENSATED, str(handle.explain())
        assert undone == {"Ann!", "Bob!", "Cid!"}
    else:
        assert handle.result(0) == ["Ann!", "Bob!", "Cid!"]
    found = truth.find("default", "C")
    assert found is not None
    recorded = Counter(
        entry.event.position for entry in truth.history(found.run.id) if isinstance(entry.event, Resolved)
    )
    assert set(recorded.values()) <= {1}, recorded
    assert set(pages) == {0, 1, 2}
    assert not truth.tasks(found.run.id)
    assert not truth.timers(found.run.id)


@pytest.mark.parametrize("fails", [False, True])
def test_an_undisturbed_run_ends_as_expected(fails: bool) -> None:
    truth, environment, calls = play(fails=fails)

    check(truth, environment, fails=fails)

    assert calls < _WRITES, "raise _WRITES: some crash points are not tried"
    assert pages == [0, 1, 2]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", range(1, _WRITES))
def test_death_around_any_write_changes_no_outcome(dies_at: int, after: bool, fails: bool) -> None:
    """A token that was handed over before the death still counts, and one whose hand-over was lost is made anew."""
    truth, environment, _ = play(fails=fails, dies_at=dies_at, after=after)

    check(truth, environment, fails=fails)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", range(1, _WRITES, 6))
def test_death_around_writes_to_sqlite_changes_no_outcome(dies_at: int, after: bool, tmp_path: Path) -> None:
    truth, environment, _ = play(
        fails=True, dies_at=dies_at, after=after, url=f"sqlite:///{tmp_path}/crash.db"
    )

    check(truth, environment, fails=True)
    truth.close()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", range(2, _WRITES, 14))
def test_death_around_writes_to_postgres_changes_no_outcome(
    dies_at: int, after: bool, postgres_url: str
) -> None:
    open_store(postgres_url).migrate()
    truth, environment, _ = play(fails=True, dies_at=dies_at, after=after, url=postgres_url)

    check(truth, environment, fails=True)
    truth.close()


@pytest.mark.parametrize("number", range(1, 25))
@pytest.mark.parametrize("what", ["loses", "doubles"])
def test_lost_and_repeated_bells_change_no_outcome(what: str, number: int) -> None:
    environment = Environment()
    environment.bells = environment.engine.services.bells = LossyBells(**{what: number})
    environment.start(contract.options(id="C"), fails=True)

    drive(environment)

    check(environment.store, environment, fails=True)
