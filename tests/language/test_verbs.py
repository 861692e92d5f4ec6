"""Verbs: what each of them asks for, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import attrs
import pytest

from qwit_durable.core.building import Sink, building_in
from qwit_durable.core.commands import CallStep, Compensate, Gather, Now, Record, Sleep, WaitSignal
from qwit_durable.errors import EncodingError, MisuseError
from qwit_durable.language import (
    Workflow,
    compensate,
    gather,
    new_uuid,
    now,
    random_float,
    record,
    sleep,
    sleep_until,
    step,
    wait_signal,
    workflow,
)
from qwit_durable.language.inside import call_inside
from tests.language.inside import AnAttempt

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@attrs.frozen
class Approval:
    by: str


@step
def pack(sku: str) -> str:
    return sku


@workflow
def ship(sku: str) -> Workflow[str]:
    return (yield from pack(sku))


def branch() -> Generator[Any, Any, str]:
    return (yield from pack("b"))


# -- gather ------------------------------------------------------------------------------------------------------


def test_gather_takes_calls_branches_and_other_gathers():
    """Each becomes what the core runs: a command or a generator."""
    one = branch()

    command = gather(pack("a"), ship("b"), one, sleep(timedelta(1)), gather(pack("c")), limit=2).command

    assert isinstance(command, Gather)
    assert command.limit == 2
    first, second, third, fourth, fifth = command.members
    assert first == pack("a").command
    assert second == ship("b").command
    assert third is one
    assert fourth == Sleep(duration=timedelta(1))
    assert isinstance(fifth, Gather)
    assert fifth.members == (pack("c").command,)


def test_gather_of_nothing_is_allowed():
    """An order without items has no boxes to pack."""
    assert gather(*(pack(sku) for sku in [])).command.members == ()


def test_the_members_of_a_gather_are_used_and_it_itself_is_not():
    """A dropped gather reports itself alone."""
    sink = Sink()

    with building_in(sink):
        gather(pack("a"), pack("b"))

    assert [text for text, _ in sink.dropped] == ["gather"]


def told(error: BaseException) -> str:
    """What is said, without the place in it and without addresses."""
    return re.sub(rf" at ({re.escape(__file__)}:\d+(?!>)\b|0x\w+)", "", str(error))


def begun() -> Any:
    generator = branch()
    next(generator)
    return generator


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (
            pack,
            f"is {pack!r} of type Step, which is no call\n"
            f"  likely cause: it is not called\n  wrong:  gather(pack)\n  right:  gather(pack(...))",
        ),
        (
            [1],
            "is [1] of type list, which is no call\n"
            "  likely cause: it is not unpacked\n  wrong:  gather(calls)\n  right:  gather(*calls)",
        ),
        (
            5,
            "is 5 of type int, which is no call\n"
            "  likely cause: a plain function was called where a step was meant\n"
            "  way out: members are calls of steps, sub-workflows and verbs, and generators",
        ),
        (
            begun(),
            "is the generator 'branch', which has already begun\n"
            "  likely cause: it is a member of another gather, or was iterated\n"
            "  right:  gather(branch(...)), built anew",
        ),
        (
            (pack(sku) for sku in ["b"]),
            "is <generator object <genexpr>> of type generator, which is no call\n"
            "  likely cause: it is not unpacked\n"
            "  wrong:  gather(call(item) for item in items)\n"
            "  right:  gather(*(call(item) for item in items))",
        ),
    ],
    ids=["step", "list", "number", "begun", "loop"],
)
def test_a_member_that_is_no_call_is_named(member, message):
    """With its index, and what was probably meant."""
    with pytest.raises(TypeError) as caught:
        gather(pack("a"), member)

    assert told(caught.value) == f"gather(): member 1 {message}"


def test_one_generator_cannot_be_two_branches():
    """It can run only once."""
    one = branch()

    with pytest.raises(
        TypeError, match=r"^gather\(\) at .*: one generator is a member twice, but it can run only once"
    ):
        gather(one, one)


@pytest.mark.parametrize(
    ("limit", "kind", "message"),
    [
        (0, ValueError, "limit is at least 1, got 0"),
        ("2", TypeError, "limit is an int, got '2'"),
        (True, TypeError, "limit is an int, got True"),
    ],
)
def test_a_limit_is_a_number_of_members(limit, kind, message):
    """At least one has to run."""
    with pytest.raises(kind) as caught:
        gather(pack("a"), limit=limit)

    assert told(caught.value).startswith(f"gather(): {message}")


# -- timers and signals ------------------------------------------------------------------------------------------


def test_sleeping():
    """A duration, or a moment."""
    assert sleep(timedelta(days=30)).command == Sleep(duration=timedelta(days=30))
    assert sleep(timedelta(0)).command == Sleep(duration=timedelta(0))
    assert sleep_until(NOON).command == Sleep(until=NOON)


@pytest.mark.parametrize(
    ("verb", "value", "kind", "message"),
    [
        (
            sleep,
            5,
            TypeError,
            "sleep(): duration is a timedelta, got 5\n"
            "  likely cause: a number of seconds, but of a bare number nobody sees the unit\n"
            "  right:  duration=timedelta(seconds=5)",
        ),
        (
            sleep,
            None,
            TypeError,
            "sleep(): duration is a timedelta, got None\n  right:  duration=timedelta(seconds=...)",
        ),
        (
            sleep,
            timedelta(-1),
            ValueError,
            "sleep(): duration is not negative, got -86,400 s\n"
            "  likely cause: it was computed from two moments that came the other way round",
        ),
        (
            sleep_until,
            timedelta(1),
            TypeError,
            "sleep_until(): moment is a datetime, got datetime.timedelta(days=1)",
        ),
        (
            sleep_until,
            datetime(2026, 1, 1),
            TypeError,
            "sleep_until(): moment has no time zone: datetime.datetime(2026, 1, 1, 0, 0)\n"
            "  likely cause: a naive datetime, which means another moment on each machine\n"
            "  right:  datetime(..., tzinfo=UTC), or datetime.now(UTC) + timedelta(...)",
        ),
    ],
)
def test_a_wrong_time_is_refused_with_the_right_form(verb, value, kind, message):
    """A bare number has no unit, a naive datetime no moment."""
    with pytest.raises(kind) as caught:
        verb(value)

    assert told(caught.value) == message


def test_a_signal_is_read_by_its_type():
    """A class or a generic alias; without one, JSON as it is."""
    command = wait_signal("approved", type=list[Approval], timeout=timedelta(days=2)).command

    assert isinstance(command, WaitSignal)
    assert command == WaitSignal(name="approved", timeout=timedelta(days=2))
    assert command.decode(b'[{"by":"Ada"}]') == [Approval("Ada")]
    assert wait_signal("approved").command.decode(b'{"by":"Ada"}') == {"by": "Ada"}
    with pytest.raises(EncodingError) as caught:
        command.decode(b'[{"by":5}]')
    assert str(caught.value) == (
        "the value of signal 'approved' does not fit its type: approved[0].by is 5 of type int, "
        "and its annotation asks for str"
    )


def test_a_signal_without_a_name_or_with_a_bare_number_is_refused():
    """As everywhere, with the right form."""
    with pytest.raises(TypeError, match=r"^wait_signal\(\) at .*: name is a str that is not empty, got ''\n"):
        wait_signal("")
    with pytest.raises(TypeError, match=r"^wait_signal\(\) at .*: timeout is a timedelta, got 5\n"):
        wait_signal("approved", timeout=5)  # type: ignore[call-overload]


# -- compensate and recorded values ------------------------------------------------------------------------------


def test_compensate_owes_a_step():
    """The step's call is used by it and does not run now."""
    sink = Sink()

    with building_in(sink):
        call = compensate(pack("a"))

    assert call.command == Compensate(call=CallStep(name="pack", args=b'{"sku":"a"}'))
    assert sink.dropped == []


@pytest.mark.parametrize(
    ("value", "shown", "right"),
    [
        (pack, repr(pack), "pack"),
        (ship("a"), "<call of workflow 'ship'>", "release"),
        (None, "None", "release"),
    ],
    ids=["step", "workflow", "none"],
)
def test_compensate_takes_nothing_else(value, shown, right):
    """Only a step can be run as an undo."""
    with pytest.raises(TypeError) as caught:
        compensate(value)

    assert told(caught.value) == (
        f"compensate() takes the call of a step, got {shown}\n"
        f"  likely cause: the step is not called, or it is no step\n"
        f"  wrong:  compensate({right})\n"
        f"  right:  yield from compensate({right}(...))"
    )


def test_recorded_values_come_back_as_what_they_were():
    """What is produced is what every replay reads."""
    uuid, number = new_uuid().command, random_float().command

    assert isinstance(uuid, Record)
    assert uuid.name == "uuid"
    assert isinstance(uuid.decode(uuid.produce()), UUID)
    assert isinstance(number, Record)
    assert number.name == "random"
    assert 0 <= number.decode(number.produce()) < 1


def test_now_is_asked_of_the_store():
    """The command says nothing but how the answer is read."""
    command = now().command

    assert isinstance(command, Now)
    assert command.decode(b'"2026-01-01T12:00:00+00:00"') == NOON


def read_approval() -> Approval:
    return Approval("Ada")


def test_record_runs_a_function_by_its_annotation():
    """Without an annotation its value is JSON's own."""
    command, plain = record(read_approval).command, record(lambda: [1]).command

    assert isinstance(command, Record)
    assert command.name == "record"
    assert command.produce() == b'{"by":"Ada"}'
    assert command.decode(command.produce()) == Approval("Ada")
    assert isinstance(plain, Record)
    assert plain.decode(plain.produce()) == [1]
    with pytest.raises(EncodingError, match=r"^the result of object\(\) can't be stored as JSON: result is"):
        record(object).command.produce()  # type: ignore[union-attr]


def test_record_of_a_value_is_refused():
    """The function was called already."""
    with pytest.raises(TypeError) as caught:
        record(5)  # type: ignore[arg-type]

    assert told(caught.value) == (
        "record() takes a function without parameters, got 5\n"
        "  likely cause: it was called already, or it is an `async def`\n"
        "  wrong:  record(read_rate())\n"
        "  right:  record(read_rate)"
    )


@pytest.mark.parametrize(
    "verb",
    [
        gather,
        lambda: sleep(timedelta(1)),
        lambda: sleep_until(NOON),
        lambda: wait_signal("a"),
        lambda: compensate(None),  # type: ignore[arg-type]
        now,
        new_uuid,
        random_float,
        lambda: record(read_approval),
    ],
)
def test_a_verb_inside_a_step_is_refused(verb):
    """Nobody would yield it there."""
    with pytest.raises(MisuseError) as caught:
        call_inside(AnAttempt("charge"), verb)

    first, cause, remedy = str(caught.value).splitlines()
    assert "() was called inside the step 'charge', at " in first
    assert cause == "  likely cause: what belongs in the workflow's body was written in a step"
    assert remedy.startswith("  way out: verbs belong in a workflow's body")
