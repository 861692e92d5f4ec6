"""Attempts of queued steps: claimed, run inside the step's Dramatiq actor, and recorded by whoever still owns them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from uuid import UUID

import attrs

from qwit_durable.core import AttemptFailed, Kind, Resolved, Value
from qwit_durable.engine.attempts import Attempts, Work, retry_delay
from qwit_durable.engine.holding import Holding
from qwit_durable.engine.ports import Services
from qwit_durable.engine.turns import Turns
from qwit_durable.engine.watchdog import Abandoned
from qwit_durable.errors import AttemptLost, Failure, MisuseError, UnknownName
from qwit_durable.ids import idempotency_key
from qwit_durable.language.context import StepContext
from qwit_durable.observers.base import AttemptInfo
from qwit_durable.stores.answers import Accepted, Claimed
from qwit_durable.stores.rows import TURN, Ring, TaskSpec
from qwit_durable.stores.writes import Claim, FailTask, ResolveTask

__all__ = ["QueuedAttempts"]

_logger = logging.getLogger("qwit_durable.queued")


class QueuedAttempts:
    """Makes attempts of tasks in the calling thread, then goes on with the run if it is due."""

    def __init__(self, services: Services, attempts: Attempts, turns: Turns) -> None:
        self._services = services
        self._attempts = attempts
        self._turns = turns
        self._making: Holding[tuple[UUID, str]] = Holding()

    @property
    def making(self) -> frozenset[tuple[UUID, str]]:
        """The tasks that threads of this process work on, or are about to."""
        return self._making.keys()

    def make(self, run_id: UUID, position: str, name: str) -> None:
        """Make the next attempt of a task, if it is due and free; then go on with its run, if that is due."""
        key = (run_id, position)
        token = self._making.take(key)
        if token is None:
            return
        try:
            rings = self._make(run_id, position, name, lambda: self._making.give_back(key, token))
        finally:
            self._making.give_back(key, token)
        for ring in rings:
            services = self._services
            if (
                ring.position == TURN
                and not services.draining.is_set()
                and services.bells.consumes(ring.queue)
            ):
                self._turns.drive(ring.run_id)
            else:
                services.bells.ring([ring])

    def _make(self, run_id: UUID, position: str, name: str, give_back: Callable[[], None]) -> Sequence[Ring]:
        services = self._services
        try:
            step = services.registry.step(name)
        except UnknownName as error:
            _logger.warning("step %r of run %s is left to other workers: %s", name, run_id, error)
            return ()
        claimed = services.committer.write(
            Claim(
                run_id=run_id,
                position=position,
                worker=services.worker,
                lease=services.settings.lease,
                may_take_over=services.may_take_over(),
            )
        )
        if not isinstance(claimed, Claimed) or claimed.task.spec is None:
            return ()
        attempt = _QueuedAttempt(services, claimed)
        try:
            work = Work.of_task(step, claimed.task.spec)
        except MisuseError as error:
            return attempt.resolve(Failure.of(error))
        if claimed.lost:
            lost = attempt.tell_lost()
            if claimed.task.attempt > work.settings.retry.max_attempts:
                return attempt.resolve_lost(lost)
        return attempt.run(self._attempts, work, give_back)


class _QueuedAttempt:
    """One claimed attempt."""

    def __init__(self, services: Services, claimed: Claimed) -> None:
        self._services = services
        self._run = claimed.run
        self._task = claimed.task
        self._offset = claimed.now - services.clock.now()
        self._info = AttemptInfo(
            run=claimed.run,
            generation=claimed.generation,
            step=claimed.task.name,
            position=claimed.task.position,
            attempt=claimed.task.attempt,
            queue=claimed.task.queue,
            inline=False,
            started_at=claimed.now,
            undoes=claimed.task.spec.undoes if claimed.task.spec is not None else None,
        )

    def run(self, attempts: Attempts, work: Work, give_back: Callable[[], None]) -> Sequence[Ring]:
        """Run the user's code and record how it went; answer what is to be rung."""
        services, task = self._services, self._task

        def abandon(failure: Failure) -> None:
            rings = self._record(work, failure)
            give_back()
            services.bells.ring(rings)

        context = StepContext(
            run_id=self._run.key,
            step=task.name,
            attempt=task.attempt,
            idempotency_key=idempotency_key(self._run.id, self._info.generation, task.position),
            asked_to_stop=lambda: services.store.cancel_asked(self._run.id, task.position),
        )
        services.observers.attempt_starting(self._info)
        began_at = task.began_at or self._info.started_at
        try:
            outcome = attempts.run(
                work,
                self._info,
                context,
                began_at=began_at,
                on_abandon=abandon,
            )
        except Abandoned:
            return ()
        return self._record(work, outcome)

    def _record(self, work: Work, outcome: Value | Failure) -> Sequence[Ring]:
        if isinstance(outcome, Value):
            return self.resolve(outcome)
        services, task = self._services, self._task
        now = services.clock.now() + self._offset
        began_at = task.began_at or self._info.started_at
        delay = retry_delay(work, task.attempt, outcome, now=now, began_at=began_at)
        if delay is None:
            return self.resolve(outcome)
        event = AttemptFailed(
            position=task.position,
            name=task.name,
            attempt=task.attempt,
            failure=outcome,
            retry_at=now + delay,
            began_at=began_at,
        )
        answer = services.committer.write(FailTask(worker=services.worker, run_id=self._run.id, event=event))
        if not isinstance(answer, Accepted):
            return ()
        services.observers.attempt_finished(
            attrs.evolve(self._info, ended_at=now, failure=outcome, retry_at=event.retry_at)
        )
        services.timer_set(now + delay - self._offset)
        return answer.rings

    def resolve(self, outcome: Value | Failure) -> Sequence[Ring]:
        """Record the step's outcome."""
        failure = outcome if isinstance(outcome, Failure) else None
        now = self._services.clock.now() + self._offset
        rings = self._resolve(outcome, self._task.attempt)
        if rings is None:
            return ()
        self._services.observers.attempt_finished(attrs.evolve(self._info, ended_at=now, failure=failure))
        return rings

    def tell_lost(self) -> Failure:
        """Tell observers of the attempt before this one, which ended with its worker; how it failed."""
        last = self._task.attempt - 1
        lost = Failure.of(
            AttemptLost(f"the worker that made attempt {last} of step {self._task.name!r} died in it")
        )
        told = attrs.evolve(self._info, attempt=last, ended_at=self._info.started_at, failure=lost)
        self._services.observers.attempt_finished(told)
        return lost

    def resolve_lost(self, lost: Failure) -> Sequence[Ring]:
        """Record that the attempts before this one were the last ones: nothing is run any more."""
        return self._resolve(lost, self._task.attempt - 1) or ()

    def _args_to_record(self, spec: TaskSpec) -> bytes:
        """The arguments, except of a call of a map without an undo: the body knows them, and there are many."""
        if spec.kind is not Kind.MAP:
            return spec.args
        try:
            has_undo = self._services.registry.step(spec.name).undo_definition is not None
        except UnknownName:
            has_undo = True
        return spec.args if has_undo else b"null"

    def _resolve(self, outcome: Value | Failure, attempt: int) -> Sequence[Ring] | None:
        task = self._task
        assert task.spec is not None
        event = Resolved(
            position=task.position,
            kind=task.spec.kind,
            name=task.name,
            args=self._args_to_record(task.spec),
            outcome=outcome,
            attempt=attempt,
        )
        write = ResolveTask(
            worker=self._services.worker,
            run_id=self._run.id,
            attempt=task.attempt,
            event=event,
            then=task.spec.then,
        )
        answer = self._services.committer.write(write)
        return answer.rings if isinstance(answer, Accepted) else None
