"""A plan of owed undos and how far it has been followed, read from the facts alone. Pure."""

from __future__ import annotations

from collections import Counter

from qwit_durable.core import Cause, Debt, DebtKind, OperatorActed, Resolved, Value, Verb, undo_position
from qwit_durable.errors import Failure

__all__ = ["Undoing"]


class Undoing:
    """The plan of owed undos and how far it has been followed."""

    def __init__(self, cause: Cause, plan: tuple[Debt, ...]) -> None:
        self.cause = cause
        self._plan = plan
        self._done: list[Debt] = []
        self._failed: list[Debt] = []
        self._skipped: list[Debt] = []
        self._by_position = {undo_position(debt.position): debt for debt in plan}
        self._places: dict[str, str] = {}
        self._awaits: str | None = None
        self._heard: Counter[str] = Counter()

    def apply(self, event: Resolved | OperatorActed) -> None:
        """Take in the outcome of an undo, or what a person decided about one that gave up."""
        match event:
            case Resolved(position=position, outcome=Value(awaits=str(signal))):
                self._places[position.rstrip("+")] = f"{position}+"
                self._awaits = signal
                self._go_on()
            case Resolved(position=position, outcome=outcome):
                debt = self._by_position.get(position.rstrip("+"))
                if debt is not None and isinstance(outcome, Value):
                    self._done.append(debt)
                elif debt is not None and isinstance(outcome, Failure):
                    self._failed.append(debt)
            case OperatorActed(verb=Verb.RETRY | Verb.ROLLBACK):
                self._failed.clear()
            case OperatorActed(verb=Verb.SKIP):
                self._skipped.extend(self._failed)
                self._failed.clear()
            case OperatorActed():
                pass

    def hear(self, signal: str) -> None:
        """Take in a signal that came since the unwinding began."""
        self._heard[signal] += 1
        self._go_on()

    def _go_on(self) -> None:
        if self._awaits is None or not self._heard[self._awaits] or self.current is None:
            return
        self._heard[self._awaits] -= 1
        self._awaits = None
        self._places[undo_position(self.current.position)] = f"{self.place}+"

    @property
    def place(self) -> str:
        """Where the command of the undo stands whose turn it is; one that waits for signals has several."""
        position = "" if self.current is None else undo_position(self.current.position)
        return self._places.get(position, position)

    @property
    def done(self) -> tuple[str, ...]:
        """What has been undone, in the order in which it was."""
        return tuple(debt.name for debt in self._done)

    @property
    def failed(self) -> tuple[str, ...]:
        """Undos that gave up and wait for a person."""
        return tuple(debt.name for debt in self._failed)

    @property
    def _open(self) -> list[Debt]:
        settled = {debt.position for debt in (*self._done, *self._failed, *self._skipped)}
        return [debt for debt in self._plan if debt.position not in settled]

    @property
    def owed(self) -> tuple[str, ...]:
        """What is still to be undone, the next one first."""
        return tuple(debt.name for debt in self._open)

    @property
    def is_over(self) -> bool:
        """Whether nothing is owed any more, and nobody has to decide anything."""
        return not self._open and not self._failed

    @property
    def current(self) -> Debt | None:
        """The undo whose turn it is."""
        return next(iter(self._open), None)

    def reopens(self, position: str) -> Debt | None:
        """The debt of a sub-workflow whose undoing stands at this position."""
        debt = self._by_position.get(position)
        return debt if debt is not None and debt.kind is DebtKind.RUN else None
