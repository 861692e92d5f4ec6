"""An inline attempt becomes the attempt of a task when it has to be seen from outside.

An inline attempt is nowhere in the store. To be completed from outside, or to keep its progress, it gets a task, under
the run's epoch: from then on it is recorded as queued ones are, and further attempts are queued ones. The holder goes
on with the run as before, as long as nobody else has appended to its history.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from qwit_durable.core import CallStep, Pending, Scheduled, Undo, Value
from qwit_durable.core.identity import identity
from qwit_durable.engine.attempting.attempts import Attempts, Left, Work
from qwit_durable.engine.attempting.recording import Recorded, TaskRecorder
from qwit_durable.engine.carrying import carry_alone
from qwit_durable.engine.ports import Services
from qwit_durable.engine.turning.handover import task_of
from qwit_durable.engine.turning.hold import Hold
from qwit_durable.errors import Failure
from qwit_durable.observers.base import AttemptInfo
from qwit_durable.stores.answers import Committed
from qwit_durable.stores.rows import TaskRow
from qwit_durable.stores.writes import Commit

__all__ = ["Promotion"]


class Promotion:
    """`engine.attempting.lifeline.Line` of an inline attempt.

    Attributes:
        is_tried: Whether the attempt may have a task.
        is_done: Whether it is known to have one.
    """

    def __init__(
        self,
        services: Services,
        attempts: Attempts,
        hold: Hold,
        pending: Pending,
        info: AttemptInfo,
    ) -> None:
        assert isinstance(pending.command, (CallStep, Undo))
        self._services = services
        self._attempts = attempts
        self._hold = hold
        self._pending = pending
        self._command = pending.command
        self._info = info
        self.is_tried = self.is_done = self._is_behind = False
        self._recorder: TaskRecorder | None = None
        self._give_back: Callable[[], None] = _nothing

    # -- while it is under way ---------------------------------------------------------------------------------

    def open(self) -> bool:
        """Let it be completed from outside; False if this worker has lost the run."""
        return self._promote(opened=True) if self._recorder is None else self._recorder.open()

    def report(self, detail: bytes) -> bool:
        """Take down how far it has come; tell whether it is asked to stop."""
        if self._recorder is None:
            return not self._promote(progress=detail) or self._hold.cancel_asked
        return self._recorder.report(detail)

    def _promote(self, *, opened: bool = False, progress: bytes | None = None) -> bool:
        hold, info = self._hold, self._info
        kind, name, args = identity(self._command)
        scheduled = Scheduled(
            position=info.position, kind=kind, name=name, args=args, queued=True, given=self._pending.given
        )
        began_at = self._pending.began_at or info.started_at
        new = attrs.evolve(
            task_of(self._services, hold, self._pending, self._command),
            attempt=info.attempt,
            began_at=began_at,
            opened=opened,
            progress=progress,
        )
        self._take(info)
        self.is_tried = True
        answer = self._services.committer.write(
            Commit(
                run_id=hold.run.id,
                worker=self._services.worker,
                epoch=hold.live.epoch,
                head=None,
                events=(scheduled,),
                tasks=(new,),
                generation=hold.live.generation,
            )
        )
        if not isinstance(answer, Committed):
            return False
        self.is_done = True
        task = TaskRow(
            run_id=hold.run.id,
            position=info.position,
            queue=new.queue,
            name=name,
            ready_at=answer.now,
            ring_at=answer.now,
            attempt=info.attempt,
            owner=self._services.worker,
            began_at=began_at,
            spec=new.spec,
        )
        self._recorder = TaskRecorder(self._services, info, task, self._hold.offset)
        self._is_behind = not hold.follow(scheduled, answer.head)
        return True

    def _take(self, info: AttemptInfo) -> None:
        """Name the task as one that this process works on, before the store knows of it."""
        key = (info.run.id, info.position)
        making = self._attempts.making
        token = making.take(key)
        if token is not None:
            self._give_back = lambda: making.give_back(key, token)

    # -- at its end --------------------------------------------------------------------------------------------

    def record(self, work: Work, outcome: Value | Failure | Left, progress: bytes | None) -> Recorded | None:
        """Record how it ended; None if it has no task any more, or never had one."""
        try:
            recorder = self._recorder or self._unsure()
            return carry_alone(recorder.record(work, outcome, progress), self._services.committer.write)
        finally:
            self._give_back()

    def _unsure(self) -> TaskRecorder:
        """The write that makes the task was interrupted: it is there or not."""
        new = task_of(self._services, self._hold, self._pending, self._command)
        now = self._hold.now()
        task = TaskRow(
            run_id=self._hold.run.id,
            position=self._info.position,
            queue=new.queue,
            name=self._command.name,
            ready_at=now,
            ring_at=now,
            attempt=self._info.attempt,
            began_at=self._pending.began_at or self._info.started_at,
            spec=new.spec,
        )
        return TaskRecorder(self._services, self._info, task, self._hold.offset)

    def follow(self, recorded: Recorded | None) -> None:
        """Take what was recorded into the held run; or let go of it where somebody else has appended, too.

        Raises:
            Superseded: The run is free again.
            LostHold: The run is somebody else's.
        """
        is_open = recorded is not None and recorded.event is None and not recorded.head
        is_known = recorded is not None and recorded.event is not None
        if self._is_behind or not (is_open or is_known):
            self._hold.retreat()
        if recorded is not None and recorded.event is not None:
            self._hold.rings.extend(recorded.rings)
            if not self._hold.follow(recorded.event, recorded.head):
                self._hold.retreat()


def _nothing() -> None:
    """No task is named."""
