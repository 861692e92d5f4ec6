"""Recording how the attempt of a task goes, for as long as this worker owns it.

Queued attempts have a task from the start. An inline attempt gets one when it has to be seen from outside
(`engine.attempting.promotion`). Every write names the worker and the attempt: who has lost the attempt records nothing.
How it ended is recorded in pieces: each yields its write, and is resumed with the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import attrs

from qwit_durable.clock import later
from qwit_durable.core import AttemptFailed, Kind, Resolved, Value
from qwit_durable.engine.attempting.attempts import Left, Work, what_follows
from qwit_durable.engine.attempting.guarding import Refusal
from qwit_durable.engine.carrying import Pieces
from qwit_durable.engine.ports import Services
from qwit_durable.errors import Failure, UnknownName
from qwit_durable.observers.base import AttemptInfo
from qwit_durable.stores.answers import Accepted, Acquired, Committed
from qwit_durable.stores.rows import Ring, TaskRow, TaskSpec
from qwit_durable.stores.writes import FailTask, OpenTask, ParkTask, ReportProgress, ResolveTask

if TYPE_CHECKING:
    from qwit_durable.engine.turning.foresight import Ahead, Begun

__all__ = ["Recorded", "TaskRecorder"]


@attrs.frozen(kw_only=True)
class Recorded:
    """What was recorded: the event, and its number in the history; no event where the attempt is left open.

    `acquired` is the run's turn, where it was asked for and is due now; `committed` how it went, where it was known
    beforehand; `begun` the attempt that this worker has begun with it.
    """

    rings: Sequence[Ring] = ()
    event: Resolved | AttemptFailed | None = None
    head: int = 0
    acquired: Acquired | None = None
    committed: Committed | None = None
    begun: Begun | None = None


class TaskRecorder:
    """Records one attempt of a task.

    Args:
        task: As it was when the attempt began.
        offset: How far the store's clock is ahead of this process's.
    """

    def __init__(self, services: Services, info: AttemptInfo, task: TaskRow, offset: timedelta) -> None:
        self._services = services
        self._info = info
        self._task = task
        self._offset = offset

    # -- while it is under way ---------------------------------------------------------------------------------

    def open(self) -> bool:
        """Let it be completed from outside; False if this worker has lost it."""
        write = OpenTask(
            worker=self._services.worker,
            run_id=self._task.run_id,
            position=self._task.position,
            attempt=self._task.attempt,
        )
        return isinstance(self._services.committer.write(write), Accepted)

    def report(self, detail: bytes) -> bool:
        """Take down how far it has come; tell whether it is asked to stop, as who has lost it is."""
        write = ReportProgress(
            worker=self._services.worker,
            run_id=self._task.run_id,
            position=self._task.position,
            attempt=self._task.attempt,
            detail=detail,
        )
        answer = self._services.committer.write(write)
        return answer.cancel_asked if isinstance(answer, Accepted) else True

    # -- at its end --------------------------------------------------------------------------------------------

    def record(
        self,
        work: Work,
        outcome: Value | Failure | Left,
        progress: bytes | None = None,
        *,
        ahead: Ahead | None = None,
    ) -> Pieces[Recorded | None]:
        """Record how it ended; None if this worker has lost it.

        `progress` is what was not written yet; `ahead` tells what follows, if the caller would go on with the run.
        """
        match outcome:
            case Value():
                return (yield from self.resolve(outcome, ahead))
            case Failure():
                return (yield from self._fail(work, outcome, progress, ahead))
            case Left():
                return (yield from self._park(work))

    def _park(self, work: Work) -> Pieces[Recorded | None]:
        services, task = self._services, self._task
        deadline = work.settings.deadline
        until = None if deadline is None else later(self._began_at, deadline)
        answer = yield ParkTask(
            worker=services.worker,
            run_id=task.run_id,
            position=task.position,
            attempt=task.attempt,
            until=until,
        )
        if not isinstance(answer, Accepted):
            return None
        if answer.ended is not None:
            return (yield from self._fail(work, answer.ended, None))
        if until is not None:
            services.timer_set(until - self._offset)
        return Recorded(rings=answer.rings, head=answer.head)

    def _fail(
        self, work: Work, failure: Failure, progress: bytes | None, ahead: Ahead | None = None
    ) -> Pieces[Recorded | None]:
        services, task, now = self._services, self._task, self._now
        delay, failure = what_follows(work, task.attempt, failure, now=now, began_at=self._began_at)
        if delay is None:
            return (yield from self.resolve(failure, ahead))
        event = AttemptFailed(
            position=task.position,
            name=task.name,
            attempt=task.attempt,
            failure=failure,
            retry_at=now + delay,
            began_at=self._began_at,
        )
        answer = yield FailTask(worker=services.worker, run_id=task.run_id, event=event, progress=progress)
        if not isinstance(answer, Accepted):
            return None
        services.observers.attempt_finished(
            self._info, ended_at=now, failure=failure, retry_at=event.retry_at
        )
        services.timer_set(now + delay - self._offset)
        return Recorded(rings=answer.rings, event=event, head=answer.head)

    def resolve(self, outcome: Value | Failure, ahead: Ahead | None = None) -> Pieces[Recorded | None]:
        """Record the step's outcome, and take the run's turn if that is wanted and due then."""
        write = self.resolution(outcome, ahead=ahead)
        return self.resolved(write.event, (yield write))

    def resolved(self, event: Resolved, answer: object) -> Recorded | None:
        """Take in the answer to a `resolution`, and tell observers of it."""
        if not isinstance(answer, Accepted):
            return None
        self._services.observers.attempt_finished(
            self._info,
            ended_at=self._now,
            failure=event.outcome if isinstance(event.outcome, Failure) else None,
            awaits=event.outcome.awaits if isinstance(event.outcome, Value) else None,
        )
        return Recorded(
            rings=answer.rings,
            event=event,
            head=answer.head,
            acquired=answer.acquired,
            committed=answer.committed,
        )

    def resolve_lost(self, lost: Failure) -> Pieces[Recorded | None]:
        """Record that the attempts before this one were the last ones: nothing is run any more."""
        write = self.resolution(lost, self._task.attempt - 1)
        answer = yield write
        if not isinstance(answer, Accepted):
            return None
        return Recorded(rings=answer.rings, event=write.event, head=answer.head)

    def resolution(
        self, outcome: Value | Failure, attempt: int | None = None, ahead: Ahead | None = None
    ) -> ResolveTask:
        """The write that records an outcome: of this attempt, or of an earlier one."""
        task = self._task
        assert task.spec is not None
        event = Resolved(
            position=task.position,
            kind=task.spec.kind,
            name=task.name,
            args=self._args_to_record(task.spec),
            outcome=outcome,
            attempt=attempt or task.attempt,
            refused=outcome.value if isinstance(outcome, Refusal) else None,
        )
        turn, then = (None, None) if ahead is None else ahead.follows(event)
        return ResolveTask(
            worker=self._services.worker,
            run_id=task.run_id,
            attempt=task.attempt,
            event=event,
            lets_none=task.spec.then is None,
            turn=turn,
            then=then,
        )

    def _args_to_record(self, spec: TaskSpec) -> bytes:
        """The arguments, except of a call of a map without an undo: the body knows them, and there are many.

        For its undo, those of a call of a map are what the step really got.
        """
        if spec.kind is not Kind.MAP:
            return spec.args
        try:
            has_undo = self._services.registry.step(spec.name).undo_definition is not None
        except UnknownName:
            has_undo = True
        if not has_undo:
            return b"null"
        return spec.args if spec.given is None else spec.given

    @property
    def _now(self) -> datetime:
        return self._services.clock.now() + self._offset

    @property
    def _began_at(self) -> datetime:
        return self._task.began_at or self._info.started_at
