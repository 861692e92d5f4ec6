"""`Failure`: an error as data, and how values and classes are named in messages."""

from __future__ import annotations

import builtins
import traceback as _traceback
from typing import Any

import attrs

__all__ = ["Failure", "class_name", "describe"]

_TRACEBACK_LIMIT_CHARS = 8_000


def class_name(cls: type) -> str:
    """The name under which an exception class is recorded: `module.qualname`, bare for builtins."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


@attrs.frozen(kw_only=True)
class Failure:
    """An error as it is recorded: the same on the first run and on every replay.

    Attributes:
        type: The class's bare name, for example `CardDeclined`.
        message: `str()` of the exception.
        traceback: The formatted traceback, trimmed to the last 8,000 characters; empty when there was none.
        lineage: Recorded names of the class and all its bases, most special first; `is_a` reads it.
        outcome_unknown: True when the attempt may have had its effect all the same: it timed out, or its worker died.
        cause: What this failure wraps: the step's failure inside a `StepFailed`.
        by_deadline: True when it was a step's last attempt because its `deadline` left no time for another one.

    >>> try:
    ...     yield from decline(order.id)
    ... except StepFailed as failed:
    ...     found = failed.error
    >>> found.is_a(GiveUp), str(found)
    (True, 'GiveUp: the card for order-17 was declined')
    """

    type: str
    message: str
    traceback: str = attrs.field(default="", eq=False, repr=False)
    lineage: tuple[str, ...] = ()
    outcome_unknown: bool = False
    cause: Failure | None = None
    by_deadline: bool = False

    @classmethod
    def of(cls, error: BaseException, *, outcome_unknown: bool = False) -> Failure:
        """Take down `error` as data."""
        wrapped = getattr(error, "error", None)  # a StepFailed's and a ChildFailed's
        text = "".join(_traceback.format_exception(type(error), error, error.__traceback__))
        return cls(
            type=type(error).__name__,
            message=_text_of(error),
            traceback=text[-_TRACEBACK_LIMIT_CHARS:],
            lineage=tuple(class_name(base) for base in type(error).__mro__ if base is not object),
            outcome_unknown=outcome_unknown or bool(getattr(error, "outcome_unknown", False)),
            cause=wrapped if isinstance(wrapped, Failure) else None,
        )

    def is_a(self, cls: builtins.type[BaseException]) -> bool:
        """Tell whether the recorded error, or what it wraps, was an instance of `cls`.

        Asked by recorded names: no class is loaded to answer.
        """
        return class_name(cls) in self.lineage or (self.cause is not None and self.cause.is_a(cls))

    @property
    def root(self) -> Failure:
        """The innermost cause: what first went wrong."""
        return self if self.cause is None else self.cause.root

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


def _text_of(error: BaseException) -> str:
    """`str()` of an exception of the user's, which must not stand in the way of its own record."""
    try:
        return str(error)
    except Exception as second:  # noqa: BLE001 - whatever it is
        return f"(its str() raised {type(second).__name__})"


def describe(value: Any, *, limit: int = 80) -> str:
    """A short `repr` for messages."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
