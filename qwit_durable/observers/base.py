"""Observers: told of committed facts, in order, unable to change anything.

`Observers` fans a fact out to all of them; an error in one is logged and the run goes on. Replay tells nobody: only the
engine speaks, after a commit. `step_starting` and `undo_starting` are told when everything the attempt rests on is
durable, in the thread that runs it; `around_attempt` is entered around the user's code there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from qwit_durable.core import Cause, Status
from qwit_durable.errors import Failure

if TYPE_CHECKING:
    from qwit_durable.stores.rows import RunRow

__all__ = ["AttemptInfo", "EndInfo", "Observer", "Observers"]

_logger = logging.getLogger("qwit_durable.observers")


@attrs.frozen(kw_only=True)
class AttemptInfo:
    """One attempt of a step or of an undo.

    Attributes:
        position: The command's place; an undo's begins with `~`.
        attempt: Its number; 0 of a step that a guard did not let begin.
        generation: How often the body had been restarted.
        started_at: The store's time at which it began.
        ended_at: None while it runs.
        failure: Why it failed, or None.
        retry_at: When the next attempt is due, if there is one.
        awaits: Of an undo that is not done yet: the name of the signal with which it goes on.
        undoes: Of the undo of a step: the number of the step's attempt whose effect it undoes. None for a step, and for
            a call that was handed to `compensate()`.
    """

    run: RunRow
    step: str
    position: str
    attempt: int
    queue: str
    inline: bool
    started_at: datetime
    ended_at: datetime | None = None
    failure: Failure | None = None
    retry_at: datetime | None = None
    undoes: int | None = None
    awaits: str | None = None
    generation: int = 0

    @property
    def is_undo(self) -> bool:
        """Whether this is the attempt of an undo."""
        return self.position.startswith("~")


@attrs.frozen(kw_only=True)
class EndInfo:
    """How a run ended.

    `reopened` tells that it is a sub-workflow that had completed before, and has now undone what it did.
    """

    run: RunRow
    status: Status
    ended_at: datetime
    failure: Failure | None = None
    undone: tuple[str, ...] = ()
    reopened: bool = False


class Observer:
    """Override what you want to hear of. Every hook does nothing by default.

    >>> from qwit_durable.observers import EndInfo
    >>> class Bell(Observer):
    ...     def run_finished(self, end: EndInfo) -> None:
    ...         print(end.run.key, end.status.value)
    >>> durable = Durable("memory://", observers=[Bell()])
    """

    def run_started(self, run: RunRow) -> None:
        """A run, or a sub-workflow, is stored."""

    def step_starting(self, attempt: AttemptInfo) -> None:
        """An attempt of a step is about to run, in this thread."""

    def step_finished(self, attempt: AttemptInfo) -> None:
        """An attempt of a step is recorded: completed, failed, or failed with another one due."""

    def unwinding(self, run: RunRow, cause: Cause, plan: Sequence[str]) -> None:
        """The plan of owed undos is recorded: names of the steps, newest first."""

    def undo_starting(self, attempt: AttemptInfo) -> None:
        """An attempt of an undo is about to run, in this thread."""

    def undo_finished(self, attempt: AttemptInfo) -> None:
        """An attempt of an undo is recorded."""

    def run_finished(self, end: EndInfo) -> None:
        """A run has ended."""

    def around_attempt(self, attempt: AttemptInfo) -> AbstractContextManager[None]:
        """Entered in the attempt's thread around the user's code; what it raises is logged, not passed on."""
        _ = attempt
        return nullcontext()


class Observers:
    """Tells every observer, in the order in which they were given.

    Attributes:
        listen: Whether there are any: what is made for them alone is left out where there are none.
    """

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._observers = tuple(observers)
        self.listen = bool(self._observers)

    def trace_for_start(self, workflow: str, key: str) -> str | None:
        """The trace context that a new run belongs to, from the first observer that keeps one."""
        for observer in self._observers:
            begin: Callable[[str, str], str | None] | None = getattr(observer, "trace_for_start", None)
            if begin is not None:
                return begin(workflow, key)
        return None

    def tell(self, hook: str, *facts: object) -> None:
        """Call one hook of every observer."""
        for observer in self._observers:
            try:
                getattr(observer, hook)(*facts)
            except Exception:
                _logger.exception("observer %r failed in %s; the run goes on", observer, hook)

    def attempt_starting(self, attempt: AttemptInfo) -> None:
        """An attempt of either sort is about to run."""
        if self._observers:
            self.tell("undo_starting" if attempt.is_undo else "step_starting", attempt)

    def attempt_finished(self, attempt: AttemptInfo, **ended: Any) -> None:
        """An attempt of either sort is recorded. `ended`: what of it has changed since it began."""
        if self._observers:
            told = attrs.evolve(attempt, **ended)
            self.tell("undo_finished" if attempt.is_undo else "step_finished", told)

    @contextmanager
    def around(self, attempt: AttemptInfo) -> Generator[None]:
        """All observers' `around_attempt`, none of which can break the attempt."""
        with ExitStack() as stack:
            for observer in self._observers:
                try:
                    stack.enter_context(_harmless(observer, observer.around_attempt(attempt)))
                except Exception:
                    _logger.exception("observer %r failed around an attempt; the run goes on", observer)
            yield


@contextmanager
def _harmless(observer: Observer, manager: AbstractContextManager[None]) -> Generator[None]:
    manager.__enter__()
    try:
        yield
    finally:
        try:
            manager.__exit__(None, None, None)
        except Exception:
            _logger.exception("observer %r failed around an attempt; the run goes on", observer)
