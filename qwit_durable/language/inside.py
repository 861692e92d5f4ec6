"""What is so where an attempt's code runs.

It runs in a context of its own, which ends with it however it ends. Nothing is taken back: an exception that strikes
the thread from outside, between any two instructions, could strike whatever takes it back.
"""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Protocol, TypeVar, TypeVarTuple, cast

from qwit_durable.core.building import InStep, Sink, enter, where

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwit_durable.language.context import StepContext
    from qwit_durable.language.current import Starter

__all__ = ["Inside", "attempt_here", "call_inside"]

P = TypeVarTuple("P")
T = TypeVar("T")


class Inside(InStep, Protocol):
    """An attempt, as code that runs in it sees it."""

    @property
    def context(self) -> StepContext:
        """What `current()` answers with: the same at each time."""
        ...

    @property
    def starter(self) -> Starter | None:
        """The `Durable` that a plain `checkout.start(...)` means."""
        ...


def attempt_here() -> Inside | None:
    """The attempt that runs in this context."""
    here = where()
    return None if here is None or isinstance(here, Sink) else cast("Inside", here)


def call_inside(attempt: Inside, call: Callable[[*P], T], *args: *P) -> T:
    """Call what an attempt runs.

    Building a call there is an error, and what is built is no part of a body that has led here. `current()` answers
    with the attempt's context. A plain `checkout.start(...)` means its own `Durable`, whatever is entered or installed.
    Context variables that are set there are set for this attempt alone.
    """
    context = copy_context()
    context.run(enter, attempt)
    return context.run(call, *args)
