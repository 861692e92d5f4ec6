"""Kill the process before and after its n-th write, for every n: the outcome is the same.

The saga has everything in it that can be interrupted: an `attempted` undo owed by the first command, retries, a gather,
a compensation, a signal, a timer, a sub-workflow, and an end that succeeds or rewinds it all.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import Resolved, Status
from qwit_durable.errors import AttemptLost, WorkflowFailed
from qwit_durable.stores import open_store
from qwit_durable.stores.protocol import Store
from qwit_durable.testing.environment import Environment
from tests.engine import saga
from tests.engine.mortal import LossyBells, MortalStore, ProcessDied
from tests.engine.world import World

_SUCCESS = ["book A", "charge A", "hold A", "notify A", "pack A 1", "pack A 2"]
_WRITES = 75


@pytest.fixture(autouse=True)
def world() -> World:
    """A fresh outside world."""
    saga.world = World()
    return saga.world


def play(
    *, fails: bool, dies_at: int | None = None, after: bool = False, url: str = "memory://"
) -> tuple[Store, Environment, int]:
    """Play the saga in one process, and once it has died, in a second one over the same store."""
    clock = ManualClock()
    truth = open_store(url, clock=clock)
    truth.open()
    mortal = MortalStore(truth, dies_at=dies_at, after=after)
    first = Environment(mortal, clock=clock)
    try:
        handle = first.start(saga.checkout.options(id="A"), "A", fails=fails)
        handle.signal("approved", "yes", dedupe_id="once")
        first.settle()
    except ProcessDied:
        pass
    second = Environment(truth, clock=clock)
    handle = second.start(saga.checkout.options(id="A"), "A", fails=fails)
    if handle.status() not in {Status.COMPLETED, Status.COMPENSATED}:
        handle.signal("approved", "yes", dedupe_id="once")
    second.settle()
    return truth, second, mortal.calls


def check(truth: Store, environment: Environment, world: World, *, fails: bool) -> None:
    """The outcome is that of an undisturbed run, each checkpoint is recorded once, nothing owed is forgotten."""
    handle = environment.get("A")
    if fails:
        with pytest.raises(WorkflowFailed) as caught:
            handle.result(0)
        assert caught.value.cause is not None
        # A death in the last attempt is that attempt's outcome.
        assert caught.value.cause.is_a(RuntimeError) or caught.value.cause.is_a(AttemptLost)
        assert handle.status() is Status.COMPENSATED
        assert world.standing == []
    else:
        assert handle.result(0) == "A yes courier"
        assert world.standing == _SUCCESS
    run = truth.find("default", "A")
    assert run is not None
    for view in (run, *truth.children(run.run.id)):
        recorded = Counter(
            entry.event.position for entry in truth.history(view.run.id) if isinstance(entry.event, Resolved)
        )
        assert set(recorded.values()) <= {1}, recorded
        assert not truth.tasks(view.run.id)
        assert not truth.timers(view.run.id)


@pytest.mark.parametrize("fails", [False, True])
def test_undisturbed_run_ends_as_expected(fails: bool, world: World) -> None:
    """The yardstick: without a crash every effect happens exactly once."""
    truth, environment, calls = play(fails=fails)

    check(truth, environment, world, fails=fails)

    assert calls < _WRITES, "raise _WRITES: some crash points are not tried"
    assert max(Counter(world.attempts).values()) == 1


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", range(1, _WRITES))
def test_death_around_any_write_changes_no_outcome(
    dies_at: int, after: bool, fails: bool, world: World
) -> None:
    """Whichever write the process dies before or after, the next one brings the run to the same end."""
    truth, environment, _ = play(fails=fails, dies_at=dies_at, after=after)

    check(truth, environment, world, fails=fails)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", range(1, _WRITES, 5))
def test_death_around_writes_to_sqlite_changes_no_outcome(
    dies_at: int, after: bool, world: World, tmp_path: Path
) -> None:
    """The same on a file: every fifth crash point of the saga that is rewound."""
    truth, environment, _ = play(
        fails=True, dies_at=dies_at, after=after, url=f"sqlite:///{tmp_path}/crash.db"
    )

    check(truth, environment, world, fails=True)
    truth.close()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", range(2, _WRITES, 12))
def test_death_around_writes_to_postgres_changes_no_outcome(
    dies_at: int, after: bool, world: World, postgres_url: str
) -> None:
    """The same on a server: every twelfth crash point of the saga that is rewound."""
    open_store(postgres_url).migrate()
    truth, environment, _ = play(fails=True, dies_at=dies_at, after=after, url=postgres_url)

    check(truth, environment, world, fails=True)
    truth.close()


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("number", range(1, 30))
@pytest.mark.parametrize("what", ["loses", "doubles"])
def test_lost_and_repeated_bells_change_no_outcome(what: str, number: int, fails: bool, world: World) -> None:
    """Whichever bell is lost or rung twice, the run comes to the same end and nothing is done twice."""
    environment = Environment()
    bells = LossyBells(**{what: number})
    environment.bells = environment.engine.services.bells = bells
    handle = environment.start(saga.checkout.options(id="A"), "A", fails=fails)
    handle.signal("approved", "yes")

    environment.settle()

    check(environment.store, environment, world, fails=fails)
    assert max(Counter(world.attempts).values()) == 1
