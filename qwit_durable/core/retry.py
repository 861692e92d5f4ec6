"""How often a step is tried and how long to wait in between: exact and pure.

The wait before attempt n+1 is `min(first * factor**(n-1), cap)`, or what the callable says. Nothing here sleeps: waits
are rows in the store.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta

import attrs

from qwit_durable.errors import DefinitionError, Failure, GiveUp, class_name

__all__ = ["Retry"]

_Delay = Callable[[int, Failure], timedelta]


def _classes(value: object) -> tuple[type[BaseException], ...]:
    found = value if isinstance(value, tuple) else (value,)
    for cls in found:
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            msg = f"Retry: give_up_on and retry_on take exception classes, got {cls!r}"
            raise DefinitionError(msg)
    return found


@attrs.frozen(kw_only=True)
class Retry:
    """How a step's failed attempts are repeated.

    Args:
        max_attempts: Executions in all, the first included; at least 1. `max_attempts=3` means three executions.
        first: The wait before attempt 2.
        factor: By how much each wait grows; at least 1.
        cap: The longest wait.
        give_up_on: Exception classes that fail the step at once.
        retry_on: Exception classes that are worth another attempt; all others fail the step at once.
        delay: Instead of first, factor and cap: a callable `(attempt, error) -> timedelta`, where `attempt` is the
            number of the attempt that has just failed, from 1, and `error` its recorded `Failure`.

    Raises:
        DefinitionError: A number is out of range.

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

    def __attrs_post_init__(self) -> None:
        wrong = (
            f"max_attempts is at least 1, got {self.max_attempts!r}"
            if self.max_attempts < 1
            else f"factor is at least 1, got {self.factor!r}"
            if not self.factor >= 1
            else "first and cap are not negative"
            if self.first < timedelta(0) or self.cap < timedelta(0)
            else None
        )
        if wrong:
            msg = f"Retry: {wrong}"
            raise DefinitionError(msg)

    def wait_after(self, attempt: int, failure: Failure) -> timedelta | None:
        """The wait before the attempt after `attempt`, or None when the step has failed for good."""
        if attempt >= self.max_attempts or failure.is_a(GiveUp):
            return None
        names = failure.lineage
        if any(class_name(cls) in names for cls in self.give_up_on):
            return None
        if not failure.outcome_unknown and not any(class_name(cls) in names for cls in self.retry_on):
            return None
        if self.delay is not None:
            return max(self.delay(attempt, failure), timedelta(0))
        exponent = attempt - 1
        if self.first and self.factor > 1 and exponent > math.log(max(self.cap / self.first, 1), self.factor) + 1:
            return self.cap
        return min(self.first * self.factor**exponent, self.cap)
