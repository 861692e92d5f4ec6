"""Calls are inert, know whether they were used, and refuse to be taken for their value."""

from __future__ import annotations

import gc
import inspect

import pytest

from qwit_durable.core.building import Sink, building_in
from qwit_durable.core.commands import Now, Site, Yieldable
from qwit_durable.language import Call, gather, now, step

HERE = __file__


@step
def charge(cents: int) -> int:
    raise AssertionError  # a call never runs it


def line() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_building_a_call_runs_nothing():
    """A call is a value; its command carries the arguments."""
    call = charge(5)

    assert isinstance(call, Call)
    assert isinstance(call, Yieldable)
    assert call.command.name == "charge"
    assert call.command.args == b'{"cents":5}'
    assert repr(call) == "<call of step 'charge'>"


def test_yield_from_yields_the_call_and_returns_the_answer():
    """That is how both type checkers see the type of the answer."""
    call = charge(5)
    driving = iter(call)

    yielded = next(driving)
    with pytest.raises(StopIteration) as stopped:
        driving.send(7)

    assert yielded is call
    assert stopped.value.value == 7


def test_the_site_is_the_users_line():
    """Frames of the library are skipped, however deep the call is built."""
    call, at = charge(5), line()
    many, at_many = gather(charge(1), now()), line()

    assert call.command.site == Site(HERE, at)
    assert many.command.site == Site(HERE, at_many)


def test_a_call_dropped_in_a_body_reports_itself():
    """A forgotten `yield` is found when the call is collected, with its line."""
    sink = Sink()

    with building_in(sink):
        charge(5)
        at = line() - 1
        gc.collect()

    assert sink.dropped == [("step 'charge'", Site(HERE, at))]


def test_it_reports_to_the_body_that_built_it():
    """Collected elsewhere and later, it is still that body's mistake."""
    first, second = Sink(), Sink()
    with building_in(first):
        call = charge(5)

    with building_in(second):
        del call

    assert [text for text, _ in first.dropped] == ["step 'charge'"]
    assert second.dropped == []


@pytest.mark.parametrize(
    "use",
    [
        lambda call: call.as_command(),
        lambda call: next(iter(call)),
        lambda call: gather(call).as_command(),
    ],
    ids=["taken", "iterated", "gathered"],
)
def test_a_used_call_is_silent(use):
    """What was yielded or handed to a verb may be dropped."""
    sink = Sink()

    with building_in(sink):
        use(charge(5))
        gc.collect()

    assert sink.dropped == []


def test_calls_dropped_while_a_body_is_closed_are_silent():
    """A body that is closed where it stands has forgotten nothing, whenever its calls were built."""
    sink = Sink()
    with building_in(sink):
        call = charge(5)

    with building_in(Sink(inert=True)):
        del call

    assert sink.dropped == []


def test_calls_outside_a_body_are_silent():
    """In a shell or a test nobody listens, and nothing is raised."""
    charge(5)


def in_body(misuse) -> tuple[str, Sink]:
    sink = Sink()
    with building_in(sink), pytest.raises((TypeError, AttributeError)) as caught:
        misuse()
    return str(caught.value), sink


@pytest.mark.parametrize(
    ("misuse", "how", "wrong", "right"),
    [
        (
            lambda: bool(charge(5)),
            "was used as a condition",
            "if charge(...):",
            "if (yield from charge(...)):",
        ),
        (
            lambda: charge(5).id,
            "was asked for its value's attribute 'id'",
            "charge(...).id",
            "(yield from charge(...)).id",
        ),
        (
            lambda: charge(5).__await__(),
            "was awaited, but workflows are generators",
            "await charge(...)",
            "value = yield from charge(...)",
        ),
        (
            lambda: list(charge(5)),
            "was iterated",
            "for value in charge(...)",
            "for value in (yield from charge(...))",
        ),
        (
            lambda: charge(charge(5)),
            "was passed as an argument",
            "other(charge(...))",
            "other((yield from charge(...)))",
        ),
    ],
    ids=["condition", "attribute", "await", "for", "argument"],
)
def test_a_call_taken_for_its_value_shows_the_right_line(misuse, how, wrong, right):
    """The message has the line, the cause and both forms; the body's sink is told too, so that the run gets stuck."""
    message, sink = in_body(misuse)

    assert message == (
        f"the call of step 'charge', built at {HERE}:{misuse.__code__.co_firstlineno}, {how}\n"
        f"  likely cause: a forgotten `yield from`: a call has no value until a body yields it\n"
        f"  wrong:  {wrong}\n"
        f"  right:  {right}"
    )
    assert [text for text, _ in sink.dropped] == ["step 'charge'"]


def test_outside_a_body_the_message_shows_the_plain_function():
    """Who calls a step in a shell probably wants its function."""
    with pytest.raises(TypeError) as caught:
        bool(charge(5))

    assert str(caught.value).endswith("\n  outside a body: charge.fn(...) runs the plain function")


def test_a_body_driven_by_hand_may_answer_none():
    """A unit test may drive `workflow.fn` itself; nothing is taken for a mistake there."""
    driving = iter(charge(5))
    next(driving)

    with pytest.raises(StopIteration) as stopped:
        next(driving)

    assert stopped.value.value is None


def test_a_verbs_call_has_its_command():
    """Verbs give calls as steps do."""
    assert isinstance(now().command, Now)
    assert repr(now()) == "<call of now>"
