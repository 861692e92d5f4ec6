"""What a running step can learn about its own attempt.

The engine enters a `StepContext` around every attempt; it follows the step into threads' contexts and coroutines.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

import attrs

from qwit_durable.errors import NotRunningError

__all__ = ["StepContext", "current", "entered"]


def _never() -> bool:
    return False


@attrs.frozen(kw_only=True)
class StepContext:
    """One attempt of one step.

    Attributes:
        run_id: The run that the step belongs to.
        step: The step's name.
        attempt: The number of this attempt; the first is 1.
        idempotency_key: A key for the outside world: the same for every attempt of this command.
    """

    run_id: str
    step: str
    attempt: int
    idempotency_key: str
    _asked_to_stop: Callable[[], bool] = attrs.field(
        default=_never, alias="asked_to_stop", eq=False, repr=False
    )

    @property
    def cancelled(self) -> bool:
        """Whether the run was asked to stop. A long step looks now and then and returns early; nothing kills it."""
        return self._asked_to_stop()


_current: ContextVar[StepContext | None] = ContextVar("qwit_step_context", default=None)


def current() -> StepContext:
    """Tell about the attempt that is running here.

    Returns:
        The context of the step's attempt.

    Raises:
        NotRunningError: No step runs here: this is a body, a test that calls `step.fn` itself, or a thread that the
            step started without its context.

    >>> @step
    ... def charge(cents: int) -> str:
    ...     return gateway.charge(cents, idempotency_key=current().idempotency_key)
    """
    context = _current.get()
    if context is None:
        msg = (
            "current() was called where no step runs\n"
            "  likely cause: it is in a workflow's body, or in a thread that the step started by itself\n"
            "  way out: call it in the step, or start the thread with contextvars.copy_context().run"
        )
        raise NotRunningError(msg)
    return context


@contextmanager
def entered(context: StepContext) -> Generator[None]:
    """Let `current()` answer with `context` in this block."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
