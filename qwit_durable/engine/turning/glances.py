"""Glances: turns of many runs at once, of which nobody holds any.

A run that has slept, or waited for a signal, often does no more than end, or wait again. To find that out needs no more
than a look at it, because a body has no effects; and what follows is one write, which the store refuses if anything
about the run has changed meanwhile. So runs of which one bell tells are looked at together, fed, and committed
together: one read and one flush for all of them, where each would have two writes of its own.

Nothing is held, so a process that dies here takes nothing with it, and no start is lost. A body that kills whoever
looks at it would never be found out that way: the store shows no run of which a holder has died, nor one that was rung
for again and again. Those are acquired one after another, as are all runs that have a step to make, an undo, a guard to
ask: whatever may have effects. Their interpreters stay, so the look was not in vain.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import UUID

import attrs

from qwit_durable.core import Advance, Finish, Interpreter, Sleep, WaitSignal
from qwit_durable.engine.ports import Services
from qwit_durable.engine.turning.handover import hand_over
from qwit_durable.engine.turning.hold import Hold
from qwit_durable.engine.turning.interpreters import Interpreters
from qwit_durable.engine.turning.report import ending
from qwit_durable.errors import StoreError, UnknownName
from qwit_durable.stores.answers import Acquired, Answer, Committed
from qwit_durable.stores.rows import Ring
from qwit_durable.stores.writes import Commit

__all__ = ["Glances"]

_logger = logging.getLogger("qwit_durable.turns")


@attrs.define
class _Glance:
    """A run of which the next transition is known."""

    hold: Hold
    write: Commit


class Glances:
    """Carries runs on that need not be held for it."""

    def __init__(self, services: Services, interpreters: Interpreters) -> None:
        self._services = services
        self._interpreters = interpreters

    def carry_on(self, run_ids: Sequence[UUID]) -> frozenset[UUID]:
        """Take the turns of those for which a glance will do; answer which these were. Never raises."""
        begun: list[_Glance] = []
        done: set[UUID] = set()
        rings: list[Ring] = []
        try:
            for found in self._services.store.glance(
                [(one, *self._interpreters.known(one)) for one in run_ids]
            ):
                glance = self._begin(found)
                if glance is not None:
                    begun.append(glance)
            answers = self._services.committer.write_all([one.write for one in begun]) if begun else ()
            for glance, answer in zip(tuple(begun), answers, strict=True):
                if self._end(glance, answer):
                    done.add(glance.write.run_id)
                    rings.extend(glance.hold.rings)
                begun.remove(glance)
        except StoreError as error:
            _logger.warning("no glance at %d runs: %s", len(run_ids), error)
        except Exception:
            _logger.exception("no glance at %d runs", len(run_ids))
        finally:
            for glance in begun:
                glance.hold.interpreter.close()
        if rings:
            self._services.bells.ring(rings)
        return frozenset(done)

    def _begin(self, found: Acquired) -> _Glance | None:
        """What is next, if that is no more than a write."""
        interpreter = self._interpreter(found)
        if interpreter is None:
            return None
        try:
            hold = Hold(self._services, found, interpreter, _nothing)
            write = self._transition(hold)
        except UnknownName:
            interpreter.close()
            return None
        except BaseException:
            interpreter.close()
            raise
        if write is None:
            self._interpreters.put(found.run.id, interpreter)
            return None
        return _Glance(hold, attrs.evolve(write, seen=found.live))

    def _interpreter(self, found: Acquired) -> Interpreter | None:
        """One that is to be fed what was found; None if this process has none and could make none."""
        live = found.live
        try:
            return self._interpreters.take(
                found.run, live.generation, since=live.head - len(found.events), head=live.head
            )
        except UnknownName:
            return None

    def _transition(self, hold: Hold) -> Commit | None:
        """What is next; None if it takes more than a write."""
        decision = hold.decision
        if hold.interpreter.refusals:
            return None
        match decision:
            case Finish():
                outcome, report = ending(self._services, hold, decision)
                return hold.transition(outcome=outcome, report=report)
            case Advance(settle=()) if all(isinstance(p.command, Sleep | WaitSignal) for p in decision.begin):
                for pending in decision.begin:
                    hand_over(self._services, hold, pending)
                return hold.transition(release=hold.until_it_goes_on(decision))
            case _:
                return None

    def _end(self, glance: _Glance, answer: Answer | BaseException) -> bool:
        """Take in the answer; whether the turn was taken. Why it was not is told by the turn that follows."""
        hold, write = glance.hold, glance.write
        if not isinstance(answer, Committed):
            hold.interpreter.close()
            return False
        hold.committed(answer, write)
        if write.outcome is None:
            self._interpreters.put(hold.run.id, hold.interpreter)
        else:
            hold.interpreter.close()
            self._services.run_ended(hold.run.id)
        return True


def _nothing() -> None:
    """Nothing is held, so nothing is given back."""
