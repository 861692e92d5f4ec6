"""Steps: what their calls ask for, what their options mean, what the engine gets from them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import attrs
import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from qwit_durable.core.commands import CallStep, Settings
from qwit_durable.core.retry import Retry
from qwit_durable.errors import DefinitionError, EncodingError, Failure, MisuseError
from qwit_durable.language import Workflow, step
from qwit_durable.language.inside import call_inside
from qwit_durable.registry import default_registry
from tests.language.inside import AnAttempt

HERE = __file__


@attrs.frozen
class Payment:
    id: str
    cents: int


FAILURE = Failure(type="CardDeclined", message="no")


def a_charge() -> Any:
    @step
    def charge(order_id: str, cents: int = 5) -> Payment:
        """Take the money."""
        return Payment(order_id, cents)

    return charge


def lines_of(fn: Any) -> str:
    return f"{HERE}:{fn.__code__.co_firstlineno}"


def test_a_step_keeps_its_function():
    """The plain function is at `.fn`, and its documentation is the step's."""
    charge = a_charge()

    assert charge.fn("o", 7) == Payment("o", 7)
    assert charge.name == "charge"
    assert charge.__doc__ == "Take the money."
    assert str(charge.site) == lines_of(charge.fn)
    assert repr(charge) == f"<step 'charge' at {charge.site}>"
    assert default_registry.step("charge") is charge


def test_a_call_asks_for_the_step_with_its_arguments():
    """The command has all that the core compares and the engine needs."""
    command = a_charge()("o", cents=7).command

    assert isinstance(command, CallStep)
    assert command == CallStep(name="charge", args=b'{"cents":7,"order_id":"o"}')
    assert command.settings == Settings()
    assert command.undo_when is None
    assert command.decode(b'{"id":"o","cents":7}') == Payment("o", 7)
    assert command.normalise(b'{"order_id":"o"}') == b'{"cents":5,"order_id":"o"}'


def test_wrong_arguments_are_refused_at_the_call():
    """As Python says it, or with the place of what can't be stored."""
    charge = a_charge()

    with pytest.raises(TypeError, match=r"^charge\(\) missing 1 required positional argument: 'order_id'$"):
        charge()
    with pytest.raises(
        EncodingError, match=r"^argument 'cents' of charge\(\) can't be stored as JSON: cents is"
    ):
        charge("o", object())


def test_options_become_settings():
    """Every option of the decorator is carried by every call."""
    retry = Retry(max_attempts=3)

    @step(
        name="take-money",
        queue="money",
        priority=3,
        retry=retry,
        timeout=timedelta(seconds=30),
        deadline=timedelta(hours=1),
        dispatch="queue",
        heartbeat=None,
        transactional=False,
    )
    def charge() -> None: ...

    assert charge.name == "take-money"
    assert charge().command.settings == Settings(
        retry=retry,
        queue="money",
        priority=3,
        timeout=timedelta(seconds=30),
        deadline=timedelta(hours=1),
        dispatch="queue",
    )


def test_a_callable_is_a_retry_with_that_delay():
    """`retry=lambda attempt, error: …` decides each wait."""

    @step(retry=lambda attempt, error: timedelta(seconds=10 * attempt))
    def charge() -> None: ...

    assert charge.settings.retry.wait_after(2, Failure.of(ValueError())) == timedelta(seconds=20)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"retires": 3},
            "there is no option 'retires'; did you mean 'retry'? Known: deadline, dispatch, heartbeat, name, "
            "priority, queue, retry, timeout, transactional",
        ),
        (
            {"zzz": 3},
            "there is no option 'zzz'; Known: deadline, dispatch, heartbeat, name, "
            "priority, queue, retry, timeout, transactional",
        ),
        ({"timeout": 30}, "timeout is a timedelta, got 30\n"),
        ({"deadline": "1h"}, "deadline is a timedelta, got '1h'\n  right:  deadline=timedelta(seconds=...)"),
        ({"timeout": timedelta(0)}, "timeout is more than zero, got 0 s\n"),
        (
            {"retry": 5},
            "retry is a Retry or a callable (attempt, error) -> timedelta, got 5\n"
            "  right:  retry=Retry(max_attempts=3)",
        ),
        ({"dispatch": "later"}, "dispatch is 'inline' or 'queue', got 'later'"),
        ({"queue": 5}, "queue is a str, got 5"),
        ({"priority": "high"}, "priority is an int, got 'high'"),
        ({"heartbeat": timedelta(0)}, "heartbeat is more than zero, got 0 s"),
        ({"transactional": 1}, "transactional is True or False, got 1"),
    ],
)
def test_a_wrong_option_is_refused_at_import(options, message):
    """An error when the module is imported, with the place and the right form; it is a TypeError."""
    with pytest.raises(DefinitionError) as caught:

        @step(**options)
        def charge() -> None: ...

    assert isinstance(caught.value, TypeError)
    where, _, what = str(caught.value).partition(": ")
    assert HERE in where
    assert what.startswith(message)


def test_a_generator_function_is_no_step():
    """Probably @workflow was meant."""
    with pytest.raises(DefinitionError) as caught:

        @step
        def ship(sku: str) -> Workflow[str]:
            yield
            return sku

    assert str(caught.value).splitlines()[1:] == [
        "  likely cause: @step where @workflow was meant",
        "  right:  @workflow",
        "          def ship(...) -> Workflow[...]",
    ]


def test_a_method_a_class_and_a_nameless_function_are_no_steps():
    """What can't be stored by name and arguments is refused where it is defined."""
    with pytest.raises(DefinitionError, match=r"is a method: its 'self' can't be stored"):

        class Shop:
            @step
            def charge(self) -> None: ...

    with pytest.raises(DefinitionError, match="a function is needed, got <class"):
        step(Payment)
    with pytest.raises(DefinitionError, match="a function is needed, got 5"):
        step(5)  # type: ignore[call-overload]
    with pytest.raises(DefinitionError, match="a name is needed, got '<lambda>'"):
        step(lambda: None)


def test_changed_options_are_for_that_copy_alone():
    """`options` copies: the step and what is registered stay as they were."""
    charge = a_charge()

    slow = charge.options(timeout=timedelta(minutes=5), queue="slow")

    assert slow("o").command.settings == Settings(timeout=timedelta(minutes=5), queue="slow")
    assert charge("o").command.settings == Settings()
    assert slow("o").command == charge("o").command
    assert default_registry.step("charge") is charge
    with pytest.raises(DefinitionError, match=r"step 'charge', options\(\) at .*: there is no option 'name'"):
        charge.options(name="other")


def test_a_step_inside_a_step_is_refused():
    """The message names both and the fix."""
    charge = a_charge()

    with pytest.raises(MisuseError) as caught:
        call_inside(AnAttempt("checkout_step"), lambda: charge("o"))

    first, *others = str(caught.value).splitlines()
    assert first.startswith(f"step 'charge' was called inside the step 'checkout_step', at {HERE}:")
    assert others == [
        "  likely cause: what belongs in the workflow's body was written in a step",
        "  way out: charge.fn(...) runs it as part of this step; or call both in the workflow",
    ]


# -- undos -------------------------------------------------------------------------------------------------------


def test_an_undo_stays_a_plain_function():
    """Tests and other code may call it; the calls of the step know of it from then on."""
    charge = a_charge()
    before = charge.options(queue="slow")

    @charge.undo
    def refund(result: Payment) -> str:
        return f"refunded {result.id}"

    assert refund(Payment("p", 1)) == "refunded p"
    assert charge("o").command.undo_when == "completed"
    assert before("o").command.undo_when == "completed"
    assert charge.undo_definition.fn is refund


def test_undo_options():
    """An undo has its own retry and timeout, on the step's queue."""

    @step(queue="money", priority=2, timeout=timedelta(seconds=3), retry=Retry(max_attempts=1))
    def charge(order_id: str) -> None: ...

    @charge.undo(when="attempted", retry=Retry(max_attempts=9), timeout=timedelta(minutes=1))
    async def refund(order_id: str) -> None: ...

    definition = charge.undo_definition
    assert definition is not None
    assert definition.when == "attempted"
    assert definition.is_async
    assert definition.settings == Settings(
        retry=Retry(max_attempts=9), queue="money", priority=2, timeout=timedelta(minutes=1)
    )


def test_an_undo_without_options_has_a_steps_defaults():
    """A step that is never retried still has an undo that is."""

    @step(timeout=timedelta(seconds=3), retry=Retry(max_attempts=1))
    def charge() -> None: ...

    @charge.undo
    def refund() -> None: ...

    assert charge.undo_definition is not None
    assert charge.undo_definition.settings == Settings()


@pytest.mark.parametrize(
    ("undo", "message"),
    [
        (
            lambda receipt: None,
            "takes 'receipt', which is neither a parameter of the step nor 'result' or 'error'\n"
            "  likely cause: the step's value was meant, which is called 'result' here",
        ),
        (lambda *args: None, "takes *args, but an undo's parameters are passed by name"),
        (lambda result, /: None, "takes result, but an undo's parameters are passed by name"),
    ],
)
def test_an_undo_that_asks_for_something_else_is_refused(undo, message):
    """A parameter that nobody can supply is found at import."""
    charge = a_charge()

    with pytest.raises(DefinitionError) as caught:
        charge.undo(undo)

    assert str(caught.value) == (
        f"the undo of step 'charge' ({lines_of(undo)}) {message}\n"
        f"  it may take: 'order_id', 'cents', 'result', 'error'"
    )


def test_a_step_parameter_named_result_cannot_have_an_undo():
    """In an undo that name is taken."""

    @step
    def save(result: int) -> None: ...

    with pytest.raises(DefinitionError) as caught:
        save.undo(lambda result: None)

    assert str(caught.value) == (
        "step 'save' has a parameter 'result', which in an undo means something else\n"
        "  way out: give the step's parameter another name"
    )


def test_a_second_undo_a_step_as_undo_and_unknown_options_are_refused():
    """One undo per step, a plain function, with the options that exist."""
    charge, other = a_charge(), step(name="refund")(lambda: None)
    charge.undo(lambda result: None)

    with pytest.raises(DefinitionError, match=r"step 'charge' has two undos\n  first:  .*\n  second: .*"):

        @charge.undo
        def again() -> None: ...

    with pytest.raises(
        DefinitionError, match=r"itself a step: give the plain function\n  right:  charge.undo\(refund.fn\)"
    ):
        charge.undo(other)
    with pytest.raises(DefinitionError, match="there is no option 'wenn'; did you mean 'when'"):
        charge.undo(wenn="attempted")
    with pytest.raises(DefinitionError, match="when is 'completed' or 'attempted', got 'sometimes'"):
        a_charge().undo(when="sometimes")(lambda: None)


# -- for the engine ----------------------------------------------------------------------------------------------


def test_an_attempt_runs_the_function_with_the_stored_arguments():
    """What the engine binds is what the body asked for."""
    charge = a_charge()
    args = charge("o", 7).command.args

    attempt = charge.bind(args)

    assert attempt() == Payment("o", 7)
    assert charge.decode_result(charge.encode_result(attempt())) == Payment("o", 7)
    with pytest.raises(
        EncodingError, match=r"^the result of charge\(\) can't be stored as JSON: result is 'p' of type"
    ):
        charge.encode_result("p")


def test_an_async_step_gives_a_coroutine():
    """The engine awaits it where it likes."""

    @step
    async def announce(text: str) -> int:
        return len(text)

    attempt = announce.bind(announce("paid").command.args)

    assert announce.is_async
    assert asyncio.run(attempt()) == 4


def test_an_undo_gets_what_it_asks_for_by_name():
    """Parameters of the step, the value if there is one, and the failure."""
    charge = a_charge()
    got: dict[str, Any] = {}

    @charge.undo(when="attempted")
    def refund(error: Failure, cents: int, result: Payment | None) -> None:
        got.update(error=error, cents=cents, result=result)

    args = charge("o", 7).command.args
    charge.bind_undo(args, charge.encode_result(Payment("o", 7)), FAILURE)()
    assert got == {"error": FAILURE, "cents": 7, "result": Payment("o", 7)}
    charge.bind_undo(args, None, FAILURE)()
    assert got["result"] is None


def test_an_undo_that_is_gone_says_so():
    """A run that owes an undo which the code no longer has needs a deploy."""
    with pytest.raises(DefinitionError, match="has no undo, and the run owes one"):
        a_charge().bind_undo(b"{}", None, FAILURE)


def test_an_actor_becomes_a_step():
    """Its function under its name, on its queue unless that is the default; it stays an actor."""
    broker = StubBroker()
    try:

        @dramatiq.actor(broker=broker, actor_name="send-mail", queue_name="mail")
        def send(address: str) -> str:
            return address

        @dramatiq.actor(broker=broker)
        def pack(sku: str) -> str:
            return sku

        sending, packing = step(send), step(pack, timeout=timedelta(seconds=5))
    finally:
        broker.close()

    assert (sending.name, sending.settings.queue) == ("send-mail", "mail")
    assert (packing.name, packing.settings) == ("pack", Settings(timeout=timedelta(seconds=5)))
    assert sending.bind(sending("a@b").command.args)() == "a@b"
