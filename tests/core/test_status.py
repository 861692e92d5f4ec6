"""The life of a run as one table: that it is complete, and that the engine keeps to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from qwit_durable.client.handle import Handle
from qwit_durable.clock import ManualClock
from qwit_durable.core import ENDED, OPEN, TRANSITIONS, VERBS, Retry, Status, Verb
from qwit_durable.errors import OperationRefused
from qwit_durable.language.step import step
from qwit_durable.language.verbs import sleep, wait_signal
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.answers import Answer
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.protocol import RunQuery
from qwit_durable.stores.writes import Write
from qwit_durable.testing.environment import Environment
from tests.core.deploys import Cluster, deploy

S = Status
ALL = frozenset(Status)

# -- the table -----------------------------------------------------------------------------------------------------


def test_every_status_is_in_the_table():
    """Each status says what may follow it."""
    assert frozenset(TRANSITIONS) == ALL


def test_every_verb_is_in_the_table():
    """Each verb says in which statuses it is accepted."""
    assert frozenset(VERBS) == frozenset(Verb)


def test_a_run_is_open_or_ended():
    """The statuses fall into two halves, and `is_ended` tells which one."""
    assert OPEN | ENDED == ALL
    assert not OPEN & ENDED
    assert {status for status in Status if status.is_ended} == ENDED


def test_nothing_follows_itself():
    """A transition is a change."""
    assert not [status for status, after in TRANSITIONS.items() if status in after]


def test_every_status_can_be_reached():
    """From `scheduled`, in which or past which every run begins, each other status can be reached."""
    reached, fresh = {S.SCHEDULED}, [S.SCHEDULED]
    while fresh:
        for status in TRANSITIONS[fresh.pop()] - reached:
            reached.add(status)
            fresh.append(status)

    assert reached == ALL


def test_every_open_run_can_be_brought_to_an_end():
    """No open status is a dead end: `terminate` is accepted in each, and leads to `terminated`."""
    assert VERBS[Verb.TERMINATE] == OPEN
    assert all(S.TERMINATED in TRANSITIONS[status] for status in OPEN)


def test_ended_runs_stay_ended():
    """Only a sub-workflow that completed, or was terminated while it undid what it did, is ever reopened."""
    assert {status for status in ENDED if TRANSITIONS[status]} == {S.COMPLETED, S.TERMINATED}
    assert TRANSITIONS[S.COMPLETED] == TRANSITIONS[S.TERMINATED] == {S.COMPENSATING}


def test_verbs_are_for_open_runs():
    """No verb is accepted where nothing can be done any more."""
    assert all(statuses <= OPEN for statuses in VERBS.values())


# -- what the engine does ------------------------------------------------------------------------------------------


class WatchedStore:
    """Passes everything on, and writes down each change of a run's status."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._statuses: dict[Any, Status] = {}
        self.seen: set[tuple[Status, Status]] = set()

    def apply(self, writes: Sequence[Write]) -> Sequence[Answer]:
        answers = self._store.apply(writes)
        for view in self._store.runs(RunQuery(namespace="default", limit=1_000)):
            before = self._statuses.get(view.run.id, view.status)
            if before is not view.status:
                self.seen.add((before, view.status))
            self._statuses[view.run.id] = view.status
        return answers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class World:
    """The process that a test plays, over a watched store."""

    store: WatchedStore
    environment: Environment
    broken_undo: bool


world = World()


@pytest.fixture(autouse=True)
def fresh_world() -> None:
    """One process over one watched store."""
    clock = ManualClock()
    world.store = WatchedStore(MemoryStore(clock))
    world.environment = Environment(world.store, clock=clock)  # type: ignore[arg-type]
    world.broken_undo = False


@step
def hold() -> str:
    return "held"


@hold.undo(retry=Retry(max_attempts=2, first=timedelta(hours=1)))
def free() -> None:
    if world.broken_undo:
        raise OSError("locked")


@step(retry=Retry(max_attempts=1))
def fail() -> None:
    raise ValueError("no")


@workflow
def working() -> Workflow[None]:
    yield from hold()
    yield from sleep(timedelta(days=1))


@workflow
def failing() -> Workflow[None]:
    yield from fail()


@workflow
def unwinding() -> Workflow[None]:
    yield from hold()
    yield from fail()


@workflow
def misusing() -> Workflow[None]:
    yield 7


@workflow
def holding() -> Workflow[None]:
    yield from hold()


@workflow
def parent() -> Workflow[None]:
    yield from holding()
    yield from fail()


def run(definition, **options) -> Handle[Any]:
    """Start a run and let everything happen that is due now."""
    handle = world.environment.start(definition.options(**options) if options else definition)
    settle()
    return handle


def settle(**later) -> None:
    """Let everything happen that is due by now, or by a while later."""
    now = world.environment.clock.now()
    world.environment.settle(until=now + timedelta(**later) if later else now)


def completes():
    run(working)
    settle(days=2)


def waits_for_its_time():
    run(working, delay=timedelta(hours=1))
    settle(hours=2)


def fails():
    run(failing)


def is_unwound():
    run(unwinding)
    settle()


def is_cancelled():
    run(workflow(name="idle")(lambda: (yield from sleep(timedelta(days=1))))).cancel()
    settle()


def is_cancelled_and_unwound():
    run(working).cancel()
    settle()


def is_cancelled_before_its_time():
    run(working, delay=timedelta(hours=1)).cancel()
    settle()


def is_terminated_anywhere():
    run(working, delay=timedelta(hours=1)).terminate()
    run(working).terminate()
    paused = run(working)
    paused.pause()
    paused.terminate()
    run(misusing).terminate()
    world.broken_undo = True
    run(unwinding).terminate()


def is_paused_and_resumed_anywhere():
    world.broken_undo = True
    handles = [run(working, delay=timedelta(hours=1)), run(working), run(unwinding)]
    for handle in handles:
        handle.pause()
    settle(minutes=1)
    for handle in handles:
        handle.resume()
    settle(minutes=1)


def is_stuck_over_its_code():
    run(misusing).retry()
    settle()


def is_stuck_over_an_undo():
    world.broken_undo = True
    handle = run(unwinding)
    settle(hours=2)
    world.broken_undo = False
    handle.retry()
    settle()


def misses_its_deadline():
    run(working, deadline=timedelta(hours=1))
    run(working, deadline=timedelta(hours=1), delay=timedelta(hours=2))
    settle(hours=3)


def is_reopened_by_its_parent():
    run(parent)


def is_terminated_while_it_is_reopened():
    world.broken_undo = True
    handle = run(parent)
    (child,) = world.store.children(handle.run().run_id)
    world.environment.get(child.run.key).terminate()
    settle()
    assert handle.status() is Status.STUCK
    world.broken_undo = False
    handle.retry()
    settle()
    assert handle.status() is Status.COMPENSATED


LIVES: dict[Callable[[], None], set[tuple[Status, Status]]] = {
    completes: {(S.RUNNING, S.COMPLETED)},
    waits_for_its_time: {(S.SCHEDULED, S.RUNNING)},
    fails: {(S.RUNNING, S.FAILED)},
    is_unwound: {(S.RUNNING, S.COMPENSATING), (S.COMPENSATING, S.COMPENSATED)},
    is_cancelled: {(S.RUNNING, S.CANCELLED)},
    is_cancelled_and_unwound: {(S.RUNNING, S.COMPENSATING), (S.COMPENSATING, S.CANCELLED)},
    is_cancelled_before_its_time: {(S.SCHEDULED, S.RUNNING), (S.RUNNING, S.CANCELLED)},
    is_terminated_anywhere: {(status, S.TERMINATED) for status in OPEN}
    | {
        (S.RUNNING, S.PAUSED),
        (S.RUNNING, S.STUCK),
        (S.RUNNING, S.COMPENSATING),
    },
    is_paused_and_resumed_anywhere: {
        (status, S.PAUSED) for status in (S.SCHEDULED, S.RUNNING, S.COMPENSATING)
    }
    | {(S.PAUSED, status) for status in (S.SCHEDULED, S.RUNNING, S.COMPENSATING)}
    | {(S.RUNNING, S.COMPENSATING)},
    is_stuck_over_its_code: {(S.RUNNING, S.STUCK), (S.STUCK, S.RUNNING)},
    is_stuck_over_an_undo: {
        (S.RUNNING, S.COMPENSATING),
        (S.COMPENSATING, S.STUCK),
        (S.STUCK, S.COMPENSATING),
        (S.COMPENSATING, S.COMPENSATED),
    },
    misses_its_deadline: {
        (S.RUNNING, S.COMPENSATING),
        (S.COMPENSATING, S.COMPENSATED),
        (S.SCHEDULED, S.RUNNING),
        (S.RUNNING, S.FAILED),
    },
    is_reopened_by_its_parent: {
        (S.RUNNING, S.COMPLETED),
        (S.RUNNING, S.COMPENSATING),
        (S.COMPLETED, S.COMPENSATING),
        (S.COMPENSATING, S.COMPENSATED),
    },
    is_terminated_while_it_is_reopened: {
        (S.RUNNING, S.COMPLETED),
        (S.RUNNING, S.COMPENSATING),
        (S.COMPLETED, S.COMPENSATING),
        (S.COMPENSATING, S.TERMINATED),
        (S.COMPENSATING, S.STUCK),
        (S.STUCK, S.COMPENSATING),
        (S.TERMINATED, S.COMPENSATING),
        (S.COMPENSATING, S.COMPENSATED),
    },
}


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
def test_engine_makes_the_transitions_of_the_table(life):
    """Played on the whole engine, a life of a run is exactly these changes of its status."""
    life()

    seen = world.store.seen

    assert seen == LIVES[life]
    assert all(after in TRANSITIONS[before] for before, after in seen)


def test_table_has_no_transition_that_nobody_makes():
    """Each entry of the table is made by one of the lives above: the table is the engine, not a wish."""
    made = set().union(*LIVES.values())

    unmade = {(before, after) for before, afters in TRANSITIONS.items() for after in afters} - made

    assert unmade == set()


IN_STATUS = {
    S.SCHEDULED: lambda: run(working, delay=timedelta(hours=1)),
    S.RUNNING: lambda: run(working),
    S.COMPENSATING: lambda: _broken(unwinding),
    S.PAUSED: lambda: _paused(run(working)),
    S.STUCK: lambda: _stuck(),  # noqa: PLW0108 - it is defined below
    S.COMPLETED: lambda: run(holding),
    S.COMPENSATED: lambda: run(unwinding),
    S.FAILED: lambda: run(failing),
    S.CANCELLED: lambda: _cancelled(run(working)),
    S.TERMINATED: lambda: _terminated(run(working)),
}


def _broken(definition):
    world.broken_undo = True
    return run(definition)


def _stuck():
    handle = _broken(unwinding)
    settle(hours=2)
    return handle


def _paused(handle):
    handle.pause()
    return handle


def _cancelled(handle):
    handle.cancel()
    settle()
    return handle


def _terminated(handle):
    handle.terminate()
    return handle


ASKING = {
    Verb.SIGNAL: lambda handle: handle.signal("go"),
    Verb.CANCEL: lambda handle: handle.cancel(),
    Verb.TERMINATE: lambda handle: handle.terminate(),
    Verb.PAUSE: lambda handle: handle.pause(),
    Verb.RESUME: lambda handle: handle.resume(),
    Verb.RETRY: lambda handle: handle.retry(),
    Verb.SKIP: lambda handle: handle.skip(),
}
#: A verb that has had its effect may be repeated.
REPEATED = {(Verb.CANCEL, S.CANCELLED), (Verb.TERMINATE, S.TERMINATED)}


@pytest.mark.parametrize("status", IN_STATUS, ids=str)
@pytest.mark.parametrize("verb", ASKING, ids=str)
def test_verbs_are_accepted_as_the_table_says(verb, status):
    """In each status each verb is accepted or refused by the table; a refusal names the status and what is possible."""
    handle = IN_STATUS[status]()
    assert handle.status() is status

    refusal = None
    try:
        ASKING[verb](handle)
    except OperationRefused as error:
        refusal = str(error)

    if status in VERBS[verb] or (verb, status) in REPEATED:
        assert refusal is None
    else:
        possible = ", ".join(v.value for v, statuses in VERBS.items() if status in statuses)
        asked = "takes no signals" if verb is Verb.SIGNAL else f"can't be asked to {verb}"
        assert refusal == (
            f"run {handle.id} is {status}: it {asked}\n  possible now: {possible or 'nothing, it has ended'}"
        )


def test_stuck_run_goes_on_where_it_was():
    """A run that was stuck over its code goes back to the status in which it was, under a deploy that is fixed."""

    def code(*, fixed):
        with deploy() as code:

            @workflow
            def waiting() -> Workflow[str]:
                if not fixed:
                    yield 7
                return (yield from wait_signal("go", str))

        return code

    cluster = Cluster()
    first = cluster.boot(code(fixed=False))
    handle = first.start(first.registry.workflow("waiting"))
    first.settle()
    assert handle.status() is Status.STUCK

    second = cluster.boot(code(fixed=True))

    assert second.get(handle.id).status() is Status.RUNNING
