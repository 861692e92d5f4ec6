"""What is so where an attempt's code runs.

It runs in a context of its own, which ends with it however it ends. Nothing is taken back: an exception that strikes
the thread from outside, between any two instructions, could strike whatever takes it back.
"""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from qwit_durable.core.building import enter, enter_step
from qwit_durable.language.context import enter_attempt
from qwit_durable.language.current import mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwit_durable.language.context import HasContext
    from qwit_durable.language.current import Starter

__all__ = ["call_inside"]

P = ParamSpec("P")
T = TypeVar("T")


def call_inside(
    name: str,
    attempt: HasContext | None,
    starter: Starter | None,
    call: Callable[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Call what an attempt of the step of this name runs.

    Building a call there is an error, and what is built is no part of a body that has led here. `current()` answers
    with the attempt's context. A plain `checkout.start(...)` means its own `Durable`, whatever is entered or installed.
    Context variables that are set there are set for this attempt alone.
    """
    value: T = copy_context().run(_inside, name, attempt, starter, call, *args, **kwargs)
    return value


def _inside(
    name: str,
    attempt: HasContext | None,
    starter: Starter | None,
    call: Callable[..., Any],
    *args: Any,
    **kwargs: Any,
) -> Any:
    enter_step(name)
    enter(None)
    enter_attempt(attempt)
    mean(starter)
    return call(*args, **kwargs)
