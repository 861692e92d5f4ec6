"""Turns: a run is acquired, its body fed, and one transition after another committed, until it waits, ends or yields.

The order is fixed: commit first, then the next effect, then the ringing. Everything the body has seen is durable before
an attempt begins; a run of n inline steps costs one commit a step.

- A step runs inline when it is the only thing the run has to do, its queue is consumed here and it does not ask for a
  queue; everything else is handed over.
- Holders that died without recording anything are counted: as lost attempts of the step that replay reaches, or, five
  in a row where there is no step, as a crash that a person has to look at. Such runs take turns (`engine.suspects`).
- The thread that ends a sub-workflow goes on with the parent, and the one that starts it with the child, if it consumes
  the queue: no hop. The one that ends the head of a lane has the turn of the next run by the same write.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

import attrs

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
from qwit_durable.engine.attempting.watchdog import Abandoned
from qwit_durable.engine.carrying import Carriers, Pieces
from qwit_durable.engine.carrying.pace import Pace
from qwit_durable.engine.holding import Holding
from qwit_durable.engine.ports import Services
from qwit_durable.engine.suspects import Suspect, Suspects
from qwit_durable.engine.turning.asking import before_calls, before_steps
from qwit_durable.engine.turning.cache import InterpreterCache
from qwit_durable.engine.turning.glances import Glances
from qwit_durable.engine.turning.handover import hand_over, queue_of, resolve_local, settling
from qwit_durable.engine.turning.hold import Hold, LostHold, Rested, Superseded
from qwit_durable.engine.turning.letting_go import UNKNOWN_LATER, Breaks, leave_to_others, stop_crashing
from qwit_durable.engine.turning.onward import Onward, Slice
from qwit_durable.engine.turning.programs import Programs
from qwit_durable.engine.turning.report import finish, write_down
from qwit_durable.engine.turning.stuck import halt
from qwit_durable.errors import StoreError, StoreUnavailable, UnknownName
from qwit_durable.stores.answers import Acquired, Refused
from qwit_durable.stores.rows import Ring
from qwit_durable.stores.writes import Acquire, Release

__all__ = ["Turns"]

_logger = logging.getLogger("qwit_durable.turns")
_CRASHES = 5
GiveBack = Callable[[], None]


class Turns:
    """Drives runs, in whichever thread carries them."""

    def __init__(
        self,
        services: Services,
        attempts: Attempts,
        cache: InterpreterCache,
        pace: Pace,
        suspects: Suspects,
    ) -> None:
        self._services = services
        self._suspects = suspects
        self._attempts = attempts
        self._cache = cache
        self._programs = Programs(services.registry, services.settings.limit_bytes)
        self._holding: Holding[UUID] = Holding()
        self._breaks = Breaks(services)
        self.carriers = Carriers(services.committer, services.bells, pace)
        self.glances = Glances(services, self._programs, cache)

    @property
    def holding(self) -> frozenset[UUID]:
        """The runs that threads of this process hold, or are about to."""
        return self._holding.keys()

    def turns_of(self, run_id: UUID) -> Pieces[None]:
        """Turns of a run, and of the parent or child that follows from it, until there is nothing to do here.

        What goes wrong is logged: the row and the sweeper bring the run back.
        """
        slice_ = Slice(self._services)
        return self._drive(run_id, self._turn(run_id, slice_), slice_)

    def expect(self, run_id: UUID) -> Callable[[], None]:
        """Name a run as held that a thread of this process is to go on with; answer how to say that none is."""
        token = self._holding.take_over(run_id)
        return lambda: self._holding.give_back(run_id, token)

    def going_on(self, acquired: Acquired) -> Pieces[None]:
        """The turn that came with an outcome or a start, and those that follow from it."""
        slice_ = Slice(self._services)
        return self._drive(acquired.run.id, self._take_over(acquired, slice_), slice_)

    def _take_over(self, acquired: Acquired, slice_: Slice) -> Pieces[Onward]:
        run_id = acquired.run.id
        token = self._holding.take_over(run_id)
        give_back = partial(self._holding.give_back, run_id, token)
        try:
            return (yield from self._take(acquired, give_back, slice_))
        finally:
            give_back()

    def _take(self, acquired: Acquired, give_back: GiveBack, slice_: Slice) -> Pieces[Onward]:
        cached = self._cache.take(acquired.run.id)
        missing = acquired.live.head - len(acquired.events)
        if cached is not None and (cached.generation, cached.head) != (acquired.live.generation, missing):
            # Another thread has had it meanwhile.
            cached.close()
            cached = None
        if cached is None and missing:
            history = self._services.store.history(acquired.run.id)
            events = tuple(one.event for one in history if one.number <= acquired.live.head)
            acquired = attrs.evolve(acquired, events=events)
        return self._take_turn(acquired, cached, give_back, slice_, None)

    def _drive(self, run_id: UUID, first: Pieces[Onward], slice_: Slice) -> Pieces[None]:
        try:
            yield from self._follow(first, slice_)
        except StoreError as error:
            _logger.warning("run %s: no turn: %s", run_id, error)
        except Exception:
            _logger.exception("run %s: the turn broke off", run_id)

    def _follow(self, first: Pieces[Onward], slice_: Slice) -> Pieces[None]:
        onward = yield from first
        while True:
            following, for_others = onward.divided(slice_, self._services)
            self.carriers.ring(for_others)
            if following is None:
                return
            if isinstance(following, Acquired):
                onward = yield from self._take_over(following, slice_)
            else:
                onward = yield from self._turn(following, slice_)

    def _turn(self, run_id: UUID, slice_: Slice, lost: Ring | None = None) -> Pieces[Onward]:
        token = self._holding.take(run_id)
        if token is None:
            return Onward()
        give_back = partial(self._holding.give_back, run_id, token)
        try:
            if lost is None:
                return (yield from self._acquire(run_id, give_back, slice_))
            return (yield from self._acquire_lost(lost, give_back, slice_))
        finally:
            give_back()

    def _acquire_lost(self, ring: Ring, give_back: GiveBack, slice_: Slice) -> Pieces[Onward]:
        def again() -> Pieces[None]:
            slice_ = Slice(self._services)
            return self._drive(ring.run_id, self._turn(ring.run_id, slice_, ring), slice_)

        go_on = partial(self._acquire, ring.run_id, give_back, slice_)
        return (yield from self._suspects.one_by_one(ring, go_on, again, give_back)) or Onward()

    def _acquire(
        self, run_id: UUID, give_back: GiveBack, slice_: Slice, suspect: Suspect | None = None
    ) -> Pieces[Onward]:
        cached = self._cache.take(run_id)
        acquired = yield Acquire(
            run_id=run_id,
            worker=self._services.worker,
            after=cached.head if cached is not None else 0,
            generation=cached.generation if cached is not None else 0,
            may_take_over=self._services.may_take_over(),
            lost_too=suspect is not None,
        )
        if isinstance(acquired, Acquired):
            return (yield from self._take_turn(acquired, cached, give_back, slice_, suspect))
        if cached is not None:
            self._cache.put(run_id, cached)
        if isinstance(acquired, Refused) and acquired.ring is not None:
            return (yield from self._acquire_lost(acquired.ring, give_back, slice_))
        return Onward()

    def _take_turn(
        self,
        acquired: Acquired,
        cached: Interpreter | None,
        give_back: GiveBack,
        slice_: Slice,
        suspect: Suspect | None,
    ) -> Pieces[Onward]:
        if acquired.live.lost >= _CRASHES:
            stop_crashing(self._services, acquired)
            return Onward()
        if cached is not None and cached.generation != acquired.live.generation:
            cached.close()
            cached = None
        hold: Hold | None = None
        interpreter = cached
        try:
            interpreter = cached or self._programs.interpreter(acquired.run, acquired.live.generation)
            hold = Hold(self._services, acquired, interpreter, give_back)
            if suspect is not None:
                suspect.is_held(hold)
            keep = yield from self._advance(hold, slice_)
        except Rested:
            # Others go first: the bell goes to the end of the queue, not back to this thread, and finds the run free.
            assert hold is not None
            self._cache.put(acquired.run.id, hold.interpreter)
            give_back()
            self.carriers.ring(hold.rings)
            return Onward()
        except UnknownName as error:
            leave_to_others(self._services, acquired, str(error))
            return Onward()
        except (Superseded, LostHold, Abandoned) as lost:
            _close_of(hold, interpreter)
            return Onward(lost.rings if isinstance(lost, Superseded) else ())
        except StoreUnavailable:
            _close_of(hold, interpreter)
            raise
        except BaseException as error:
            _close_of(hold, interpreter)
            self.carriers.ring(self._breaks.let_go(acquired, hold, error))
            raise
        assert hold is not None
        if keep:
            self._cache.put(acquired.run.id, hold.interpreter)
        else:
            hold.interpreter.close()
        return Onward(hold.rings, hold.following)

    # -- one decision after another ----------------------------------------------------------------------------

    def _advance(self, hold: Hold, slice_: Slice) -> Pieces[bool]:
        """Carry out decisions until the run is let go of; tell whether its interpreter is worth keeping."""
        rested = True
        while True:
            decision = hold.decision
            while refusals := hold.interpreter.refusals:
                _logger.warning("run %s: %s", hold.run.key, refusals.pop(0))
            match decision:
                case Advance():
                    has_more = decision.settle or not _are_calls(decision.begin)
                    if has_more and (yield from self._do_here(hold, decision)):
                        continue
                    if self._services.guards and (yield from before_steps(self._services, hold, decision)):
                        continue
                    attempt = self._inline(hold, decision)
                    if attempt is None:
                        yield from hold.commit(release=hold.until_it_goes_on(decision))
                        return True
                    if not rested and slice_.is_over:
                        yield from hold.rest()
                    rested = False
                    if not (yield from attempt.run()):
                        return (yield from self._leave_inline(hold, attempt))
                case Unwind():
                    write_down(self._services, hold, decision)
                case StartOver():
                    yield from self._start_over(hold, decision)
                    if slice_.is_over:
                        yield from hold.rest()
                case Finish():
                    yield from finish(self._services, hold, decision, slice_)
                    return False
                case Halt():
                    yield from halt(self._services, hold, decision)
                    return False

    def _start_over(self, hold: Hold, decision: StartOver) -> Pieces[None]:
        restarted = Restarted(args=decision.args, owed=decision.owed, signals=decision.signals)
        yield from hold.commit(restart=restarted)
        hold.begin_again(restarted, self._programs.interpreter(hold.run, hold.live.generation + 1))

    def _do_here(self, hold: Hold, decision: Advance) -> Pieces[bool]:
        """Resolve what needs nobody else, and settle what nobody waits for; tell whether there was anything."""
        outcomes = (resolve_local(self._services, hold, pending) for pending in decision.begin)
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
            given = yield from before_calls(self._services, hold, pending)
            if given is None:
                break
            # Calls of the part before may end meanwhile, at any rate: that must not hold up the next part.
            hand_over(self._services, hold, pending, given)
            yield from hold.commit(whatever_came=True)
            self.carriers.ring(hold.rings)
            hold.rings.clear()
        return bool(maps)

    def _inline(self, hold: Hold, decision: Advance) -> InlineAttempt | None:
        """Hand over what is not to be run here; the attempt to be made now, if there is one."""
        chosen: tuple[Pending, str] | None = None
        alone = len(decision.begin) == 1 and not decision.waiting
        for pending in decision.begin:
            if pending.retry_at is not None and not pending.queued and pending.retry_at > hold.now():
                continue
            command = pending.command
            if chosen is None and isinstance(command, (CallStep, Undo)):
                queue = queue_of(self._services, hold.run, command)
                if self._runs_here(command, queue, alone=alone):
                    chosen = pending, queue
                    continue
            hand_over(self._services, hold, pending)
        return None if chosen is None else InlineAttempt(self._services, self._attempts, hold, *chosen)

    def _runs_here(self, command: CallStep | Undo, queue: str, *, alone: bool) -> bool:
        dispatch = command.settings.dispatch if isinstance(command, CallStep) else None
        if dispatch is not None:
            return dispatch == "inline"
        return alone and self._services.bells.consumes(queue)

    def _leave_inline(self, hold: Hold, attempt: InlineAttempt) -> Pieces[bool]:
        later = hold.now() + UNKNOWN_LATER
        yield from hold.commit(release=Release(wake_at=later, keep_lost=True, note=attempt.unknown))
        return True


def _are_calls(begin: Sequence[Pending]) -> bool:
    if len(begin) == 1:  # most often
        return type(begin[0].command) is CallStep
    return all(type(pending.command) is CallStep for pending in begin)


def _close_of(hold: Hold | None, interpreter: Interpreter | None) -> None:
    """Close the interpreter at hand: a restart has put another one in the place of the first."""
    interpreter = interpreter if hold is None else hold.interpreter
    if interpreter is not None:
        interpreter.close()
