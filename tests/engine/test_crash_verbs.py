"""Kill the process before and after writes all along, for one small workflow of each verb: the end is the same.

The yardstick is the same workflow undisturbed: its status, its value, what it published, and what stands outside.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from threading import Thread
from typing import Any

import attrs
import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import Resolved, Retry, Status
from qwit_durable.engine.turning import handover
from qwit_durable.errors import DurableError, StepFailed
from qwit_durable.language.groups import gather, map_steps, race, saga
from qwit_durable.language.pending import pending
from qwit_durable.language.step import step
from qwit_durable.language.verbs import info, patched, publish, restart, sleep, wait_signal
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores import open_store
from qwit_durable.stores.protocol import Store
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import MortalStore, ProcessDied
from tests.engine.world import World
from tests.stores.places import migrate

_ONCE = Retry(max_attempts=1)
_PATIENT = Retry(max_attempts=3, first=timedelta(seconds=1))
_SOON = timedelta(seconds=1)

world = World()
broken: set[str] = set()
while_under_way: list[Callable[[], None]] = []


@step(retry=_PATIENT)
def do(what: str) -> str:
    world.do(what)
    return what


@do.undo(when="attempted", retry=_PATIENT)
def undo_do(what: str) -> None:
    world.undo(what)


@step(retry=_PATIENT)
def slow(what: str) -> str:
    """It loses its race while it is under way."""
    for call in while_under_way:
        call()
    world.do(what)
    return what


@slow.undo(when="attempted", retry=_PATIENT)
def undo_slow(what: str) -> None:
    world.undo(what)


@step(retry=_PATIENT)
def fail(what: str) -> None:
    raise ValueError(what)


@step(retry=_PATIENT)
def fragile(what: str) -> str:
    """It fails for as long as something is broken."""
    if "world" in broken:
        raise ValueError(what)
    return do.fn(what)


@step(retry=_PATIENT)
def hard(what: str) -> str:
    world.do(what)
    return what


@hard.undo(when="attempted", retry=_PATIENT)
def undo_hard(what: str) -> None:
    """It fails for as long as something is broken."""
    if "undo" in broken:
        raise ValueError(what)
    world.undo(what)


@step
def leave_open(what: str) -> str:
    world.do(what)
    return pending()


@leave_open.undo(when="attempted")
def undo_open(what: str) -> None:
    world.undo(what)


@step(retry=_PATIENT)
def each(item: int) -> int:
    if item < 0:
        raise ValueError(item)
    world.do(f"item {item}")
    return item * 10


@each.undo(when="attempted", retry=_PATIENT)
def undo_each(item: int) -> None:
    world.undo(f"item {item}")


def branch(*calls: Any) -> Any:
    for call in calls:
        yield from call


@workflow
def kid(name: str, seconds: int, *, fails: bool = False) -> Workflow[str]:
    yield from do(f"{name} a")
    yield from sleep(timedelta(seconds=seconds))
    yield from do(f"{name} b")
    if fails:
        raise ValueError(name)
    return name


@workflow
def kid_of_ages(name: str, left: int) -> Workflow[str]:
    yield from do(f"{name} {left}")
    if left:
        yield from restart(name, left - 1)
    return name


@workflow(park_on_failure=True)
def parked_kid(name: str) -> Workflow[str]:
    yield from do(f"{name} a")
    return (yield from fragile(f"{name} b"))


# -- one small workflow of each verb -------------------------------------------------------------------------------


@workflow
def late_loser() -> Workflow[int]:
    yield from do("first")
    index, _ = yield from race(slow("late"), wait_signal("go"))
    yield from do("after")
    return index


@workflow
def losing_branch() -> Workflow[int]:
    index, _ = yield from race(branch(do("a"), do("b"), wait_signal("never")), sleep(_SOON))
    yield from do("after")
    return index


@workflow
def losing_kid() -> Workflow[int]:
    index, _ = yield from race(kid("kid", 60), sleep(_SOON))
    yield from do("after")
    return index


@workflow
def pending_loser() -> Workflow[int]:
    index, _ = yield from race(leave_open("open"), sleep(_SOON))
    return index


@workflow
def failing_saga() -> Workflow[str]:
    yield from do("before")
    try:
        yield from saga(branch(do("a"), do("b"), fail("x")))
    except StepFailed:
        yield from do("otherwise")
    return "done"


def _inner() -> Any:
    yield from do("outer")
    try:
        yield from saga(branch(do("inner"), kid("kid", 1), fail("x")))
    except StepFailed:
        yield from do("between")
    yield from fail("y")


@workflow
def nested_sagas() -> Workflow[str]:
    yield from do("before")
    try:
        yield from gather(saga(_inner()), branch(do("beside"), sleep(_SOON)))
    except StepFailed:
        yield from do("otherwise")
    yield from fail("z")
    return "never"


@workflow
def stuck_saga() -> Workflow[str]:
    try:
        yield from saga(branch(do("a"), hard("b"), do("c"), fail("x")))
    except StepFailed:
        yield from do("otherwise")
    return "done"


@workflow(on_undo_failure="continue")
def stubborn_saga() -> Workflow[str]:
    try:
        yield from saga(branch(do("a"), hard("b"), do("c"), fail("x")))
    except StepFailed:
        yield from do("otherwise")
    return "done"


@workflow
def mapping() -> Workflow[int]:
    return sum((yield from map_steps(each, [1, 2, 3, 4, 5], limit=2)))


@workflow
def undone_map() -> Workflow[str]:
    yield from map_steps(each, [1, 2, 3, 4, 5])
    yield from fail("x")
    return "never"


@workflow
def failing_map() -> Workflow[str]:
    try:
        yield from saga(map_steps(each, [1, 2, -3, 4, 5], limit=2))
    except StepFailed:
        yield from do("otherwise")
    return "done"


@workflow
def ages(left: int = 4, heard: int = 0) -> Workflow[int]:
    yield from do(f"age {left}")
    if left % 2:
        heard += yield from wait_signal("count", int)
    yield from publish("left", left)
    if left:
        yield from restart(left - 1, heard)
    return heard


@workflow
def doomed_ages(left: int = 3) -> Workflow[int]:
    yield from do(f"age {left}")
    yield from race(branch(do(f"lost {left}"), wait_signal("never")), sleep(_SOON))
    if left:
        yield from restart(left - 1)
    yield from fail("x")
    return left


@workflow
def telling() -> Workflow[list[int]]:
    found = []
    for number in range(3):
        yield from publish("at", number)
        yield from do(f"step {number}")
        if (yield from patched("change")):
            found.append((yield from info()).attempt)
    yield from publish("at", 3)
    return found


@workflow(park_on_failure=True)
def parking() -> Workflow[str]:
    yield from do("a")
    yield from gather(do("b"), do("c"))
    value = yield from fragile("d")
    yield from do("e")
    return value


@workflow
def parent_of_parked() -> Workflow[str]:
    yield from do("before")
    return (yield from parked_kid("kid"))


@workflow
def reopening() -> Workflow[str]:
    yield from do("before")
    yield from kid_of_ages("kid", 2)
    yield from fail("x")
    return "never"


def _racing() -> Any:
    yield from race(gather(do("a"), slow("b"), sleep(timedelta(hours=1))), wait_signal("go"))
    yield from do("between")
    yield from sleep(timedelta(hours=1))


@workflow
def cancelled_in_the_middle() -> Workflow[str]:
    yield from do("before")
    yield from saga(_racing())
    return "never"


@attrs.frozen
class Case:
    """A workflow, and what is done about its run.

    Attributes:
        breaks: What is broken until a person mends it.
        acts: What a person does once the run rests, by its status; to a stuck sub-workflow, too.
    """

    workflow: Any
    breaks: str = ""
    acts: str = "retry"
    cancels: bool = False
    pauses: bool = False


CASES = {
    "late loser": Case(late_loser),
    "losing branch": Case(losing_branch),
    "losing sub-workflow": Case(losing_kid),
    "pending loser": Case(pending_loser),
    "failing saga": Case(failing_saga),
    "nested sagas": Case(nested_sagas),
    "stuck saga, retried": Case(stuck_saga, breaks="undo"),
    "stuck saga, skipped": Case(stuck_saga, breaks="undo", acts="skip"),
    "stuck saga, rolled back": Case(stuck_saga, breaks="undo", acts="rollback"),
    "saga that goes on": Case(stubborn_saga, breaks="undo"),
    "map": Case(mapping),
    "map, paused": Case(mapping, pauses=True),
    "undone map": Case(undone_map),
    "failing map": Case(failing_map),
    "restarts": Case(ages),
    "restarts, paused": Case(ages, pauses=True),
    "undone restarts": Case(doomed_ages),
    "published": Case(telling),
    "parked, retried": Case(parking, breaks="world"),
    "parked, skipped": Case(parking, breaks="world", acts="skip"),
    "parked, rolled back": Case(parking, breaks="world", acts="rollback"),
    "parked, cancelled": Case(parking, breaks="world", acts="cancel"),
    "parked sub-workflow": Case(parent_of_parked, breaks="world"),
    "parked sub-workflow, rolled back": Case(parent_of_parked, breaks="world", acts="rollback"),
    "reopened after restarts": Case(reopening),
    "cancelled in the middle": Case(cancelled_in_the_middle, cancels=True),
}


@attrs.frozen
class End:
    """How a run ended."""

    status: Status
    value: Any
    published: dict[str, Any]
    standing: list[str]


def standing() -> list[str]:
    """What was done and not undone; an attempt that died before its effect is undone all the same."""
    return sorted((Counter(world.done.values()) - Counter(world.undone.values())).elements())


def play(
    case: Case, truth: Store, clock: ManualClock, *, dies_at: int | None, after: bool
) -> tuple[End, int]:
    """Play a case in one process and, once that has died, in a second one."""
    world.__init__()  # type: ignore[misc]
    broken.clear()
    broken.update({case.breaks} if case.breaks else ())
    mortal = MortalStore(truth, dies_at=dies_at, after=after)
    first = Environment(mortal, clock=clock)  # type: ignore[arg-type]
    try:
        drive(case, first)
    except ProcessDied:
        pass
    last = Environment(truth, clock=clock)
    handle = drive(case, last)
    assert handle.status().is_ended, str(handle.explain())
    check(truth, handle)
    value = handle.result(0) if handle.status() is Status.COMPLETED else None
    return End(handle.status(), value, dict(handle.published()), standing()), mortal.calls


def drive(case: Case, environment: Environment) -> Any:
    """Start the run, or find it, and do what a person would until it ends."""
    handle = environment.start(case.workflow.options(id="it"))
    while_under_way.clear()

    def lose() -> None:
        """Another thread of the process takes the turn in which the race is decided."""
        died: list[ProcessDied] = []

        def take_turn() -> None:
            try:
                act(handle, lambda: handle.signal("go", dedupe_id="go"))
                environment.answer_bells()
            except ProcessDied as death:
                died.append(death)

        thread = Thread(target=take_turn)
        thread.start()
        thread.join()
        for death in died:
            raise death

    while_under_way.append(lose)
    act(handle, lambda: [handle.signal("count", 1, dedupe_id=f"count {n}") for n in range(3)])
    if case.pauses:
        environment.engine.heart.beat()
        environment.answer_bells(3)
        act(handle, handle.pause)
    for _ in range(10):
        environment.settle(until=environment.clock.now() + timedelta(minutes=2))
        if handle.status().is_ended:
            break
        broken.clear()
        help_on(case, environment, handle)
    return handle


def help_on(case: Case, environment: Environment, handle: Any) -> None:
    view = environment.store.find("default", "it")
    assert view is not None
    below = [environment.get(child.run.key) for child in environment.store.children(view.run.id)]
    for one in (*below, handle):
        if one.status() is Status.STUCK:
            act(one, partial(one.skip, "by hand") if case.acts == "skip" else getattr(one, case.acts))
        elif one.status() is Status.PAUSED:
            act(one, one.resume)
    if case.cancels:
        act(handle, handle.cancel)


def act(handle: Any, verb: Callable[[], Any]) -> None:
    if not handle.status().is_ended:
        try:
            verb()
        except DurableError as error:
            assert "status" in str(error) or handle.status(), error


def check(truth: Store, handle: Any) -> None:
    """Nothing is left to do, and no command has two outcomes unless a person wanted so."""
    run = truth.view(handle.run().run_id)
    assert run is not None
    for view in (run, *truth.children(run.run.id)):
        events = [entry.event for entry in truth.history(view.run.id)]
        acted = any(type(event).__name__ == "OperatorActed" for event in events)
        counted = Counter(event.position for event in events if isinstance(event, Resolved))
        assert acted or max(counted.values(), default=1) == 1
        assert not truth.tasks(view.run.id)
        assert not truth.timers(view.run.id)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of maps are handed over and rung for two at a time."""
    monkeypatch.setattr(handover, "CALLS_AT_ONCE", 2)
    monkeypatch.setattr(handover, "BELLS_AT_ONCE", 2)
    monkeypatch.setattr(handover, "BELLS_TOGETHER", 1)


def fresh(url: str = "memory://") -> tuple[Store, ManualClock]:
    clock = ManualClock()
    truth = open_store(url, clock=clock)
    truth.open()
    return truth, clock


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", CASES)
def test_death_around_any_write_changes_no_end(name: str, after: bool) -> None:
    """At every second or third write, the process dies: the run comes to the same, and the same stands outside."""
    expected, writes = play(CASES[name], *fresh(), dies_at=None, after=False)

    ends = {
        n: play(CASES[name], *fresh(), dies_at=n, after=after)[0] for n in range(1, writes + 1, 2 + after)
    }

    assert {n: end for n, end in ends.items() if end != expected} == {}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_death_around_a_write_to_a_database_changes_no_end(
    kind: str, name: str, request: Any, tmp_path: Any
) -> None:
    """The same at one write, another one each time."""
    expected, writes = play(CASES[name], *fresh(), dies_at=None, after=False)
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path}/crash.db"
    else:
        url = request.getfixturevalue("postgres_template")("migrated", migrate)
    dies_at, after = random.randint(1, writes), random.random() < 0.5
    truth, clock = fresh(url)

    end, _ = play(CASES[name], truth, clock, dies_at=dies_at, after=after)

    assert end == expected, f"died {'after' if after else 'before'} write {dies_at}"
    truth.close()


@pytest.mark.parametrize(
    ("name", "standing"),
    [
        ("late loser", ["after", "first"]),
        ("losing branch", ["after"]),
        ("losing sub-workflow", ["after"]),
        ("pending loser", []),
        ("failing saga", ["before", "otherwise"]),
        ("nested sagas", []),
        ("stuck saga, retried", ["otherwise"]),
        ("stuck saga, skipped", ["b", "otherwise"]),
        ("stuck saga, rolled back", []),
        ("saga that goes on", ["otherwise"]),
        ("undone map", []),
        ("failing map", ["otherwise"]),
        ("undone restarts", []),
        ("parked, retried", ["a", "b", "c", "d", "e"]),
        ("parked, skipped", ["a", "b", "c", "e"]),
        ("parked, rolled back", []),
        ("parked, cancelled", []),
        ("parked sub-workflow", ["before", "kid a", "kid b"]),
        ("parked sub-workflow, rolled back", []),
        ("reopened after restarts", []),
        ("cancelled in the middle", []),
    ],
)
def test_undisturbed_run_leaves_what_its_body_says(name: str, standing: list[str]) -> None:
    """The yardstick itself: what stands outside at the end, and nothing attempted twice."""
    end, _ = play(CASES[name], *fresh(), dies_at=None, after=False)

    assert end.standing == standing
