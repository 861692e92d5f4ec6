"""Workflows: their definition, their calls as sub-workflows, their starts, what the engine gets from them."""

from __future__ import annotations

import ast
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from qwit_durable.core.commands import CallWorkflow
from qwit_durable.errors import AmbiguousDurable, DefinitionError, EncodingError, MisuseError
from qwit_durable.language import StartOptions, Workflow, step, workflow
from qwit_durable.language.inside import call_inside
from qwit_durable.registry import default_registry
from tests.language.inside import AnAttempt
from tests.misuse import no_others

HERE = __file__
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@attrs.frozen
class Order:
    id: str
    cents: int = 5


@step
def charge(order_id: str) -> str:
    return order_id


def a_checkout() -> Any:
    @workflow
    def checkout(order: Order, note: str = "") -> Workflow[Order]:
        """Buy things."""
        yield from charge(order.id)
        return order

    return checkout


class Recorder:
    """Takes down what it is asked to start."""

    def __init__(self) -> None:
        self.started: list[tuple[Any, ...]] = []

    def start_run(self, definition, args, kwargs, options):
        self.started.append((definition, args, kwargs, options))
        return "handle"


def test_a_workflow_keeps_its_function_and_options():
    """Defaults are those of the contract; the generator function is at `.fn`."""
    checkout = a_checkout()

    assert (checkout.name, checkout.version, checkout.queue, checkout.deadline) == (
        "checkout",
        None,
        "default",
        None,
    )
    assert (checkout.on_undo_failure, checkout.park_on_failure) == ("stop", False)
    assert checkout.__doc__ == "Buy things."
    assert next(checkout.fn(Order("o"))).command.args == b'{"order_id":"o"}'
    assert default_registry.workflow("checkout") is checkout

    @workflow(
        name="other",
        version="2",
        queue="orders",
        deadline=timedelta(days=1),
        on_undo_failure="continue",
    )
    def another() -> Workflow[None]:
        yield from ()

    assert (another.name, another.version, another.queue) == ("other", "2", "orders")
    assert another.deadline == timedelta(days=1)
    assert another.on_undo_failure == "continue"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"versoin": "2"},
            "there is no option 'versoin'; did you mean 'version'? "
            "Known: deadline, name, on_undo_failure, park_on_failure, queue, version",
        ),
        ({"deadline": 5}, "deadline is a timedelta, got 5\n"),
        ({"version": 2}, "version is a str, got 2"),
        ({"queue": None}, "queue is a str, got None"),
        ({"on_undo_failure": "retry"}, "on_undo_failure is 'stop' or 'continue', got 'retry'"),
        ({"name": ""}, "a name is needed, got ''\n  right:  @workflow(name='...')"),
    ],
)
def test_a_wrong_option_is_refused_at_import(options, message):
    """An error when the module is imported, with the place and the right form; it is a TypeError."""
    with pytest.raises(DefinitionError) as caught:

        @workflow(**options)
        def checkout() -> Workflow[None]:
            yield

    where, _, what = str(caught.value).partition(": ")
    assert HERE in where
    assert what.startswith(message)


# -- what is no workflow -----------------------------------------------------------------------------------------


def forgotten(order: Order) -> str:
    text = charge(order.id)
    return text  # type: ignore[return-value]  # noqa: RET504 - that is the point


def nested(order: Order) -> list[str]:
    return [charge(order.id)]  # type: ignore[list-item]


def plain(order: Order) -> str:
    return order.id


@pytest.mark.parametrize(
    ("fn", "offset", "wrong", "right"),
    [
        (forgotten, 1, "text = charge(order.id)", "text = yield from charge(order.id)"),
        (
            nested,
            1,
            "return [charge(order.id)]  # type: ignore[list-item]",
            "return [(yield from charge(order.id))]  # type: ignore[list-item]",
        ),
        (
            plain,
            0,
            "def plain(...): without any `yield from`",
            "value = yield from step(...), or `yield from ()` where there is nothing to do",
        ),
    ],
)
def test_a_function_without_yield_shows_the_wrong_line(fn, offset, wrong, right):
    """The first call of a step is where `yield from` was forgotten."""
    with pytest.raises(DefinitionError) as caught:
        workflow(fn)

    assert str(caught.value) == (
        f"workflow {fn.__name__!r} ({HERE}:{fn.__code__.co_firstlineno + offset}) is not a generator function: "
        f"it would run at once, not durably\n"
        f"  likely cause: `yield from` is missing before a call\n"
        f"  wrong:  {wrong}\n"
        f"  right:  {right}"
    )


def test_an_async_function_is_no_workflow():
    """Awaiting is for steps."""

    async def checkout() -> None: ...

    with pytest.raises(DefinitionError) as caught:
        workflow(checkout)  # type: ignore[call-overload]

    assert str(caught.value) == (
        f"workflow 'checkout' ({HERE}:{checkout.__code__.co_firstlineno}) is an `async def`: workflows are generators\n"
        f"  likely cause: it is written as for asyncio, which can't be run again from a record\n"
        f"  wrong:  async def checkout(...), and `await` in it\n"
        f"  right:  def checkout(...) -> Workflow[...], and `yield from` in it; steps may be `async def`"
    )


def test_a_yield_in_finally_is_refused_with_its_line():
    """A body is closed wherever it waits, and can't yield while it is closed."""

    def checkout() -> Workflow[None]:
        try:
            yield from charge("o")
        finally:
            if charge:
                yield from charge("p")

    with pytest.raises(DefinitionError) as caught:
        workflow(checkout)

    assert str(caught.value) == (
        f"workflow 'checkout' yields within `finally` ({HERE}:{checkout.__code__.co_firstlineno + 5})\n"
        f"  likely cause: cleanup was written there, but a body is closed wherever it waits, and can't yield then\n"
        f"  way out: cleanup belongs in undos (@step.undo, compensate())"
    )


def test_finally_without_yield_is_fine():
    """Nor does a generator that is defined in it count, or the word in a text."""

    @workflow
    def checkout() -> Workflow[str]:
        try:
            yield from charge("o")
        finally:

            def inner() -> Workflow[None]:
                yield from charge("p")

        return f"finally {inner}"

    assert checkout.name == "checkout"


def test_a_function_without_source_is_not_searched():
    """What was typed into a shell may not be readable; that is no error."""
    tree = ast.parse("def checkout():\n  try:\n    yield\n  finally:\n    yield\n")
    scope: dict[str, Any] = {}
    exec(compile(tree, "<shell>", "exec"), scope)

    assert workflow(scope["checkout"]).name == "checkout"


# -- calls -------------------------------------------------------------------------------------------------------


def test_a_call_asks_for_a_sub_workflow():
    """As a step's call does, with the workflow's deadline."""

    @workflow(deadline=timedelta(hours=1))
    def ship(order: Order) -> Workflow[Order]:
        yield from charge(order.id)
        return order

    call = ship(Order("o"))

    assert repr(call) == "<call of workflow 'ship'>"
    assert call.command == CallWorkflow(name="ship", args=b'{"order":{"cents":5,"id":"o"}}')
    assert call.command.deadline == timedelta(hours=1)
    assert call.command.attributes is None
    assert call.command.decode(b'{"id":"o"}') == Order("o")
    assert call.command.normalise(b'{"order":{"id":"o"}}') == call.command.args


def test_a_sub_workflow_takes_attributes_and_a_deadline():
    """These two belong to a run, not to a tree."""
    call = a_checkout().options(attributes={"vip": True}, deadline=timedelta(hours=2))(Order("o"))

    assert call.command.attributes == {"vip": True}
    assert call.command.deadline == timedelta(hours=2)


def test_options_of_a_start_are_refused_in_a_call():
    """A tree shares its root's lane and id."""
    bound = a_checkout().options(id="o-1", delay=timedelta(1))

    with pytest.raises(TypeError) as caught:
        bound(Order("o"))

    first, *others = str(caught.value).splitlines()
    assert first.startswith(f"workflow 'checkout' is called as a sub-workflow at {HERE}:")
    assert first.endswith(" with id=, delay=")
    assert others == [
        "  likely cause: options of a start; a tree shares its root's lane and id, and its parent says when",
        "  right:  yield from checkout.options(attributes=..., deadline=...)(...)",
        "  or:     checkout.options(id=, delay=...).start(...) for the root",
    ]


def test_a_call_inside_a_step_is_refused():
    """There `start` is what begins a run."""
    with pytest.raises(MisuseError) as caught:
        call_inside(AnAttempt("charge"), lambda: a_checkout()(Order("o")))

    assert str(caught.value).startswith("workflow 'checkout' was called inside the step 'charge', at ")
    assert str(caught.value).endswith(
        "way out: checkout.start(...) starts a run of its own; or call it in the workflow"
    )


# -- starts ------------------------------------------------------------------------------------------------------


def test_a_start_goes_to_the_durable_that_is_meant():
    """With its arguments as they were given, and options of which none are set."""
    checkout, durable = a_checkout(), Recorder()

    handle = call_inside(AnAttempt("checkout", starter=durable), lambda: checkout.start(Order("o"), note="x"))

    assert handle == "handle"
    assert durable.started == [(checkout, (Order("o"),), {"note": "x"}, StartOptions())]


def test_options_of_a_start():
    """Each of them reaches the Durable."""
    checkout, durable = a_checkout(), Recorder()
    options: dict[str, Any] = {
        "id": "o-1",
        "lane": "customer-42",
        "at": NOON,
        "attributes": {"vip": True, "n": 1},
        "on_conflict": "replace",
        "deadline": timedelta(hours=1),
    }

    call_inside(AnAttempt("checkout", starter=durable), lambda: checkout.options(**options).start(Order("o")))

    assert durable.started == [(checkout, (Order("o"),), {}, StartOptions(**options))]


def test_a_start_without_a_durable_says_what_to_do():
    """The message is the one of `current`."""
    message = "'checkout' can't be started: there is no Durable in this process"
    with no_others(), pytest.raises(AmbiguousDurable, match=message):
        a_checkout().start(Order("o"))


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"idd": "x"}, DefinitionError, "there is no option 'idd'; did you mean 'id'? Known: "),
        ({"lane": 5}, TypeError, "lane is a str, got 5"),
        ({"lane": ""}, ValueError, "lane has 1 to 255 characters, got 0"),
        (
            {"delay": timedelta(1), "at": NOON},
            TypeError,
            "delay and at say the same thing in two ways: give one of them",
        ),
        ({"delay": 5}, TypeError, "delay is a timedelta, got 5\n"),
        ({"delay": timedelta(-1)}, ValueError, "delay is not negative, got -86,400 s\n"),
        ({"deadline": timedelta(0)}, ValueError, "deadline is more than zero, got 0 s\n"),
        (
            {"at": datetime(2026, 1, 1)},
            TypeError,
            "at has no time zone: datetime.datetime(2026, 1, 1, 0, 0)\n"
            "  likely cause: a naive datetime, which means another moment on each machine\n"
            "  right:  datetime(..., tzinfo=UTC), or datetime.now(UTC) + timedelta(...)",
        ),
        ({"at": "tomorrow"}, TypeError, "at is a datetime, got 'tomorrow'"),
        ({"id": 5}, TypeError, "id is a str, got 5"),
        ({"id": ""}, ValueError, "id has 1 to 255 characters, got 0"),
        ({"id": "x" * 256}, ValueError, "id has 1 to 255 characters, got 256"),
        ({"attributes": "x"}, TypeError, "attributes is a dict, got 'x'"),
        (
            {"attributes": {"tags": ["a"]}},
            TypeError,
            "attributes are flat, from str to str, int, float or bool; 'tags' is ['a'] of type list",
        ),
        ({"on_conflict": "merge"}, ValueError, "on_conflict is 'attach', 'fail' or 'replace', got 'merge'"),
    ],
)
def test_wrong_options_of_a_start_are_refused_where_they_are_written(options, kind, message):
    """Before anything is stored, with the right form."""
    with pytest.raises(kind) as caught:
        a_checkout().options(**options)

    assert str(caught.value).partition(": ")[2].startswith(message)


def test_options_that_are_off_are_no_options():
    """None stands for an option that is not given."""
    assert a_checkout().options(id=None, lane=None, connection=None, at=None).start_options == StartOptions()


# -- for the engine ----------------------------------------------------------------------------------------------


def test_each_body_has_arguments_of_its_own():
    """Two replays never share a mutable argument."""

    @workflow
    def sort(items: list[int]) -> Workflow[list[int]]:
        items.append(0)
        yield from charge("o")
        return items

    factory = sort.body(sort.encode_args(([3],), {}))
    first, second = factory(), factory()
    next(first)
    next(second)

    with pytest.raises(StopIteration) as stopped:
        second.send(None)

    assert stopped.value.value == [3, 0]


def test_arguments_and_value_are_written_by_annotation():
    """What `Workflow[T]` says is the value's type."""
    checkout = a_checkout()

    assert checkout.encode_args((Order("o"),), {}) == b'{"note":"","order":{"cents":5,"id":"o"}}'
    assert checkout.normalise_args(b'{"order":{"id":"o"}}') == checkout.encode_args((Order("o"),), {})
    assert checkout.decode_result(checkout.encode_result(Order("o"))) == Order("o")
    with pytest.raises(
        EncodingError, match=r"^the result of a_checkout|^the result of checkout\(\) can't be stored"
    ):
        checkout.encode_result("o")
