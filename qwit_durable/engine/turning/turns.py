"""Turns: a run is acquired, takes its course (`course`), and what that leads to is followed by the same thread.

- Holders that died without recording anything are counted: as lost attempts of the step that replay reaches, or, five
  in a row where there is no step, as a crash that a person has to look at. Such runs take turns (`engine.suspects`).
- The thread that ends a sub-workflow goes on with the parent, and the one that starts it with the child, if it consumes
  the queue: no hop. The one that ends the head of a lane has the turn of the next run by the same write.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from uuid import UUID

import attrs

from qwit_durable.core import Interpreter
from qwit_durable.engine.attempting.attempts import Attempts
from qwit_durable.engine.attempting.watchdog import Abandoned
from qwit_durable.engine.carrying import Carriers, Pieces
from qwit_durable.engine.carrying.pace import Pace
from qwit_durable.engine.holding import Holding
from qwit_durable.engine.ports import Services
from qwit_durable.engine.suspects import Suspect, Suspects
from qwit_durable.engine.turning.course import Course
from qwit_durable.engine.turning.glances import Glances
from qwit_durable.engine.turning.hold import Hold, LostHold, Rested, Superseded
from qwit_durable.engine.turning.interpreters import Interpreters
from qwit_durable.engine.turning.letting_go import Breaks, leave_to_others, stop_crashing
from qwit_durable.engine.turning.onward import Onward, Slice
from qwit_durable.errors import StoreError, StoreUnavailable, UnknownName
from qwit_durable.stores.answers import Acquired, Refused
from qwit_durable.stores.rows import Ring
from qwit_durable.stores.writes import Acquire

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
        interpreters: Interpreters,
        pace: Pace,
        suspects: Suspects,
    ) -> None:
        self._services = services
        self._suspects = suspects
        self._interpreters = interpreters
        self._holding: Holding[UUID] = Holding()
        self._breaks = Breaks(services)
        self.carriers = Carriers(services.committer, services.bells, pace)
        self.glances = Glances(services, interpreters)
        self._course = partial(Course, services, attempts, interpreters.fresh, self.carriers.ring)

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
        # Held already, it goes on whoever else does; who comes after it waits.
        suspect = self._suspects.enter() if acquired.live.lost else None
        try:
            return (yield from self._take_turn(acquired, give_back, slice_, suspect))
        finally:
            give_back()
            if suspect is not None:
                suspect.is_past()

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
        generation, head = self._interpreters.known(run_id)
        acquired = yield Acquire(
            run_id=run_id,
            worker=self._services.worker,
            after=head,
            generation=generation,
            may_take_over=self._services.may_take_over(),
            lost_too=suspect is not None,
        )
        if isinstance(acquired, Acquired):
            return (yield from self._take_turn(acquired, give_back, slice_, suspect))
        if isinstance(acquired, Refused) and acquired.ring is not None:
            return (yield from self._acquire_lost(acquired.ring, give_back, slice_))
        return Onward()

    def _take_turn(
        self,
        acquired: Acquired,
        give_back: GiveBack,
        slice_: Slice,
        suspect: Suspect | None = None,
    ) -> Pieces[Onward]:
        if acquired.live.lost >= _CRASHES:
            stop_crashing(self._services, acquired)
            return Onward()
        hold: Hold | None = None
        interpreter: Interpreter | None = None
        try:
            acquired, interpreter = self._with_interpreter(acquired)
            hold = Hold(self._services, acquired, interpreter, give_back)
            if suspect is not None:
                suspect.is_held(hold)
            keep = yield from self._course(hold, slice_).run()
        except Rested:
            # Others go first: the bell goes to the end of the queue, not back to this thread, and finds the run free.
            assert hold is not None
            self._interpreters.put(acquired.run.id, hold.interpreter)
            give_back()
            self.carriers.ring(hold.rings)
            return Onward()
        except UnknownName as error:
            _close_of(hold, interpreter)
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
            self._interpreters.put(acquired.run.id, hold.interpreter)
        else:
            hold.interpreter.close()
        return Onward(hold.rings, hold.following)

    def _with_interpreter(self, acquired: Acquired) -> tuple[Acquired, Interpreter]:
        """One that is to be fed the events that came along; where there is none, those from the beginning."""
        run, live = acquired.run, acquired.live
        since = live.head - len(acquired.events)
        kept = self._interpreters.take(run, live.generation, since=since, head=live.head)
        if kept is not None:
            return acquired, kept
        history = self._services.store.history(run.id)
        events = tuple(one.event for one in history if one.number <= live.head)
        return attrs.evolve(acquired, events=events), self._interpreters.fresh(run, live.generation)


def _close_of(hold: Hold | None, interpreter: Interpreter | None) -> None:
    """Close the interpreter at hand: a restart has put another one in the place of the first."""
    interpreter = interpreter if hold is None else hold.interpreter
    if interpreter is not None:
        interpreter.close()
