"""An inline attempt: run in the process that holds the run, recorded with the run's next transition.

Most attempts are never looked at: what observers are told of one, and what ties it to the store, is made when it is
asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs

from qwit_durable.core import AttemptFailed, CallStep, Kind, Pending, Resolved, Scheduled, Undo, Value
from qwit_durable.engine.attempting.attempts import Attempts, Left, Work, what_follows
from qwit_durable.engine.attempting.lifeline import Lifeline
from qwit_durable.engine.attempting.promotion import Promotion
from qwit_durable.engine.attempting.recording import Recorded
from qwit_durable.engine.attempting.transactional import NO_TRANSACTION, committed_within, transaction_of
from qwit_durable.engine.carrying import Pieces
from qwit_durable.engine.ports import Services
from qwit_durable.engine.turning.handover import resolved
from qwit_durable.engine.turning.hold import Hold, LostHold
from qwit_durable.errors import AttemptLost, Failure, MisuseError, UnknownName
from qwit_durable.language.context import StepContext
from qwit_durable.language.current import Starter
from qwit_durable.observers.base import AttemptInfo
from qwit_durable.stores.answers import Committed
from qwit_durable.stores.rows import TimerRow
from qwit_durable.stores.transactions import Transaction
from qwit_durable.stores.writes import Commit, Release

__all__ = ["InlineAttempt"]

#: A step may ask from several threads at once.
_asking = threading.Lock()


class InlineAttempt:
    """The next attempt of the one command that a held run has to carry out: `engine.attempting.attempts.Underway`."""

    # Of the class: most attempts are never asked for them.
    unknown: str | None = None
    _info: AttemptInfo | None = None
    _lifeline: Lifeline | None = None
    _promotion: Promotion | None = None
    _transaction: Transaction = NO_TRANSACTION

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
                self._attempt(work)
            return True
        if owes_first:
            hold.record(
                Scheduled(position=pending.position, kind=Kind.STEP, name=command.name, args=command.args)
            )
        if not hold.is_clean:
            write = hold.checkpoint()
            hold.answered((yield write), write)
        if (yield command.name) is False:
            yield from hold.rest()
        self._attempt(work)
        return True

    def _count_lost(self, work: Work) -> bool:
        """Record the attempts whose workers died, and fail the step if they were its last; whether another follows."""
        hold, pending = self._hold, self._pending
        attempt = pending.attempts + hold.lost
        lost = Failure.of(
            AttemptLost(
                f"the worker that made attempt {attempt} of {self._command.name!r} died in it, "
                "or in the body's code behind it"
            )
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
        info, observers = self._info_of(attempt, now), self._services.observers
        retry_at = None if delay is None else now
        hold.after_commit(
            lambda: observers.attempt_finished(info, ended_at=now, failure=lost, retry_at=retry_at)
        )
        return delay is not None

    # -- while it is under way ---------------------------------------------------------------------------------

    @property
    def info(self) -> AttemptInfo:
        """What observers are told of it."""
        if self._info is None:
            self._info = self._info_of(self._number, self._started_at)
        return self._info

    def _info_of(self, number: int, started_at: datetime) -> AttemptInfo:
        return AttemptInfo(
            run=self._hold.run,
            generation=self._hold.live.generation,
            step=self._command.name,
            position=self._pending.position,
            attempt=number,
            queue=self._queue,
            inline=True,
            started_at=started_at,
            undoes=self._command.attempt if isinstance(self._command, Undo) else None,
        )

    @property
    def step(self) -> str:
        """The step's name."""
        return self._command.name

    @property
    def starter(self) -> Starter | None:
        """The `Durable` of this process."""
        return self._services.starter

    @property
    def context(self) -> StepContext:
        """What `current()` answers with."""
        return self._tied.context

    @property
    def token(self) -> str | None:
        """The attempt's token, once it was asked for."""
        return None if self._lifeline is None else self._lifeline.token

    def beats_on(self, beat: Callable[[], None]) -> None:
        """Tell the watchdog's attempt of every report."""
        self._tied.beats_on(beat)

    @property
    def _tied(self) -> Lifeline:
        """What ties it to the store, from now on."""
        with _asking:
            if self._lifeline is None:
                self._promotion = promotion = Promotion(
                    self._services, self._attempts, self._hold, self._pending, self.info
                )
                self._lifeline = Lifeline(self._services, self.info, self._work, promotion, self._transaction)
            return self._lifeline

    @property
    def _promoted(self) -> Promotion | None:
        """The task that it may have become."""
        return self._promotion if self._promotion is not None and self._promotion.is_tried else None

    @property
    def _progress(self) -> bytes | None:
        """What was reported of it and is not written yet."""
        return None if self._lifeline is None else self._lifeline.unsent

    # -- making it, and its end --------------------------------------------------------------------------------

    def _attempt(self, work: Work) -> None:
        hold, pending, services = self._hold, self._pending, self._services
        observers = services.observers
        self._work, self._number, self._started_at = work, pending.attempts + 1, hold.now()
        if observers.listen:
            observers.attempt_starting(self.info)
        if work.settings.transactional:
            outcome = self._in_transaction(work)
            if outcome is None:
                return
        else:
            outcome = self._run(work)
        if (promotion := self._promoted) is not None:
            recorded = promotion.record(work, outcome, self._progress)
            if recorded is not None or promotion.is_done:
                promotion.follow(recorded)
                return
        if isinstance(outcome, Left):
            raise LostHold
        if isinstance(outcome, Value) and not observers.listen:
            hold.record_fact(resolved(pending, outcome, self._number))
            return
        event, ended, timer = self._fact(outcome)
        hold.record_fact(event, timer=timer, then=lambda: observers.attempt_finished(self.info, **ended))

    def _run(self, work: Work) -> Value | Failure | Left:
        return self._attempts.run(work, self, began_at=self._pending.began_at, on_abandon=self._abandon)

    def _in_transaction(self, work: Work) -> Value | Failure | Left | None:
        """How the attempt of a transactional step ended; None if that is recorded, with what it wrote."""
        with transaction_of(self._services.store, work) as self._transaction:
            outcome = self._run(work)
            if not (self._transaction.is_begun and isinstance(outcome, Value)):
                return outcome
            return self._record_within(self._transaction, outcome)

    def _abandon(self, failure: Failure) -> None:
        """From the watchdog: the attempt has timed out and does not come back."""
        self._transaction.abandon()
        self._record_without_thread(failure)

    def _record_within(self, transaction: Transaction, value: Value) -> Failure | None:
        """Record the value and commit it with what the step wrote; the failure, if the database won't have that.

        Raises:
            LostHold: The run is somebody else's now, and what the step wrote never happened.
            Superseded: Somebody else's event came first.
        """
        hold = self._hold
        event = resolved(self._pending, value, self._number)
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
        self._services.observers.attempt_finished(self.info, ended_at=answer.now)
        if not hold.follow(event, answer.head):
            hold.retreat()
        return None

    def _fact(
        self, outcome: Value | Failure
    ) -> tuple[Resolved | AttemptFailed, dict[str, Any], TimerRow | None]:
        """The event that records an attempt, what observers are told of its end, and the timer of the next attempt."""
        pending, hold, number = self._pending, self._hold, self._number
        now = hold.now()
        if isinstance(outcome, Value):
            told = {"ended_at": now, "awaits": outcome.awaits}
            return resolved(pending, outcome, number), told, None
        began_at = pending.began_at or self._started_at
        delay, outcome = what_follows(self._work, number, outcome, now=now, began_at=began_at)
        if delay is None:
            return resolved(pending, outcome, number), {"ended_at": now, "failure": outcome}, None
        due = now + delay
        event = AttemptFailed(
            position=pending.position,
            name=self._command.name,
            attempt=number,
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

    def _record_without_thread(self, failure: Failure) -> None:
        """From the watchdog: record the timeout of an attempt that does not come back, and free the run."""
        hold, services = self._hold, self._services
        if (promotion := self._promoted) is not None:
            recorded = promotion.record(self._work, failure, self._progress)
            if recorded is not None or promotion.is_done:
                self._free(recorded)
                return
        event, ended, timer = self._fact(failure)
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
            services.observers.attempt_finished(self.info, **ended)
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
