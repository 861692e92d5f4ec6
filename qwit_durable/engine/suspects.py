"""Suspects: runs and queued attempts that a process was in the middle of when it died. One of them may have killed it.

A process carries many runs at once, so a step that always kills its process takes neighbours along: each loses a start.
Were all of them taken up again together, they would die together again, until those that did nothing wrong had used up
their attempts too. So what was lost with a process is gone on with one at a time in each process:

- Until a suspect has come past the attempt that it was lost in, or has been in it for a moment, the process takes up no
  other; nor does it hold one, since what is held counts as begun. So a suspect that dies alone is lost once more, and
  the others are not. The moment is short after the first death, too short to be felt after an ordinary `kill -9`, and
  ten times as long after each further one: what kills late, as by eating up all memory, is alone for longer then.
- Runs that lost nothing go on beside it. They may be lost with it, once: then they are suspects, and no more beside.

So a run that did nothing wrong loses one start of a step to a poison, however often that kills; one more where another
poison, of which nobody knew yet, kills the process at the very moment in which it is the one that goes on.

Who comes while another one goes on waits in its thread, if it has one for itself, or else is gone on with by threads
that carry runs (`engine.carrying`), or rung for: its turn is owed in the store and it is held by nobody, so should this
process die first, the sweeper rings. Nothing is asked and nothing written where nobody was lost: it is the store that
refuses a suspect to whoever asks for any run (`stores.kernel.turns`, `stores.kernel.queued`).

A turn that comes with the outcome of a queued step is held by then, so it goes on beside another suspect, if there is
one. No other begins before it is past.

Neighbours: `engine.turning.turns` and `engine.attempting.queued`, which ask here before they ask the store again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from qwit_durable.clock import monotonic
from qwit_durable.core import Advance
from qwit_durable.engine.carrying import Pieces
from qwit_durable.stores.rows import Ring

if TYPE_CHECKING:
    from qwit_durable.engine.turning.hold import Hold

__all__ = ["Suspect", "Suspects"]

_T = TypeVar("_T")
#: What threads that carry runs would carry.
_Again = Callable[[], Pieces[None]]

#: What one is about while it waits in its thread, as `Pieces` name steps.
_WAITING = "(waits for others that were lost)"
_MOMENT_SECONDS, _GROWTH, _LONGEST_SECONDS = 0.1, 10, 10.0
#: How long one waits in its thread: as long as a few others need for their moments.
_PATIENCE_SECONDS = 1.0


class Suspect:
    """The one that goes on. `engine.attempting.watchdog.Watched`.

    Attributes:
        due: When it has gone on for a moment.
    """

    def __init__(self, among: Suspects) -> None:
        self._among = among
        self.due = monotonic() + _MOMENT_SECONDS

    def begins(self, lost: int) -> None:
        """It goes on now, after so many attempts that may have been lost: from here its moment counts."""
        self.due = monotonic() + min(_MOMENT_SECONDS * _GROWTH ** max(lost - 1, 0), _LONGEST_SECONDS)

    def is_held(self, hold: Hold) -> None:
        """It is a run. Its first commit counts what was lost; with the second one it is past that."""

        def counted() -> None:
            decision = hold.decision
            tried = [each.attempts for each in decision.begin] if isinstance(decision, Advance) else []
            self.begins(max(tried, default=0))
            hold.after_commit(self.is_past)

        self.begins(hold.lost)
        hold.after_commit(counted)

    def is_past(self) -> None:
        """It has come past the attempt that it was lost in. Once is as good as twice."""
        self._among.let_next(self)

    def interrupt(self) -> bool:
        """It has gone on for a moment."""
        self.is_past()
        return False

    def abandon(self) -> None:
        """Nothing is left to do."""


class Suspects:
    """Lets one after another go on. Safe to use from any number of threads.

    Args:
        ring: Rings for the next one.
        watch: Has somebody look when the moment is over: `engine.attempting.watchdog.Watchdog.watch`.
    """

    def __init__(self, ring: Callable[[Sequence[Ring]], None], watch: Callable[[Suspect], None]) -> None:
        self._ring = ring
        self._watch = watch
        #: Has pieces carried by the threads that carry runs already; whether they will.
        self.join: Callable[[Pieces[None]], bool] = lambda _: False
        self._condition = threading.Condition()
        self._goes_on: Suspect | None = None
        self._threads = 0
        self._waiting: dict[tuple[UUID, str], tuple[Ring, _Again | None]] = {}

    def enter(self, *, waits: bool = False) -> Suspect | None:
        """Let one go on, after others if it waits; None if it is not its turn."""
        with self._condition:
            if waits:
                self._threads += 1
                self._condition.wait_for(lambda: self._goes_on is None, _PATIENCE_SECONDS)
                self._threads -= 1
            if self._goes_on is not None:
                return None
            self._goes_on = suspect = Suspect(self)
        self._watch(suspect)
        return suspect

    def one_by_one(
        self,
        ring: Ring,
        go_on: Callable[[Suspect], Pieces[_T]],
        again: _Again | None,
        give_back: Callable[[], None],
    ) -> Pieces[_T | None]:
        """Go on with one when it is its turn: here, or else `again`, or by whoever is rung for.

        It is given back before that, for whoever comes is to find it free.
        """
        suspect = self.enter()
        if suspect is None and (yield _WAITING) is not False:
            suspect = self.enter(waits=True)
        if suspect is None:
            give_back()
            self.put_off(ring, again)
            return None
        try:
            return (yield from go_on(suspect))
        finally:
            suspect.is_past()

    def put_off(self, ring: Ring, again: _Again | None = None) -> None:
        """Let one come again when it is its turn."""
        with self._condition:
            if self._goes_on is not None:
                self._waiting[ring.run_id, ring.position] = ring, again
                return
        self._call(ring, again)

    def let_next(self, before: Suspect) -> None:
        """One is past: it is the next one's turn."""
        with self._condition:
            if self._goes_on is not before:
                return
            self._goes_on = None
            if self._threads:
                self._condition.notify()
                return
            if not self._waiting:
                return
            ring, again = self._waiting.pop(next(iter(self._waiting)))
        self._call(ring, again)

    def _call(self, ring: Ring, again: _Again | None) -> None:
        if again is None or not self.join(again()):
            self._ring([ring])

    def give_up(self) -> None:
        """Ring for all that wait: they are left to other processes."""
        with self._condition:
            rings = [ring for ring, _ in self._waiting.values()]
            self._waiting.clear()
        self._ring(rings)
