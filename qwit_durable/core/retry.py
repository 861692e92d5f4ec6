"""How often a step is tried and how long to wait in between: exact and pure.

The wait before attempt n+1 is `min(first * factor**(n-1), cap)`, or what the callable says. Nothing here sleeps: waits
are rows in the store.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import attrs

from qwit_durable.errors import DefinitionError, Failure, GiveUp, class_name, describe

__all__ = ["RecordedRetry", "Retry"]

_Delay = Callable[[int, Failure], timedelta]
_NOTHING = timedelta(0)

#: No wait is longer: dates far beyond it can't be stored.
_LONGEST = timedelta(days=365 * 100)


def _classes(value: object) -> tuple[type[BaseException], ...]:
    found = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
    for cls in found:
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            msg = (
                f"Retry: give_up_on and retry_on take exception classes, got {cls!r}\n"
                f"  right:  Retry(give_up_on=(CardDeclined,))"
            )
            raise DefinitionError(msg)
    return cast("tuple[type[BaseException], ...]", found)


#: (max_attempts, first, factor, cap, names of give_up_on, names of retry_on, whether the wait is the step's callable)
RecordedRetry = tuple[int, timedelta, float, timedelta, tuple[str, ...], tuple[str, ...], bool]


@attrs.frozen(kw_only=True)
class Retry:
    """How a step's failed attempts are repeated.

    Args:
        max_attempts: Executions in all, the first included; at least 1. `max_attempts=3` means three executions.
        first: The wait before attempt 2.
        factor: By how much each wait grows; at least 1.
        cap: The longest wait. A hundred years is the longest of all.
        give_up_on: Exception classes that fail the step at once.
        retry_on: Exception classes that are worth another attempt; all others fail the step at once. An attempt that
            timed out or lost its worker is worth another one in any case.
        delay: Instead of first, factor and cap: a callable `(attempt, error) -> timedelta`, where `attempt` is the
            number of the attempt that has just failed, from 1, and `error` its recorded `Failure`.

    Raises:
        DefinitionError: A number is out of range, or a duration is no `timedelta`.

    >>> Retry(max_attempts=3).wait_after(2, failure) == timedelta(seconds=2)
    True
    """

    max_attempts: int = 5
    first: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    cap: timedelta = timedelta(hours=24)
    give_up_on: tuple[type[BaseException], ...] = attrs.field(default=(), converter=_classes)
    retry_on: tuple[type[BaseException], ...] = attrs.field(default=(Exception,), converter=_classes)
    delay: _Delay | None = None
    _names: tuple[tuple[str, ...], tuple[str, ...]] | None = attrs.field(
        default=None, alias="names", kw_only=True, repr=False
    )

    def __attrs_post_init__(self) -> None:
        wrong = _wrong_number(self.max_attempts, self.factor)
        for name, value in (("first", self.first), ("cap", self.cap)):
            wrong = wrong or _wrong_duration(name, value)
        wrong = wrong or _wrong_delay(self.delay)
        if wrong:
            msg = f"Retry: {wrong}"
            raise DefinitionError(msg)

    def wait_after(self, attempt: int, failure: Failure) -> timedelta | None:
        """The wait before the attempt after `attempt`, or None when the step has failed for good.

        Raises:
            DefinitionError: The callable `delay` raised, or answered something else than a `timedelta`.
        """
        if attempt >= self.max_attempts or failure.is_a(GiveUp):
            return None
        give_up_on, retry_on = self._names or self._class_names()
        if any(name in give_up_on for name in failure.lineage):
            return None
        if not failure.outcome_unknown and not any(name in retry_on for name in failure.lineage):
            return None
        wait = self._formula(attempt) if self.delay is None else _asked(self.delay, attempt, failure)
        return min(max(wait, _NOTHING), _LONGEST)

    def recorded(self) -> RecordedRetry:
        """The same as data, with classes by their names: what travels with a task.

        A callable `delay` does not: it can only be the step's own, which every worker has.
        """
        give_up_on, retry_on = self._names or self._class_names()
        by_callable = self.delay is not None
        return self.max_attempts, self.first, self.factor, self.cap, give_up_on, retry_on, by_callable

    @classmethod
    def of_recorded(cls, recorded: RecordedRetry, delay: _Delay | None) -> Retry:
        """What `recorded` gave, made a Retry again without loading a class; `delay` is the step's callable."""
        max_attempts, first, factor, cap, give_up_on, retry_on, by_callable = recorded
        return cls(
            max_attempts=max_attempts,
            first=first,
            factor=factor,
            cap=cap,
            delay=delay if by_callable else None,
            names=(give_up_on, retry_on),
        )

    def _class_names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return tuple(map(class_name, self.give_up_on)), tuple(map(class_name, self.retry_on))

    def without_delay(self) -> Retry:
        """The same with the formula in place of the callable: what holds where the callable is broken."""
        return attrs.evolve(self, delay=None)

    def _formula(self, attempt: int) -> timedelta:
        if not self.first:
            return _NOTHING
        try:
            return min(self.first * float(self.factor) ** (attempt - 1), self.cap)
        except OverflowError:
            return self.cap


def _wrong_number(max_attempts: Any, factor: Any) -> str | None:
    if not isinstance(max_attempts, int) or isinstance(max_attempts, bool) or max_attempts < 1:
        return (
            f"max_attempts is a whole number, at least 1, got {describe(max_attempts)}\n"
            f"  likely cause: it was taken for the number of repetitions; it counts the first attempt, too\n"
            f"  right:  Retry(max_attempts=1) makes one attempt and no more"
        )
    if not isinstance(factor, (int, float)) or not 1 <= factor <= sys.float_info.max:
        return (
            f"factor is a number, at least 1, got {describe(factor)}\n"
            f"  likely cause: waits that shrink were meant, but waits grow, or stay equal with factor=1\n"
            f"  way out: a callable of your own, as Retry(delay=...)"
        )
    return None


def _wrong_duration(name: str, value: Any) -> str | None:
    if isinstance(value, timedelta):
        return f"{name} is not negative, got {value}" if value < _NOTHING else None
    unit = value if isinstance(value, (int, float)) and not isinstance(value, bool) else "..."
    return f"{name} is a timedelta, got {describe(value)}\n  right:  Retry({name}=timedelta(seconds={unit}))"


def _wrong_delay(delay: Any) -> str | None:
    if delay is None or callable(delay):
        return None
    return (
        f"delay is a callable (attempt, error) -> timedelta, got {describe(delay)}\n"
        f"  likely cause: one wait for all attempts was meant\n"
        f"  right:  Retry(first=timedelta(seconds=5), factor=1)"
    )


def _asked(delay: _Delay, attempt: int, failure: Failure) -> timedelta:
    try:
        wait: Any = delay(attempt, failure)
    except Exception as error:
        msg = f"Retry: the callable {describe(delay)} raised {type(error).__name__}: {error}"
        raise DefinitionError(msg) from error
    if not isinstance(wait, timedelta):
        msg = f"Retry: the callable {describe(delay)} answered {describe(wait)}, which is no timedelta"
        raise DefinitionError(msg)
    return wait
