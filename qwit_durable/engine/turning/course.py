"""The course of a held run: one decision after another is carried out, until the run waits, ends or yields.

The order is fixed: commit first, then the next effect, then the ringing. Everything the body has seen is durable before
an attempt begins; a run of n inline steps costs one commit a step.

A step runs inline when it is the only thing the run has to do, its queue is consumed here and it does not ask for a
queue; everything else is handed over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from qwit_durable.core import (
    Advance,
    CallStep,
    Finish,
    Halt,
    Interpreter,
    MapSteps,
    Pending,
    Restarted,
    StartOver,
    Undo,
    Unwind,
)
from qwit_durable.engine.attempting.attempts import Attempts
from qwit_durable.engine.attempting.inline import InlineAttempt
from qwit_durable.engine.carrying import Pieces
from qwit_durable.engine.ports import Services
from qwit_durable.engine.turning.asking import before_calls, before_steps
from qwit_durable.engine.turning.handover import hand_over, queue_of, resolve_local, settling
from qwit_durable.engine.turning.hold import Hold
from qwit_durable.engine.turning.letting_go import UNKNOWN_LATER
from qwit_durable.engine.turning.onward import Slice
from qwit_durable.engine.turning.report import finish, write_down
from qwit_durable.engine.turning.stuck import halt
from qwit_durable.stores.rows import Ring, RunRow
from qwit_durable.stores.writes import Release

__all__ = ["Course"]

_logger = logging.getLogger("qwit_durable.turns")


class Course:
    """That of one run, by the thread that holds it.

    Args:
        fresh: Makes an interpreter for a generation of a run.
        ring: Rings before a thread waits for anything.
        slice_: The time that the thread has.
    """

    def __init__(
        self,
        services: Services,
        attempts: Attempts,
        fresh: Callable[[RunRow, int], Interpreter],
        ring: Callable[[Sequence[Ring]], None],
        hold: Hold,
        slice_: Slice,
    ) -> None:
        self._services = services
        self._attempts = attempts
        self._fresh = fresh
        self._ring = ring
        self._hold = hold
        self._slice = slice_
        #: The queues of steps that are made here whenever a call of theirs is alone, by the names of the steps.
        self._here: dict[str, str] = {}

    def run(self) -> Pieces[bool]:
        """Carry out decisions until the run is let go of; tell whether its interpreter is worth keeping."""
        hold, services, slice_ = self._hold, self._services, self._slice
        rested = True
        while True:
            decision = hold.decision
            while refusals := hold.interpreter.refusals:
                _logger.warning("run %s: %s", hold.run.key, refusals.pop(0))
            match decision:
                case Advance():
                    has_more = decision.settle or not _are_calls(decision.begin)
                    if has_more and (yield from self._do_here(decision)):
                        continue
                    if services.guards and (yield from before_steps(services, hold, decision)):
                        continue
                    attempt = self._inline(decision)
                    if attempt is None:
                        yield from hold.commit(release=hold.until_it_goes_on(decision))
                        return True
                    if not rested and slice_.is_over:
                        yield from hold.rest()
                    rested = False
                    if not (yield from attempt.run()):
                        return (yield from self._leave_inline(attempt))
                case Unwind():
                    write_down(services, hold, decision)
                case StartOver():
                    yield from self._start_over(decision)
                    if slice_.is_over:
                        yield from hold.rest()
                case Finish():
                    yield from finish(services, hold, decision, slice_)
                    return False
                case Halt():
                    yield from halt(services, hold, decision)
                    return False

    def _start_over(self, decision: StartOver) -> Pieces[None]:
        hold = self._hold
        restarted = Restarted(args=decision.args, owed=decision.owed, signals=decision.signals)
        yield from hold.commit(restart=restarted)
        hold.begin_again(restarted, self._fresh(hold.run, hold.live.generation + 1))

    def _do_here(self, decision: Advance) -> Pieces[bool]:
        """Resolve what needs nobody else, and settle what nobody waits for; tell whether there was anything."""
        hold, services = self._hold, self._services
        outcomes = (resolve_local(services, hold, pending) for pending in decision.begin)
        local = [event for event in outcomes if event is not None]
        if local:
            hold.record(*local)
            return True
        fresh = [pending for pending in decision.settle if pending.position not in hold.settled]
        if fresh:
            hold.settled.update(pending.position for pending in fresh)
            yield from hold.commit(settle=tuple(settling(pending, lost=hold.lost > 0) for pending in fresh))
            return True
        maps = [pending for pending in decision.begin if isinstance(pending.command, MapSteps)]
        if maps and not hold.is_clean:
            yield from hold.commit()
        for pending in maps:
            given = yield from before_calls(services, hold, pending)
            if given is None:
                break
            # Calls of the part before may end meanwhile, at any rate: that must not hold up the next part.
            hand_over(services, hold, pending, given)
            yield from hold.commit(whatever_came=True)
            self._ring(hold.rings)
            hold.rings.clear()
        return bool(maps)

    def _inline(self, decision: Advance) -> InlineAttempt | None:
        """Hand over what is not to be run here; the attempt to be made now, if there is one."""
        chosen: tuple[Pending, str] | None = None
        alone = len(decision.begin) == 1 and not decision.waiting
        for pending in decision.begin:
            if pending.retry_at is not None and not pending.queued and pending.retry_at > self._hold.now():
                continue
            command = pending.command
            if chosen is None and isinstance(command, (CallStep, Undo)):
                queue = self._queue_here(command, alone=alone)
                if queue is not None:
                    chosen = pending, queue
                    continue
            hand_over(self._services, self._hold, pending)
        if chosen is None:
            return None
        return InlineAttempt(self._services, self._attempts, self._hold, *chosen)

    def _queue_here(self, command: CallStep | Undo, *, alone: bool) -> str | None:
        """The queue of a command that is to be run here; None for one that is handed over."""
        is_as_its_step = alone and isinstance(command, CallStep) and not command.is_changed
        if is_as_its_step and (known := self._here.get(command.name)) is not None:
            return known
        queue = queue_of(self._services, self._hold.run, command)
        dispatch = command.settings.dispatch if isinstance(command, CallStep) else None
        is_here = alone and self._services.bells.consumes(queue) if dispatch is None else dispatch == "inline"
        if is_here and is_as_its_step:
            self._here[command.name] = queue
        return queue if is_here else None

    def _leave_inline(self, attempt: InlineAttempt) -> Pieces[bool]:
        later = self._hold.now() + UNKNOWN_LATER
        release = Release(wake_at=later, keep_lost=True, note=attempt.unknown)
        yield from self._hold.commit(release=release)
        return True


def _are_calls(begin: Sequence[Pending]) -> bool:
    if len(begin) == 1:  # most often
        return type(begin[0].command) is CallStep
    return all(type(pending.command) is CallStep for pending in begin)
