"""An inline attempt: run in the process that holds the run, recorded with the run's next transition."""

from __future__ import annotations

from typing import Any

import attrs

from qwit_durable.core import AttemptFailed, CallStep, Kind, Pending, Resolved, Scheduled, Undo, Value
from qwit_durable.engine.attempting.attempts import Attempts, Left, Work, what_follows
from qwit_durable.engine.attempting.lifeline import Lifeline
from qwit_durable.engine.attempting.promotion import Promotion
from qwit_durable.engine.attempting.recording import Recorded
from qwit_durable.engine.attempting.transactional import committed_within, transaction_of
from qwit_durable.engine.carrying import Pieces
from qwit_durable.engine.ports import Services
from qwit_durable.engine.turning.handover import resolved
from qwit_durable.engine.turning.hold import Hold, LostHold
from qwit_durable.errors import AttemptLost, Failure, MisuseError, UnknownName
from qwit_durable.observers.base import AttemptInfo
from qwit_durable.stores.answers import Committed
from qwit_durable.stores.rows import TimerRow
from qwit_durable.stores.transactions import Transaction
from qwit_durable.stores.writes import Commit, Release

__all__ = ["InlineAttempt"]


class InlineAttempt:
    """The next attempt of the one command that a held run has to carry out."""

    def __init__(
        self, services: Services, attempts: Attempts, hold: Hold, pending: Pending, queue: str
    ) -> None:
        assert isinstance(pending.command, (CallStep, Undo))
        self._services = services
        self._attempts = attempts
        self._hold = hold
        self._pending = pending
        self._command = pending.command
        self._queue = queue
        self.unknown: str | None = None

    def run(self) -> Pieces[bool]:
        """Make everything durable that the attempt rests on, run it, and take its outcome into the transition.

        False if today's code can't: `unknown` says why, and nothing was run.
        """
        hold, pending, command = self._hold, self._pending, self._command
        try:
            step = self._services.registry.step(command.name)
            cause = pending.cause.failure if pending.cause else None
            work = Work.of_command(step, command, cause, pending.given)
        except (UnknownName, MisuseError) as error:
            self.unknown = str(error)
            return False
        owes_first = (
            isinstance(command, CallStep) and command.undo_when == "attempted" and not pending.scheduled
        )
        if hold.lost and hold.is_clean and not owes_first:
            # First of all: let go of once this is counted, it would be known no longer for one that was lost.
            yield from hold.make_room(command.name)
            if self._count_lost(work):
                yield from hold.commit()
                self._attempt(work, self._pending.attempts + 1)
            return True
        if owes_first:
            hold.record(
                Scheduled(position=pending.position, kind=Kind.STEP, name=command.name, args=command.args)
            )
        if not hold.is_clean:
            yield from hold.checkpoint()
        yield from hold.make_room(command.name)
        self._attempt(work, pending.attempts + 1)
        return True

    def _count_lost(self, work: Work) -> bool:
        """Record the attempts whose workers died, and fail the step if they were its last; whether another follows."""
        hold, pending = self._hold, self._pending
        attempt = pending.attempts + hold.lost
        lost = Failure.of(
            AttemptLost(f"the worker that made attempt {attempt} of {self._command.name!r} died in it")
        )
        now = hold.now()
        delay, lost = what_follows(work, attempt, lost, now=now, began_at=pending.began_at or now)
        hold.lost = 0
        began_at = pending.began_at or now
        self._pending = attrs.evolve(pending, attempts=attempt, began_at=began_at)
        event = (
            resolved(pending, lost, attempt)
            if delay is None
            else AttemptFailed(
                position=pending.position,
                name=self._command.name,
                attempt=attempt,
                failure=lost,
                retry_at=now,
                began_at=began_at,
            )
        )
        hold.record(event)
        info, observers = self._info(attempt), self._services.observers
        retry_at = None if delay is None else now
        hold.after_commit(
            lambda: observers.attempt_finished(info, ended_at=now, failure=lost, retry_at=retry_at)
        )
        return delay is not None

    def _info(self, number: int) -> AttemptInfo:
        return AttemptInfo(
            run=self._hold.run,
            generation=self._hold.live.generation,
            step=self._command.name,
            position=self._pending.position,
            attempt=number,
            queue=self._queue,
            inline=True,
            started_at=self._hold.now(),
            undoes=self._command.attempt if isinstance(self._command, Undo) else None,
        )

    def _attempt(self, work: Work, number: int) -> None:
        hold, pending, services = self._hold, self._pending, self._services
        info = self._info(number)
        promotion = Promotion(services, self._attempts, hold, pending, info)
        began_at = pending.began_at or info.started_at
        services.observers.attempt_starting(info)
        with transaction_of(services.store, work) as transaction:
            lifeline = Lifeline(services, info, work, promotion, connect=transaction.connection)

            def abandon(failure: Failure) -> None:
                transaction.abandon()
                self._record_without_thread(work, info, failure, promotion, lifeline.unsent)

            outcome = self._attempts.run(work, info, lifeline, began_at=began_at, on_abandon=abandon)
            if transaction.is_begun and isinstance(outcome, Value):
                refusal = self._record_within(transaction, info, outcome)
                if refusal is None:
                    return
                outcome = refusal
        if promotion.is_tried:
            recorded = promotion.record(work, outcome, lifeline.unsent)
            if recorded is not None or promotion.is_done:
                promotion.follow(recorded)
                return
        if isinstance(outcome, Left):
            raise LostHold
        if isinstance(outcome, Value) and not services.observers.listen:
            hold.record_fact(resolved(pending, outcome, number))
            return
        event, ended, timer = self._fact(work, info, outcome)
        hold.record_fact(event, timer=timer, then=lambda: services.observers.attempt_finished(info, **ended))

    def _record_within(self, transaction: Transaction, info: AttemptInfo, value: Value) -> Failure | None:
        """Record the value and commit it with what the step wrote; the failure, if the database won't have that.

        Raises:
            LostHold: The run is somebody else's now, and what the step wrote never happened.
            Superseded: Somebody else's event came first.
        """
        hold = self._hold
        event = resolved(self._pending, value, info.attempt)
        write = Commit(
            run_id=hold.run.id,
            worker=self._services.worker,
            epoch=hold.live.epoch,
            head=None,
            events=(event,),
        )
        answer = committed_within(transaction, write)
        if isinstance(answer, Failure):
            return answer
        if not isinstance(answer, Committed):
            raise LostHold
        self._services.observers.attempt_finished(info, ended_at=answer.now)
        if not hold.follow(event, answer.head):
            hold.retreat()
        return None

    def _fact(
        self, work: Work, info: AttemptInfo, outcome: Value | Failure
    ) -> tuple[Resolved | AttemptFailed, dict[str, Any], TimerRow | None]:
        """The event that records an attempt, what observers are told of its end, and the timer of the next attempt."""
        pending, hold = self._pending, self._hold
        now = hold.now()
        if isinstance(outcome, Value):
            told = {"ended_at": now, "awaits": outcome.awaits}
            return resolved(pending, outcome, info.attempt), told, None
        began_at = pending.began_at or info.started_at
        delay, outcome = what_follows(work, info.attempt, outcome, now=now, began_at=began_at)
        if delay is None:
            return resolved(pending, outcome, info.attempt), {"ended_at": now, "failure": outcome}, None
        due = now + delay
        event = AttemptFailed(
            position=pending.position,
            name=info.step,
            attempt=info.attempt,
            failure=outcome,
            retry_at=due,
            began_at=began_at,
        )
        timer = (
            TimerRow(run_id=hold.run.id, position=pending.position, fire_at=due, kind="wake")
            if delay
            else None
        )
        return event, {"ended_at": now, "failure": outcome, "retry_at": due}, timer

    def _record_without_thread(
        self, work: Work, info: AttemptInfo, failure: Failure, promotion: Promotion, progress: bytes | None
    ) -> None:
        """From the watchdog: record the timeout of an attempt that does not come back, and free the run."""
        hold, services = self._hold, self._services
        if promotion.is_tried:
            recorded = promotion.record(work, failure, progress)
            if recorded is not None or promotion.is_done:
                self._free(recorded)
                return
        event, ended, timer = self._fact(work, info, failure)
        answer = services.committer.write(
            Commit(
                run_id=hold.run.id,
                worker=services.worker,
                epoch=hold.live.epoch,
                head=None,
                events=(event,),
                timers=(timer,) if timer is not None else (),
                release=Release(wake_at=hold.now()),
            )
        )
        hold.give_back()
        if isinstance(answer, Committed):
            services.observers.attempt_finished(info, **ended)
            services.bells.ring(answer.rings)
            if timer is not None:
                services.timer_set(timer.fire_at)

    def _free(self, recorded: Recorded | None) -> None:
        """Let go of the run, whose attempt has a task of its own."""
        hold, services = self._hold, self._services
        answer = services.committer.write(
            Commit(
                run_id=hold.run.id,
                worker=services.worker,
                epoch=hold.live.epoch,
                head=None,
                release=Release(wake_at=hold.now()),
            )
        )
        hold.give_back()
        rings = (
            (*(recorded.rings if recorded is not None else ()), *answer.rings)
            if isinstance(answer, Committed)
            else ()
        )
        services.bells.ring(rings)
