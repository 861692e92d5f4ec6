"""What a user gets wrong, one test for each mistake: what is said, and that nothing half-done is left behind."""

from __future__ import annotations

import socket
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from qwit_durable.app import Durable
from qwit_durable.core import Retry, Status
from qwit_durable.engine.ports import Settings
from qwit_durable.errors import (
    DefinitionError,
    EncodingError,
    RunStuck,
    SchemaMismatch,
    StoreUnavailable,
    WorkflowFailed,
)
from qwit_durable.language.groups import gather
from qwit_durable.language.step import step
from qwit_durable.language.verbs import compensate, record, sleep, wait_signal
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.testing.environment import Environment
from tests.core.deploys import Cluster, deploy, line_of

ONCE = Retry(max_attempts=1)

calls: list[str] = []


@pytest.fixture(autouse=True)
def fresh_calls() -> None:
    """No step has run yet."""
    calls.clear()


@attrs.frozen
class Item:
    name: str
    extra: object = None


@attrs.frozen
class Order:
    id: str
    items: tuple[Item, ...] = ()


BAD = Order("1", (Item("chair"), Item("table", {"when": print})))


@step
def charge(order: Order) -> str:
    calls.append(f"charge {order.id}")
    return "paid"


@step(retry=ONCE)
def weigh(order: Order) -> Any:
    calls.append("weigh")
    return {"kilos": {1, 2}}


@workflow
def checkout(order: Order) -> Workflow[str]:
    return (yield from charge(order))


def here(fn: Any, text: str) -> str:
    """File and line of a text in a function, as messages show them."""
    return f"{__file__}:{line_of(fn, text)}"


def run(definition: Any, *args: Any, **settings: Any) -> tuple[Environment, Any]:
    """Start a run and let it come to rest."""
    environment = Environment(settings=Settings(**settings))
    handle = environment.start(definition, *args)
    environment.settle()
    return environment, handle


def failure_of(definition: Any, *args: Any, **settings: Any) -> WorkflowFailed:
    """How a run fails."""
    _, handle = run(definition, *args, **settings)
    with pytest.raises(WorkflowFailed) as caught:
        handle.result(0)
    return caught.value


# -- unknown options -----------------------------------------------------------------------------------------------


def test_unknown_option_of_a_workflow_names_the_similar_one():
    """A typing error in `@workflow(...)` is a TypeError at import, with its line."""

    def define():
        return workflow(dedline=timedelta(1))  # wrong

    with pytest.raises(TypeError) as caught:
        define()

    assert str(caught.value).startswith(
        f"@workflow at {here(define, '# wrong')}: there is no option 'dedline'; did you mean 'deadline'? Known: "
    )


def test_unknown_option_of_a_step_names_the_similar_one():
    """A typing error in `@step(...)` is a TypeError at import, with its line."""

    def define():
        return step(timout=timedelta(1))  # wrong

    with pytest.raises(TypeError) as caught:
        define()

    assert str(caught.value).startswith(
        f"@step at {here(define, '# wrong')}: there is no option 'timout'; did you mean 'timeout'? Known: "
    )


def test_unknown_option_of_an_undo_names_the_similar_one():
    """A typing error in `@charge.undo(...)` is a TypeError at import, with its line."""

    def define():
        return charge.undo(wen="attempted")  # wrong

    with pytest.raises(TypeError) as caught:
        define()

    assert str(caught.value).startswith(
        f"charge.undo() at {here(define, '# wrong')}: there is no option 'wen'; did you mean 'when'? Known: "
    )


def test_unknown_option_of_a_call_names_the_similar_one():
    """A typing error in `charge.options(...)` is a TypeError where it is written."""

    def define():
        return charge.options(retries=3)  # wrong

    with pytest.raises(TypeError) as caught:
        define()

    assert str(caught.value).startswith(
        f"step 'charge', options() at {here(define, '# wrong')}: there is no option 'retries'; "
        "did you mean 'retry'? Known: "
    )


def test_unknown_option_of_a_start_names_the_similar_one():
    """A typing error in `checkout.options(...)` is a TypeError before anything is stored."""

    def define():
        return checkout.options(attribute={})  # wrong

    with pytest.raises(TypeError) as caught:
        define()

    assert str(caught.value).startswith(
        f"workflow 'checkout', options() at {here(define, '# wrong')}: there is no option 'attribute'; "
        "did you mean 'attributes'? Known: "
    )


def test_number_where_a_duration_is_meant_shows_the_right_form():
    """A bare number has no unit: it is refused with the form that has one."""

    def slow():
        return None

    with pytest.raises(
        DefinitionError, match=r"timeout is a timedelta, got 30\n(.*\n)  right:  timeout=timedelta\("
    ):
        step(timeout=30)(slow)
    with pytest.raises(
        DefinitionError, match=r"first is a timedelta, got 5\n  right:  Retry\(first=timedelta"
    ):
        Retry(first=5)


# -- what is no workflow -------------------------------------------------------------------------------------------


def test_workflow_that_is_no_generator_is_refused():
    """A function without `yield` would run at once: it is refused at import, with the line and the right form."""

    def buy(order):
        return charge(order)

    with pytest.raises(DefinitionError) as caught:
        workflow(buy)

    assert str(caught.value) == (
        f"workflow 'buy' ({here(buy, 'return')}) is not a generator function: it would run at once, not durably\n"
        "  likely cause: `yield from` is missing before a call\n"
        "  wrong:  return charge(order)\n"
        "  right:  return (yield from charge(order))"
    )


def test_yield_in_finally_is_refused():
    """Cleanup that yields can't work where a body is closed: it is refused at import, with the line."""

    def buy(order):
        try:
            yield from charge(order)
        finally:
            yield from weigh(order)

    with pytest.raises(DefinitionError) as caught:
        workflow(buy)

    assert str(caught.value) == (
        f"workflow 'buy' yields within `finally` ({here(buy, 'weigh')})\n"
        "  likely cause: cleanup was written there, but a body is closed wherever it waits, and can't yield then\n"
        "  way out: cleanup belongs in undos (@step.undo, compensate())"
    )


def test_duplicate_name_of_a_step_is_refused():
    """Two steps of one name are refused at import; both places are shown."""

    def another():
        return None

    with pytest.raises(DefinitionError) as caught:
        step(name="charge")(another)

    assert str(caught.value) == (
        "there are two steps of the name 'charge'\n"
        f"  first:  {charge.site}\n"
        f"  second: {here(another, 'def another')}\n"
        "  way out: give one of them another name, as @step(name=...)"
    )


def test_duplicate_name_of_a_workflow_is_refused():
    """Two workflows of one name are refused at import; both places are shown."""

    def another():
        yield from ()

    with pytest.raises(DefinitionError) as caught:
        workflow(name="checkout")(another)

    assert str(caught.value) == (
        "there are two workflows of the name 'checkout'\n"
        f"  first:  {checkout.site}\n"
        f"  second: {here(another, 'def another')}\n"
        "  way out: give one of them another name, as @workflow(name=...)"
    )


# -- bodies that misuse the language -------------------------------------------------------------------------------


@workflow
def forgets() -> Workflow[str]:
    charge(Order("1"))  # forgotten
    return (yield from charge(Order("2")))


@workflow
def yields_bare() -> Workflow[None]:
    yield helper()


def helper():
    yield from charge(Order("1"))


@pytest.mark.parametrize(
    ("definition", "what"),
    [
        (
            forgets,
            f"{here(forgets.fn, '# forgotten')} built step 'charge' and dropped it: it was never run.\n"
            "  likely cause: a forgotten `yield from`\n"
            "  wrong:  charge(...)\n"
            "  right:  value = yield from charge(...)",
        ),
        (
            yields_bare,
            f"{here(yields_bare.fn, 'yield helper()')} yields the bare generator 'helper': "
            "its commands would never run.\n"
            "  likely cause: `yield` where `yield from` was meant\n"
            "  wrong:  yield helper(...)\n"
            "  right:  value = yield from helper(...)",
        ),
    ],
    ids=["forgotten yield", "bare generator"],
)
def test_misuse_leaves_the_run_stuck_with_nothing_done(definition, what):
    """The run needs a fixed deploy: nothing has run, nothing is recorded, and the line is in the reason."""
    environment, handle = run(definition)

    with pytest.raises(RunStuck) as caught:
        handle.result(0)

    assert caught.value.reason == f"run {handle.id} of workflow {definition.name!r} can't go on: {what}"
    assert calls == []
    assert list(environment.store.history(handle.run().run_id)) == []


def test_changed_body_leaves_the_run_stuck():
    """A body that no longer asks for what is recorded shows both, with the line; nothing is run."""

    def code(name):
        with deploy() as code:

            @step
            def greet(name: str) -> None:
                calls.append(name)

            @workflow
            def greeting() -> Workflow[None]:
                yield from greet(name)
                yield from wait_signal("go")

        return code

    cluster = Cluster()
    first = cluster.boot(code("Ann"))
    handle = first.start(first.registry.workflow("greeting"))
    first.settle()
    changed = code("Bob")
    second = cluster.boot(changed)
    second.get(handle.id).signal("go")
    second.settle()

    with pytest.raises(RunStuck) as caught:
        second.get(handle.id).result(0)

    where = here(changed.workflow("greeting").fn, "greet(name)")
    assert caught.value.reason.splitlines()[:3] == [
        f"run {handle.id} of workflow 'greeting' no longer matches its history at position 0.",
        '  recorded: step \'greet\' {"name":"Ann"}',
        f'  found:    step \'greet\' {{"name":"Bob"}}   at {where}',
    ]
    assert calls == ["Ann"]


# -- values that can't be stored -----------------------------------------------------------------------------------


def test_argument_that_can_not_be_stored_is_named_with_its_path():
    """Starting with such an argument raises at the caller, and no run exists."""
    environment = Environment()

    with pytest.raises(EncodingError) as caught:
        environment.start(checkout, BAD)

    assert str(caught.value).startswith(
        "argument 'order' of checkout() can't be stored as JSON: order.items[1].extra"
    )
    assert list(environment.store.runs(_all())) == []


def test_argument_of_a_step_that_can_not_be_stored_fails_the_run():
    """A body that builds such a call gets the error at its line; uncaught it fails the run, and the step never ran."""

    @workflow
    def buying() -> Workflow[str]:
        return (yield from charge(BAD))

    failed = failure_of(buying)

    assert failed.cause is not None
    assert failed.cause.is_a(EncodingError)
    assert failed.cause.message.startswith(
        "argument 'order' of charge() can't be stored as JSON: order.items[1].extra"
    )
    assert here(buying.fn, "charge(BAD)").rpartition(":")[2] in failed.cause.traceback
    assert calls == []


def test_result_of_a_step_that_can_not_be_stored_fails_it_without_another_attempt():
    """The step ran; running it again would give the same value, so it fails at once, with the path."""

    @workflow
    def weighing() -> Workflow[Any]:
        return (yield from weigh.options(retry=Retry(max_attempts=5))(Order("1")))

    failed = failure_of(weighing)

    assert failed.cause is not None
    assert failed.cause.root.message.startswith(
        "the result of weigh() can't be stored as JSON: result['kilos']"
    )
    assert failed.cause.outcome_unknown
    assert calls == ["weigh"]


def test_result_of_a_workflow_that_can_not_be_stored_fails_the_run():
    """A body that returns such a value fails, as if its last line had raised."""

    @workflow
    def returning() -> Workflow[Any]:
        yield from charge(Order("1"))
        return {"at": print}

    failed = failure_of(returning)

    assert failed.cause is not None
    assert failed.cause.message.startswith("the result of returning() can't be stored as JSON: result['at']")


def test_signal_that_can_not_be_stored_is_refused_at_its_sender():
    """Nothing was sent; the run waits on."""

    @workflow
    def waiting() -> Workflow[Any]:
        return (yield from wait_signal("go"))

    _, handle = run(waiting)

    with pytest.raises(EncodingError) as caught:
        handle.signal("go", {"by": [print]})

    assert str(caught.value).startswith("the value of signal 'go' can't be stored as JSON: go['by'][0]")
    assert handle.status() is Status.RUNNING


def test_recorded_value_that_can_not_be_stored_is_raised_in_the_body():
    """`record` refuses it where the body asks for it."""

    @workflow
    def recording() -> Workflow[Any]:
        return (yield from record(object))

    failed = failure_of(recording)

    assert failed.cause is not None
    assert failed.cause.root.is_a(EncodingError)


def test_argument_that_is_too_large_is_refused():
    """A value beyond the limit is refused at the caller, with both sizes and the ways out."""
    environment = Environment(settings=Settings(limit_bytes=1024))

    with pytest.raises(EncodingError) as caught:
        environment.start(checkout, Order("x" * 2048))

    assert str(caught.value).startswith(
        "the arguments of workflow 'checkout': 2.0 KiB of JSON, and the limit is 1.0 KiB"
    )


# -- code that breaks in odd places --------------------------------------------------------------------------------


@step(retry=Retry(max_attempts=3, first=timedelta(seconds=1), delay=lambda attempt, error: 5))
def badly_put_off() -> None:
    calls.append("tried")
    raise OSError("busy")


@workflow
def putting_off() -> Workflow[None]:
    yield from badly_put_off()


def test_broken_callable_of_a_retry_does_not_repeat_the_step_for_ever(caplog):
    """A callable that answers nonsense is logged, and the waits are those of the formula: three attempts are three."""
    failed = failure_of(putting_off)

    assert failed.cause is not None
    assert failed.cause.root.message == "busy"
    assert calls == ["tried"] * 3
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert [one.partition(": ")[0] for one in said] == [
        "step 'badly_put_off' waits by the formula of its Retry"
    ] * 2


@step
def unresolvable() -> Missing:  # noqa: F821 - that is the point
    calls.append("ran")


@workflow
def resolving() -> Workflow[None]:
    yield from unresolvable()


def test_annotation_that_can_not_be_resolved_fails_before_the_step_runs():
    """A name that the module does not have is found when the step is called: it is told, and nothing has run."""
    failed = failure_of(resolving)

    assert failed.cause is not None
    assert failed.cause.root.message.startswith("an annotation of unresolvable() (")
    assert "name 'Missing' is not defined" in failed.cause.root.message
    assert calls == []


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@step(retry=ONCE)
def mute() -> None:
    calls.append("ran")
    raise MuteError


@workflow
def muting() -> Workflow[None]:
    yield from mute()


def test_error_that_can_not_be_shown_fails_the_step_all_the_same():
    """An exception whose own text breaks is recorded by its type; the attempt is not made again and again."""
    failed = failure_of(muting)

    assert failed.cause is not None
    assert failed.cause.root.type == "MuteError"
    assert calls == ["ran"]


@workflow
def sleeping_for_ever() -> Workflow[None]:
    yield from gather(sleep(timedelta.max), wait_signal("never", timeout=timedelta.max))


def test_longest_sleep_is_a_sleep():
    """A duration that no calendar holds waits until the end of time, as it says."""
    environment = Environment()
    handle = environment.start(sleeping_for_ever)

    environment.answer_bells()

    assert handle.status() is Status.RUNNING
    assert [timer.fire_at.year for timer in environment.store.timers(handle.run().run_id)] == [9999, 9999]


@step(retry=Retry(max_attempts=2, first=timedelta(seconds=1)), queue="elsewhere")
def retract() -> None:
    calls.append("retract")
    raise OSError("still there")


@workflow
def owing() -> Workflow[None]:
    yield from compensate(retract())
    raise ValueError("no")


def test_queued_compensation_keeps_its_own_retry():
    """What was handed to `compensate` is attempted as often as its own step says, on another queue too."""
    environment = Environment(queues=frozenset({"default"}))
    other = Environment(environment.store, clock=environment.clock, queues=frozenset({"elsewhere"}))
    handle = environment.start(owing)

    for _ in range(20):
        environment.settle(until=environment.clock.now() + timedelta(seconds=10))
        other.settle(until=environment.clock.now() + timedelta(seconds=10))

    assert handle.status() is Status.STUCK
    assert calls == ["retract"] * 2


@step(retry=Retry(max_attempts=1))
def strict() -> None:
    calls.append("strict")
    raise OSError("busy")


@workflow
def lenient() -> Workflow[None]:
    yield from strict.options(retry=Retry(first=timedelta(0)))()


def test_options_of_a_call_hold_where_they_are_the_defaults():
    """`options(retry=Retry())` means the five attempts of the default, not what the step says."""
    failure_of(lenient)

    assert calls == ["strict"] * 5


# -- stores --------------------------------------------------------------------------------------------------------


def test_file_in_a_missing_folder_is_named(tmp_path: Path):
    """A store that can't be made says where it looked and what to do."""
    durable = Durable(f"sqlite:///{tmp_path}/missing/orders.db")

    with pytest.raises(StoreUnavailable) as caught:
        durable.start(checkout, Order("1"))

    assert str(caught.value) == (
        f"the store sqlite:///{tmp_path}/missing/orders.db can't be used: its folder '{tmp_path}/missing' "
        "does not exist. Create it"
    )


def test_server_that_does_not_answer_is_named_without_its_password():
    """A Postgres that can't be reached says which one, why, and what to check; no password is shown."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    durable = Durable(f"postgresql://ann:secret@127.0.0.1:{port}/shop")

    with pytest.raises(StoreUnavailable) as caught:
        durable.start(checkout, Order("1"))

    said = str(caught.value)
    assert said.startswith(f"no connection to the Postgres server at 127.0.0.1:{port}/shop: ")
    assert said.endswith("Check that it runs, that host and port are right, and that this user may log in")
    assert "secret" not in said


def test_newer_schema_is_refused(tmp_path: Path):
    """A store that a newer release has migrated is left alone, with one clear line."""
    url = f"sqlite:///{tmp_path}/orders.db"
    first = Durable(url)
    first.start(checkout, Order("1"))
    first.close()
    with sqlite3.connect(tmp_path / "orders.db") as connection:
        connection.execute("INSERT INTO migration VALUES (99, '0099_later', 'x', 0)")
    connection.close()

    with pytest.raises(SchemaMismatch) as caught:
        Durable(url).start(checkout, Order("2"))

    assert "is version 99; this code knows up to " in str(caught.value)
    assert str(caught.value).endswith("a newer release has migrated it. Upgrade qwit-durable here")


def _all() -> Any:
    from qwit_durable.stores.protocol import RunQuery

    return RunQuery(namespace="default")
