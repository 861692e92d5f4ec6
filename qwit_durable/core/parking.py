"""What a run needs to remember so that a failure of its body can wait for a person.

A parked run has raised, and nothing is undone. `retry` takes back the outcome of the step whose failure the body let
out, `skip` puts a value in its place: the body is then run again from its beginning over the facts as they would have
been. What was dropped because of the failure (other members of its gather) is taken back too. So the facts are kept, by
those workflows alone that ask for it (`park_on_failure`). A sub-workflow that has failed has undone what it did, and
the calls of a map that were dropped are gone: those are not taken back. Nor is a failure that has had consequences: a
saga or the losers of a race were undone, or a handler has run other commands before it let the error out.
"""

from __future__ import annotations

import attrs

from qwit_durable.core.commands import Kind
from qwit_durable.core.events import AttemptFailed, Event, OperatorActed, Resolved, Scheduled
from qwit_durable.core.outcome import Dropped, Value
from qwit_durable.core.status import Verb
from qwit_durable.errors import Failure

__all__ = ["Parking", "TakenBack"]


@attrs.frozen
class TakenBack:
    """The facts as they are to be read from now on, and the outcomes that were taken back."""

    facts: tuple[Event, ...]
    outcomes: tuple[Resolved, ...]


class Parking:
    """The facts of a run, and which of them raised what in the body."""

    def __init__(self) -> None:
        self._facts: list[Event] = []
        self._raised: list[tuple[BaseException, Resolved]] = []

    def copy(self) -> Parking:
        """The same, to try something on."""
        copy = Parking()
        copy._facts, copy._raised = self._facts.copy(), self._raised.copy()
        return copy

    def take(self, event: Event) -> None:
        """One more fact."""
        self._facts.append(event)

    def raised(self, error: BaseException, event: Resolved) -> None:
        """This fact raised that error in the body."""
        self._raised.append((error, event))

    def position_of(self, error: BaseException | None) -> str | None:
        """The command whose failure an error is, or comes from; None where the body itself went wrong."""
        while error is not None:
            for raised, event in reversed(self._raised):
                if raised is error:
                    return event.position
            error = error.__cause__ or error.__context__
        return None

    def take_back(self, position: str | None, decision: OperatorActed) -> TakenBack | None:
        """What `retry` or `skip` makes of the facts; None where there is nothing to take back."""
        failed = next((e for _, e in reversed(self._raised) if e.position == position), None)
        if failed is None:
            return None
        place = next(i for i, event in enumerate(self._facts) if event is failed)
        later = [event for event in self._facts[place + 1 :] if isinstance(event, Resolved)]
        dropped = [event for event in later if isinstance(event.outcome, Dropped)]
        cancelled = [e for e in later if e.kind is Kind.WORKFLOW and isinstance(e.outcome, Failure)]
        skips = decision.verb is Verb.SKIP
        if cancelled or any(e.kind is Kind.MAP for e in (failed, *dropped)):
            return None
        if failed.kind is not Kind.STEP and not skips:
            return None
        outcomes = tuple(dropped) if skips else (failed, *dropped)
        positions = {event.position for event in outcomes}
        done = attrs.evolve(failed, outcome=Value(decision.value or b"null")) if skips else failed
        self._facts = [
            done if event is failed else event
            for event in self._facts
            if event is not decision and not _is_about(event, positions)
        ]
        self._raised.clear()
        return TakenBack(tuple(self._facts), outcomes)


def _is_about(event: Event, positions: set[str]) -> bool:
    return isinstance(event, Scheduled | AttemptFailed | Resolved) and event.position in positions
