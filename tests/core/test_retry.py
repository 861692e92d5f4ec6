"""How often a step is tried, and how long it waits in between: exactly."""

from __future__ import annotations

from datetime import timedelta

import pytest

from qwit_durable.core import Retry
from qwit_durable.errors import (
    AttemptLost,
    AttemptTimedOut,
    ChildFailed,
    DefinitionError,
    Failure,
    GiveUp,
    StepFailed,
)


class CardDeclined(Exception):
    pass


class Expired(CardDeclined):
    pass


BROKEN = Failure.of(ValueError("broken"))


def waits(retry: Retry, failure: Failure = BROKEN) -> list[float | None]:
    """Seconds before attempts 2, 3, … until there is none."""
    found: list[float | None] = []
    for attempt in range(1, retry.max_attempts + 1):
        wait = retry.wait_after(attempt, failure)
        found.append(None if wait is None else wait.total_seconds())
    return found


def s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


# -- the formula ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        (Retry(), [1, 2, 4, 8, None]),
        (Retry(max_attempts=1), [None]),
        (Retry(max_attempts=3), [1, 2, None]),
        (Retry(max_attempts=4, first=s(5)), [5, 10, 20, None]),
        (Retry(max_attempts=4, factor=3), [1, 3, 9, None]),
        (Retry(max_attempts=4, factor=1.5), [1, 1.5, 2.25, None]),
        (Retry(max_attempts=4, first=s(30), factor=1), [30, 30, 30, None]),
        (Retry(max_attempts=6, cap=s(5)), [1, 2, 4, 5, 5, None]),
        (Retry(max_attempts=3, first=s(9), cap=s(5)), [5, 5, None]),
        (Retry(max_attempts=3, first=s(0)), [0, 0, None]),
        (Retry(max_attempts=3, cap=s(0)), [0, 0, None]),
        (Retry(max_attempts=3, first=timedelta(microseconds=1), factor=10), [1e-06, 1e-05, None]),
    ],
)
def test_waits_follow_the_formula(retry, expected):
    """The wait before attempt n+1 is min(first * factor**(n-1), cap), to the microsecond."""
    found = waits(retry)

    assert found == expected


def test_default_is_five_attempts():
    """Without a word there are five executions in all, with 15 seconds of waits between them."""
    found = waits(Retry())

    assert len(found) == 5
    assert sum(filter(None, found)) == 15


def test_cap_is_reached_exactly_and_kept():
    """A day is the default cap: the wait grows up to it and stays there."""
    retry = Retry(max_attempts=100)

    found = [retry.wait_after(attempt, BROKEN) for attempt in (17, 18, 19, 99)]

    assert found == [s(2**16), timedelta(days=1), timedelta(days=1), timedelta(days=1)]


@pytest.mark.parametrize(
    "retry",
    [
        Retry(max_attempts=10**12),
        Retry(max_attempts=10**12, first=timedelta(0)),
        Retry(max_attempts=10**12, factor=1),
        Retry(max_attempts=10**12, factor=1.0000001),
        Retry(max_attempts=10**12, factor=1e300),
        Retry(max_attempts=10**12, cap=timedelta.max),
        Retry(max_attempts=10**12, first=timedelta.max, cap=timedelta.max),
        Retry(max_attempts=10**12, cap=timedelta(0)),
    ],
)
@pytest.mark.parametrize("attempt", [1, 2, 1_000, 5_000, 10**6, 10**11])
def test_huge_attempt_numbers_do_not_overflow(retry, attempt):
    """Whatever the numbers, the wait is a duration that can be added to a date: at most a hundred years."""
    wait = retry.wait_after(attempt, BROKEN)

    assert wait is not None
    assert timedelta(0) <= wait <= timedelta(days=36_500)
    assert wait <= max(retry.cap, timedelta(0))


def test_waits_never_shrink():
    """From attempt to attempt the wait grows or stays."""
    retry = Retry(max_attempts=300, first=timedelta(milliseconds=1), factor=1.1)

    found = [retry.wait_after(attempt, BROKEN) for attempt in range(1, 300)]

    assert found == sorted(found, key=lambda wait: wait or timedelta(0))


# -- which errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry", "error", "again"),
    [
        (Retry(), ValueError(), True),
        (Retry(), GiveUp("enough"), False),
        (Retry(give_up_on=(CardDeclined,)), CardDeclined(), False),
        (Retry(give_up_on=(CardDeclined,)), Expired(), False),
        (Retry(give_up_on=(Expired,)), CardDeclined(), True),
        (Retry(give_up_on=CardDeclined), CardDeclined(), False),
        (Retry(give_up_on=(OSError, CardDeclined)), ConnectionError(), False),
        (Retry(retry_on=(OSError,)), ConnectionError(), True),
        (Retry(retry_on=(OSError,)), ValueError(), False),
        (Retry(retry_on=OSError), ValueError(), False),
        (Retry(retry_on=(CardDeclined,), give_up_on=(Expired,)), CardDeclined(), True),
        (Retry(retry_on=(CardDeclined,), give_up_on=(Expired,)), Expired(), False),
        (Retry(retry_on=()), ValueError(), False),
    ],
)
def test_error_decides_whether_there_is_another_attempt(retry, error, again):
    """`GiveUp` and `give_up_on` end the step at once, `retry_on` says what is worth repeating; bases count."""
    wait = retry.wait_after(1, Failure.of(error))

    assert (wait is not None) is again


@pytest.mark.parametrize("error", [AttemptLost("died"), AttemptTimedOut("slow")])
def test_unknown_outcome_is_repeated_whatever_is_worth_repeating(error):
    """An attempt that was lost or timed out is repeated even where `retry_on` names other errors alone."""
    retry = Retry(retry_on=(CardDeclined,))

    wait = retry.wait_after(1, Failure.of(error))

    assert wait == s(1)


def test_unknown_outcome_counts_as_an_attempt():
    """A lost attempt uses up one of those there are."""
    retry = Retry(max_attempts=2)

    wait = retry.wait_after(2, Failure.of(AttemptLost("died")))

    assert wait is None


def test_unknown_outcome_can_be_given_up_on():
    """Where doing it twice is worse than not knowing, a lost attempt is the last one."""
    retry = Retry(give_up_on=(AttemptLost, AttemptTimedOut))

    found = [retry.wait_after(1, Failure.of(kind("x"))) for kind in (AttemptLost, AttemptTimedOut)]

    assert found == [None, None]


def test_recorded_names_decide_not_loaded_classes():
    """An error of a class that no longer exists is judged by the names that were recorded."""
    gone = Failure(
        type="Gone", message="", lineage=("old.module.Gone", "OSError", "Exception", "BaseException")
    )

    found = Retry(retry_on=(OSError,)).wait_after(1, gone), Retry(retry_on=(ValueError,)).wait_after(1, gone)

    assert found == (s(1), None)


def test_wrapped_error_is_not_what_the_step_raised():
    """A step that passes on another run's failure is judged by what it raised itself."""
    wrapped = Failure.of(StepFailed("inner", Failure.of(CardDeclined())))

    found = Retry(give_up_on=(CardDeclined,)).wait_after(1, wrapped)

    assert found == s(1)


def test_give_up_inside_what_a_step_passes_on_counts():
    """A step that fails with the failure of a run that gave up gives up too."""
    wrapped = Failure.of(ChildFailed("inner", Failure.of(GiveUp("enough"))))

    found = Retry().wait_after(1, wrapped)

    assert found is None


# -- a callable ----------------------------------------------------------------------------------------------------


def test_callable_is_asked_with_the_attempt_and_its_failure():
    """Instead of the formula a callable says how long to wait, told which attempt failed and how."""
    asked = []

    def delay(attempt, error):
        asked.append((attempt, error))
        return s(attempt * 10)

    found = waits(Retry(max_attempts=3, delay=delay, cap=s(1)))

    assert found == [10, 20, None]
    assert asked == [(1, BROKEN), (2, BROKEN)]


@pytest.mark.parametrize(
    ("answer", "wait"),
    [(s(-5), s(0)), (s(0), s(0)), (timedelta.max, timedelta(days=36_500)), (timedelta.min, s(0))],
)
def test_answer_of_a_callable_is_kept_within_bounds(answer, wait):
    """A negative wait is none, and a hundred years are enough."""
    retry = Retry(delay=lambda *_: answer)

    found = retry.wait_after(1, BROKEN)

    assert found == wait


@pytest.mark.parametrize(
    ("delay", "said"),
    [
        (lambda *_: 5, "answered 5, which is no timedelta"),
        (lambda *_: None, "answered None, which is no timedelta"),
        (lambda: s(1), "raised TypeError: "),
    ],
)
def test_broken_callable_says_so(delay, said):
    """A callable that raises or answers something else is a mistake of the definition, told as such."""
    retry = Retry(delay=delay)

    with pytest.raises(DefinitionError, match=r"^Retry: the callable <function ") as caught:
        retry.wait_after(1, BROKEN)

    assert said in str(caught.value)


def test_formula_stands_in_for_a_broken_callable():
    """Without its callable a Retry waits by its formula: what the engine falls back on."""
    retry = Retry(max_attempts=3, first=s(7), delay=lambda *_: None)

    found = waits(retry.without_delay())

    assert found == [7, 14, None]


# -- definitions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_attempts": 0}, "Retry: max_attempts is a whole number, at least 1, got 0"),
        ({"max_attempts": 2.5}, "Retry: max_attempts is a whole number, at least 1, got 2.5"),
        ({"max_attempts": True}, "Retry: max_attempts is a whole number, at least 1, got True"),
        ({"max_attempts": None}, "Retry: max_attempts is a whole number, at least 1, got None"),
        ({"factor": 0.5}, "Retry: factor is a number, at least 1, got 0.5"),
        ({"factor": float("nan")}, "Retry: factor is a number, at least 1, got nan"),
        ({"factor": float("inf")}, "Retry: factor is a number, at least 1, got inf"),
        ({"factor": "2"}, "Retry: factor is a number, at least 1, got '2'"),
        ({"first": s(-1)}, "Retry: first is not negative, got -1 day, 23:59:59"),
        ({"cap": s(-1)}, "Retry: cap is not negative, got -1 day, 23:59:59"),
        (
            {"first": 5},
            "Retry: first is a timedelta, got 5\n  right:  Retry(first=timedelta(seconds=5))",
        ),
        (
            {"cap": "1h"},
            "Retry: cap is a timedelta, got '1h'\n  right:  Retry(cap=timedelta(seconds=...))",
        ),
        ({"delay": s(1)}, f"Retry: delay is a callable (attempt, error) -> timedelta, got {s(1)!r}"),
        (
            {"give_up_on": ("CardDeclined",)},
            "Retry: give_up_on and retry_on take exception classes, got 'CardDeclined'",
        ),
        ({"retry_on": (int,)}, "Retry: give_up_on and retry_on take exception classes, got <class 'int'>"),
    ],
)
def test_wrong_option_is_refused_where_it_is_written(options, message):
    """A number out of range, a bare number for a duration, or a class that is none is refused with the right form."""
    with pytest.raises(DefinitionError) as caught:
        Retry(**options)

    assert str(caught.value).startswith(message)


def test_one_class_may_be_given_without_a_tuple():
    """`give_up_on=CardDeclined` is `give_up_on=(CardDeclined,)`."""
    retry = Retry(give_up_on=CardDeclined, retry_on=OSError)

    assert retry == Retry(give_up_on=(CardDeclined,), retry_on=(OSError,))
