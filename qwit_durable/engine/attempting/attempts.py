"""One attempt: the user's code, run with everything around it, and how it ended as data.

Shared by inline and queued attempts. Nothing is written here. An attempt ends as `Value` or `Failure`; what interrupts
a thread from outside (a time limit, a shutdown) ends it as a failure whose outcome is unknown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from types import CoroutineType
from typing import Any, Protocol, cast
from uuid import UUID

import attrs

from qwit_durable.codec import check_size
from qwit_durable.core import AS_DEFINED, CallStep, Retry, Settings, Undo, Value
from qwit_durable.core.facts import fact
from qwit_durable.engine.attempting.guarding import Refusal, after_step
from qwit_durable.engine.attempting.watchdog import Abandoned, Attempt, Interrupted, Watchdog
from qwit_durable.engine.holding import Holding
from qwit_durable.engine.ports import Services
from qwit_durable.errors import AttemptTimedOut, DefinitionError, EncodingError, Failure, MisuseError
from qwit_durable.errors.interrupt import is_ctrl_c
from qwit_durable.language.inside import Inside, call_inside
from qwit_durable.language.pending import Pending
from qwit_durable.observers.base import AttemptInfo
from qwit_durable.registry import StepLike
from qwit_durable.stores.rows import TaskSpec

__all__ = ["Attempts", "Left", "Underway", "Work", "what_follows"]

_logger = logging.getLogger("qwit_durable.attempts")
_NOTHING = object()


@fact
class Left:
    """The code has returned and left the attempt open for completion from outside."""


class Underway(Inside, Protocol):
    """An attempt that is being made. Most are never asked for any of this, so it may be made when it is."""

    @property
    def info(self) -> AttemptInfo:
        """What observers are told of it."""
        ...

    @property
    def token(self) -> str | None:
        """Its token, once it was asked for."""
        ...

    def beats_on(self, beat: Callable[[], None]) -> None:
        """Call this at every report of progress."""
        ...


@fact(kw_only=True)
class Work:
    """What an attempt runs: the step's function or its undo, and under which settings."""

    step: StepLike
    call: Callable[[], Any]
    settings: Settings
    args: bytes
    is_undo: bool = False

    @classmethod
    def of_command(
        cls, step: StepLike, command: CallStep | Undo, cause: Failure | None, given: bytes | None = None
    ) -> Work:
        """The work of an inline command.

        `cause` is why the run is unwound, for an undo; `given` the arguments that guards put in place of its own.
        """
        if isinstance(command, Undo):
            return cls._undo(step, command, cause)
        settings = step.settings if command.settings is AS_DEFINED else command.settings
        args = command.args if given is None else given
        return cls(step=step, call=step.bind(args), settings=settings, args=args)

    @classmethod
    def of_task(cls, step: StepLike, spec: TaskSpec) -> Work:
        """The work of a queued task: what the task says, where it says something, else what the step says."""
        if spec.failure is not None:
            return cls._undo(step, spec, spec.failure)
        settings = step.settings
        if spec.retry is not None:
            retry = Retry.of_recorded(spec.retry, settings.retry.delay)
            settings = attrs.evolve(
                settings,
                retry=retry,
                timeout=spec.timeout,
                deadline=spec.deadline,
                heartbeat=spec.heartbeat,
                transactional=spec.transactional,
            )
        args = spec.args if spec.given is None else spec.given
        return cls(step=step, call=step.bind(args), settings=settings, args=args)

    @classmethod
    def _undo(cls, step: StepLike, owed: Undo | TaskSpec, cause: Failure | None) -> Work:
        definition = step.undo_definition
        if definition is None:
            message = (
                f"step {step.name!r} owes an undo and today's code has none\n"
                f"  way out: deploy the undo, then retry; or skip"
            )
            raise MisuseError(message)
        failure = cause or Failure(type="Unwound", message="the run is unwound")
        return cls(
            step=step,
            call=step.bind_undo(owed.args, owed.result, failure, owed.resumes),
            settings=definition.settings,
            args=owed.args,
            is_undo=True,
        )


def what_follows(
    work: Work, attempt: int, failure: Failure, *, now: datetime, began_at: datetime
) -> tuple[timedelta | None, Failure]:
    """The wait before the next attempt, and the failure to be recorded.

    None if there is no next attempt: they are used up, given up, pointless, or there is no time: the failure says so.
    """
    if isinstance(failure, Refusal):
        return None, failure
    if any(failure.is_a(kind) for kind in (EncodingError, DefinitionError, MisuseError)):
        return None, failure
    try:
        delay = work.settings.retry.wait_after(attempt, failure)
    except DefinitionError as error:
        _logger.warning("step %r waits by the formula of its Retry: %s", work.step.name, error)
        delay = work.settings.retry.without_delay().wait_after(attempt, failure)
    deadline = work.settings.deadline
    if delay is not None and deadline is not None and now + delay - began_at >= deadline:
        return None, attrs.evolve(failure, by_deadline=True)
    return delay, failure


class Attempts:
    """Runs attempts in the calling thread.

    Attributes:
        making: The tasks whose attempts this process makes.
    """

    def __init__(self, services: Services) -> None:
        self.making: Holding[tuple[UUID, str]] = Holding()
        self._services = services
        self._watchdog = Watchdog()

    def stop(self) -> None:
        """End the watchdog."""
        self._watchdog.stop()

    def run(
        self,
        work: Work,
        attempt: Underway,
        *,
        began_at: datetime | None,
        on_abandon: Callable[[Failure], None],
    ) -> Value | Failure | Left:
        """Run one attempt to its end. `began_at` is when the first one began, if this is another.

        Raises:
            Abandoned: The attempt took too long in code that can't be interrupted and was recorded by `on_abandon`.
        """
        settings = work.settings
        heartbeat = settings.heartbeat
        if settings.timeout is None and settings.deadline is None and heartbeat is None:
            return self._call(work, attempt)
        info = attempt.info
        timeout = self._timeout(work, info, began_at or info.started_at)
        if timeout is not None and timeout <= timedelta(0):
            return _timed_out(work, "its deadline had passed before the attempt began")

        def late() -> Failure:
            if watched.silent:
                return _timed_out(work, f"attempt {info.attempt} reported no progress for {heartbeat}")
            return _timed_out(work, f"attempt {info.attempt} took longer than {timeout}")

        watched = Attempt(lambda: on_abandon(late()), timeout=timeout, heartbeat=heartbeat)
        attempt.beats_on(watched.beat)
        try:
            try:
                outcome = self._call(work, attempt, watched)
            finally:
                # Once more: what had struck the code may have struck that, too.
                watched.finish()
        except Interrupted:
            outcome = late()
        if watched.abandoned:
            raise Abandoned
        return late() if watched.timed_out else outcome

    def _timeout(self, work: Work, info: AttemptInfo, began_at: datetime) -> timedelta | None:
        bounds = [] if work.settings.timeout is None else [work.settings.timeout]
        if work.settings.deadline is not None:
            bounds.append(work.settings.deadline - (info.started_at - began_at))
        return min(bounds, default=None)

    @contextmanager
    def _around(self, info: AttemptInfo) -> Generator[None]:
        """What users have put around attempts."""
        with ExitStack() as stack:
            stack.enter_context(self._services.observers.around(info))
            for factory in self._services.around_step:
                stack.enter_context(factory(info))
            yield

    def _call(self, work: Work, attempt: Underway, watched: Attempt | None = None) -> Value | Failure | Left:
        services = self._services
        try:
            if services.around_step or services.observers.listen:
                value = call_inside(attempt, self._enclosed, work, watched, attempt.info)
            else:
                value = call_inside(attempt, self._made, work, watched)
        except Exception as error:  # noqa: BLE001 - the step's failure is a fact to record
            return Failure.of(error)
        except (
            BaseException
        ) as error:  # an interrupt from outside, such as Dramatiq's, or something of the code's own
            if isinstance(error, Interrupted) or is_ctrl_c(error):
                raise
            number = attempt.info.attempt
            _logger.warning("attempt %d of step %r was interrupted: %r", number, work.step.name, error)
            return Failure.of(error, outcome_unknown=True)
        if isinstance(value, Pending):
            return _left(work, value, attempt)
        try:
            if work.is_undo:
                return work.step.undone(value)
            data = work.step.encode_result(value)
            if len(data) > services.settings.limit_bytes:
                check_size(data, f"the result of step {work.step.name!r}", services.settings.limit_bytes)
        except (EncodingError, DefinitionError) as error:
            return Failure.of(error, outcome_unknown=True)
        return after_step(services, work, attempt.info, data) if services.guards else Value(data)

    def _enclosed(self, work: Work, watched: Attempt | None, info: AttemptInfo) -> Any:
        value: Any = _NOTHING
        with self._around(info):
            value = self._made(work, watched)
        if value is not _NOTHING:
            return value
        msg = f"a context manager around step {info.step!r} swallowed the step's exception"
        raise MisuseError(msg)

    def _made(self, work: Work, watched: Attempt | None) -> Any:
        """Run the user's code. It alone is interrupted at a timeout: neither what is around it nor what follows."""
        try:
            if watched is not None:
                self._watchdog.watch(watched)
            value = work.call()
            return self._services.run_coroutine(cast("Any", value)) if type(value) is CoroutineType else value
        finally:
            if watched is not None:
                watched.finish()


def _left(work: Work, value: Pending, attempt: Underway) -> Left | Failure:
    if value.token == attempt.token:
        return Left()
    msg = (
        f"step {work.step.name!r} returned what pending() had given another attempt or another step\n"
        f"  right:  p = pending(); hand_over(p.token); return p"
    )
    return Failure.of(MisuseError(msg))


def _timed_out(work: Work, text: str) -> Failure:
    return Failure.of(AttemptTimedOut(f"step {work.step.name!r}: {text}"))
