"""Attempts of queued steps: claimed, run inside the step's Dramatiq actor, and recorded by whoever still owns them.

Whoever records the last outcome that the run waits for takes the run's turn in the same write, and goes on with it;
where nothing follows but to hand the next steps over, that is in the write too (`engine.turning.foresight`). So a
queued step is one message and two writes: the claim, and the outcome with all that follows from it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar
from uuid import UUID

import attrs

from qwit_durable.clock import monotonic
from qwit_durable.core import Value
from qwit_durable.engine.attempting.attempts import Attempts, Left, Work
from qwit_durable.engine.attempting.kept import KeptAttempts
from qwit_durable.engine.attempting.lifeline import Lifeline
from qwit_durable.engine.attempting.recording import Recorded, TaskRecorder
from qwit_durable.engine.attempting.transactional import committed_within, transaction_of
from qwit_durable.engine.attempting.watchdog import Abandoned, Watched
from qwit_durable.engine.carrying import Pieces, carry_alone
from qwit_durable.engine.ports import Services
from qwit_durable.engine.suspects import Suspect, Suspects
from qwit_durable.engine.turning.foresight import Ahead, AtHome, Begun, Foresight
from qwit_durable.engine.turning.turns import Turns
from qwit_durable.errors import AttemptLost, Failure, MisuseError, StoreError, UnknownName
from qwit_durable.observers.base import AttemptInfo
from qwit_durable.stores.answers import Accepted, Claimed, Refused
from qwit_durable.stores.rows import TURN, Ring
from qwit_durable.stores.writes import Claim, LeaveTask, Unclaim

__all__ = ["QueuedAttempts"]

_logger = logging.getLogger("qwit_durable.queued")
_T = TypeVar("_T")


class QueuedAttempts:
    """Makes attempts of tasks, then goes on with their runs if these are due.

    Attributes:
        kept: Attempts that have begun, and wait for their bells.
    """

    def __init__(
        self,
        services: Services,
        attempts: Attempts,
        turns: Turns,
        foresight: Foresight,
        suspects: Suspects,
        watch: Callable[[Watched], None],
    ) -> None:
        self._services = services
        self._suspects = suspects
        self._attempts = attempts
        self._turns = turns
        self._foresight = foresight
        self._making = attempts.making
        self._at_home = AtHome(turns.carriers.is_quick, attempts.making)
        self.kept = KeptAttempts(services, turns.carriers.is_quick, attempts.making, watch)

    @property
    def making(self) -> frozenset[tuple[UUID, str]]:
        """The tasks that threads of this process work on, or are about to."""
        return self._making.keys()

    def make(self, run_id: UUID, position: str, name: str) -> None:
        """Make the next attempt of a task in this thread, if it is due and free; then go on with its run."""
        kept = self.kept.take(run_id, position)
        if kept is None:
            until = self._end_of_slice()
            making = self._make(run_id, position, name, is_alone=True)
        else:
            begun, until = kept
            making = self._make_begun(begun, self._at_home if monotonic() < until else None)
        made = self._turns.carriers.carry_alone(self._guarded(run_id, making))
        if made is None:
            return
        if made.begun is not None and made.begun.is_seen:
            # First of all: this thread is about to be free.
            self.kept.keep(made.begun, until)
            if made.rings:
                self._turns.carriers.ring_at_once(made.rings)
        else:
            self._turns.carriers.carry(self._guarded(run_id, self._go_on(made, until)))

    def carry(self, tasks: Sequence[tuple[UUID, str]], name: str) -> None:
        """The same for tasks of one step, by whichever threads carry runs on."""
        self._turns.carriers.carry(
            *(self._guarded(run_id, self._whole(run_id, position, name)) for run_id, position in tasks)
        )

    def _guarded(self, run_id: UUID, pieces: Pieces[_T]) -> Pieces[_T | None]:
        """What goes wrong is logged: the row and the sweeper bring the attempt back."""
        try:
            return (yield from pieces)
        except StoreError as error:
            _logger.warning("run %s: no attempt: %s", run_id, error)
        except Exception:
            _logger.exception("run %s: the attempt broke off", run_id)
        return None

    def _whole(self, run_id: UUID, position: str, name: str, lost: Ring | None = None) -> Pieces[None]:
        until = self._end_of_slice()
        made = yield from self._make(run_id, position, name, lost)
        yield from self._go_on(made, until)

    def _end_of_slice(self) -> float:
        """From then on a run is rung for, so that runs spread over all processes."""
        return monotonic() + self._services.settings.time_slice.total_seconds()

    def _go_on(self, made: Recorded | None, until: float) -> Pieces[None]:
        """Go on with a run for as long as its steps begin here, and without bells of their own."""
        while made is not None and made.begun is not None:
            self._turns.carriers.ring(made.rings)
            if made.begun.is_seen:
                self.kept.keep(made.begun, until)
                return
            made = yield from self._make_begun(made.begun, self._at_home if monotonic() < until else None)
        if made is not None:
            yield from self._follow(made)

    def _make(
        self, run_id: UUID, position: str, name: str, lost: Ring | None = None, *, is_alone: bool = False
    ) -> Pieces[Recorded | None]:
        key = (run_id, position)
        token = self._making.take(key)
        if token is None:
            return None
        give_back = partial(self._making.give_back, key, token)
        try:
            claimed = lost or (yield from self._claim(run_id, position, name))
            if isinstance(claimed, Ring):
                return (yield from self._make_lost(claimed, give_back, is_alone=is_alone))
            return None if claimed is None else (yield from self._attempt(claimed, self._at_home, give_back))
        finally:
            give_back()

    def _make_lost(
        self, ring: Ring, give_back: Callable[[], None], *, is_alone: bool
    ) -> Pieces[Recorded | None]:
        """Make the attempt after one of which the worker has died, when it is its turn."""
        key = ring.run_id, ring.position, ring.name

        def go_on(suspect: Suspect) -> Pieces[Recorded | None]:
            # First of all: given back once it is claimed, it would be known no longer for one that was lost.
            if (yield ring.name) is False:
                return Recorded(rings=(ring,))
            claimed = yield from self._claim(*key, lost_too=True)
            if not isinstance(claimed, Claimed):
                return None
            suspect.begins(claimed.task.attempt - 1)
            return (yield from self._attempt(claimed, self._at_home, give_back))

        def again() -> Pieces[None]:
            return self._guarded(ring.run_id, self._whole(*key, ring))

        return (yield from self._suspects.one_by_one(ring, go_on, None if is_alone else again, give_back))

    def _make_begun(self, begun: Begun, at_home: AtHome | None) -> Pieces[Recorded | None]:
        claimed = begun.claimed
        give_back = partial(self._making.give_back, begun.key, begun.token)
        try:
            return (yield from self._attempt(claimed, at_home, give_back))
        finally:
            give_back()

    def _follow(self, made: Recorded) -> Pieces[None]:
        services = self._services
        here = not services.draining.is_set()
        mine = [
            ring
            for ring in made.rings
            if ring.position == TURN and here and services.bells.consumes(ring.queue)
        ]
        # Others may begin while this thread takes turns.
        self._turns.carriers.ring([ring for ring in made.rings if ring not in mine] if mine else made.rings)
        for ring in mine:
            yield from self._turns.turns_of(ring.run_id)
        if made.acquired is not None:
            yield from self._turns.going_on(made.acquired)

    def _claim(
        self, run_id: UUID, position: str, name: str, *, lost_too: bool = False
    ) -> Pieces[Claimed | Ring | None]:
        """Claim an attempt; the bell for it if its worker has died."""
        services = self._services
        try:
            services.registry.step(name)
        except UnknownName as error:
            _logger.warning("step %r of run %s is left to other workers: %s", name, run_id, error)
            yield LeaveTask(run_id=run_id, position=position, note=str(error))
            return None
        claimed = yield Claim(
            run_id=run_id,
            position=position,
            worker=services.worker,
            lease=services.settings.lease,
            may_take_over=services.may_take_over(),
            lost_too=lost_too,
            turn=self._foresight.turn(run_id),
        )
        if isinstance(claimed, Refused):
            return claimed.ring
        return claimed if isinstance(claimed, Claimed) and claimed.task.spec is not None else None

    def _attempt(
        self, claimed: Claimed, at_home: AtHome | None, give_back: Callable[[], None]
    ) -> Pieces[Recorded | None]:
        task = claimed.task
        assert task.spec is not None
        self._ring_behind(claimed)
        ahead = self._foresight.of(claimed, at_home)
        attempt = _QueuedAttempt(self._services, claimed, ahead)
        try:
            try:
                work = Work.of_task(self._services.registry.step(task.name), task.spec)
            except MisuseError as error:
                return ahead.take_in((yield from attempt.resolve(Failure.of(error))))
            if claimed.lost:
                lost = attempt.tell_lost()
                if task.attempt > work.settings.retry.max_attempts:
                    return (yield from attempt.resolve_lost(lost))
            return ahead.take_in((yield from attempt.run(self._attempts, work, give_back)))
        finally:
            ahead.close()

    def _ring_behind(self, claimed: Claimed) -> None:
        """Ring for the calls of the map that wait for this one to begin. Where that is lost, the sweeper rings."""
        task = claimed.task
        behind = None if task.spec is None else task.spec.rings
        if behind is None or (task.attempt > 1 and not claimed.lost):
            return
        whole = task.position.rpartition(".")[0]
        calls = [f"{whole}.{index}" for index in range(*behind)]
        self._turns.carriers.ring_at_once(
            [
                Ring(
                    run_id=task.run_id,
                    position=call,
                    queue=task.queue,
                    name=task.name,
                    priority=task.priority,
                )
                for call in calls
            ]
        )


def _info_of(claimed: Claimed) -> AttemptInfo:
    task = claimed.task
    is_over = task.ended is not None
    return AttemptInfo(
        run=claimed.run,
        generation=claimed.generation,
        step=task.name,
        position=task.position,
        attempt=task.attempt,
        queue=task.queue,
        inline=False,
        started_at=(task.claimed_at if is_over else None) or claimed.now,
        undoes=task.spec.undoes if task.spec is not None else None,
    )


class _QueuedAttempt:
    """One claimed attempt."""

    def __init__(self, services: Services, claimed: Claimed, ahead: Ahead) -> None:
        self._services = services
        self._ahead = ahead
        self._task = claimed.task
        self._is_after_loss = claimed.lost
        self._info = _info_of(claimed)
        self._recorder = TaskRecorder(services, self._info, claimed.task, claimed.now - services.clock.now())

    def run(self, attempts: Attempts, work: Work, give_back: Callable[[], None]) -> Pieces[Recorded | None]:
        """Run the user's code and record how it went."""
        services, task, recorder = self._services, self._task, self._recorder
        if task.ended is not None:
            return (yield from self._record(work, task.ended))
        if not self._is_after_loss and (yield task.name) is False:
            return (yield from self._give_back())
        services.observers.attempt_starting(self._info)
        with transaction_of(services.store, work) as transaction:
            lifeline = Lifeline(services, self._info, work, recorder, transaction, task.progress)

            def abandon(failure: Failure) -> None:
                transaction.abandon()
                # By the watchdog's thread, which takes no turns.
                recorded = carry_alone(
                    recorder.record(work, failure, lifeline.unsent), services.committer.write
                )
                give_back()
                services.bells.ring(() if recorded is None else recorded.rings)

            try:
                outcome = attempts.run(work, lifeline, began_at=task.began_at, on_abandon=abandon)
            except Abandoned:
                return None
            if transaction.is_begun and isinstance(outcome, Value):
                write = recorder.resolution(outcome)
                answer = committed_within(transaction, write)
                if not isinstance(answer, Failure):
                    return recorder.resolved(write.event, answer)
                outcome = answer
        return (yield from self._record(work, outcome, lifeline.unsent))

    def _give_back(self) -> Pieces[Recorded | None]:
        """There is no thread for it: the bell goes to the end of the queue."""
        task = self._task
        answer = yield Unclaim(
            worker=self._services.worker, run_id=task.run_id, position=task.position, attempt=task.attempt
        )
        return Recorded(rings=answer.rings) if isinstance(answer, Accepted) else None

    def _record(
        self, work: Work, outcome: Value | Failure | Left, progress: bytes | None = None
    ) -> Pieces[Recorded | None]:
        return self._recorder.record(work, outcome, progress, ahead=self._ahead)

    def resolve(self, outcome: Value | Failure) -> Pieces[Recorded | None]:
        """Record the step's outcome."""
        return self._recorder.resolve(outcome, self._ahead)

    def tell_lost(self) -> Failure:
        """Tell observers of the attempt before this one, which ended with its worker; how it failed."""
        last = self._task.attempt - 1
        lost = Failure.of(
            AttemptLost(f"the worker that made attempt {last} of step {self._task.name!r} died in it")
        )
        told = attrs.evolve(self._info, attempt=last, ended_at=self._info.started_at, failure=lost)
        self._services.observers.attempt_finished(told)
        return lost

    def resolve_lost(self, lost: Failure) -> Pieces[Recorded | None]:
        """Record that the attempts before this one were the last ones: nothing is run any more."""
        return self._recorder.resolve_lost(lost)
