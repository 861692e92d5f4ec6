"""The undos a body owes, oldest first, kept up to date as outcomes are recorded.

A step's `completed` undo is owed once its success is recorded; an `attempted` one as soon as an attempt may have begun,
and until the step is dropped without one. A completed sub-workflow is one debt. Members of a gather are owed in the
order in which they completed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import takewhile

import attrs

from qwit_durable.core.carried import Carried
from qwit_durable.core.commands import CallStep, CallWorkflow, Compensate, Leaf, MapSteps
from qwit_durable.core.events import Debt, DebtKind, Resolved
from qwit_durable.core.outcome import Dropped, Value
from qwit_durable.errors import Failure, UnknownName

__all__ = ["Debts"]


class Debts:
    """What one scope owes.

    Attributes:
        in_doubt: Set where nobody here can tell whether a step that was made owes anything: its name is not known.
    """

    def __init__(self) -> None:
        self._owed: dict[str, Debt] = {}
        self.in_doubt: UnknownName | None = None

    def owe_step(
        self, position: str, name: str, args: bytes, result: bytes | None = None, *, attempt: int = 1
    ) -> None:
        """Owe a step's undo, as the newest debt."""
        self._owed.pop(position, None)
        self._owed[position] = Debt(
            position=position, kind=DebtKind.UNDO, name=name, args=args, result=result, attempt=attempt
        )

    def settle(self, command: Leaf, event: Resolved, given: bytes | None = None) -> None:
        """Take a command's outcome, or that of one call of a map, into account.

        `given` are the arguments that a guard put in the place of its own.
        """
        match command:
            case CallStep() if command.takes_over is not None and isinstance(event.outcome, Value):
                self._go_on(command.takes_over, event.outcome.data)
            case CallStep() | MapSteps():
                if command.undo_when is not None:
                    args = event.args if given is None else given
                    self._settle_step(event, args, attempted=command.undo_when == "attempted")
            case CallWorkflow() if event.owes and isinstance(event.outcome, Value):
                self._owe(event, DebtKind.RUN)
            case Compensate(call=call) if isinstance(event.outcome, Value):
                self._owe(event, DebtKind.CALL, Carried.of(call.settings) if call.is_changed else None)
            case _:
                pass

    def _settle_step(self, event: Resolved, args: bytes, *, attempted: bool) -> None:
        position, attempt = event.position, event.attempt
        if attempt == 0:
            self._owed.pop(position, None)  # a guard did not let it begin
            return
        match event.outcome:
            case Value(data=data):
                self.owe_step(position, event.name, args, data, attempt=attempt)
            case Failure() if event.refused is not None:
                self.owe_step(position, event.name, args, event.refused, attempt=attempt)
            case Failure() | Dropped(begun=True) if attempted:
                self.owe_step(position, event.name, args, attempt=attempt)
            case _:
                self._owed.pop(position, None)

    def _owe(self, event: Resolved, kind: DebtKind, settings: Carried | None = None) -> None:
        self._owed[event.position] = Debt(
            position=event.position, kind=kind, name=event.name, args=event.args, settings=settings
        )

    def _go_on(self, name: str, result: bytes) -> None:
        """What the newest undo of that step gets as the step's result."""
        for debt in reversed(self._owed.values()):
            if debt.name == name and debt.kind is DebtKind.UNDO:
                self._owed[debt.position] = attrs.evolve(debt, result=result)
                return

    @property
    def newest(self) -> Debt | None:
        """What would be undone first."""
        return next(reversed(self._owed.values()), None)

    def owed_in(self, within: Callable[[str], bool], since: Debt | None) -> tuple[Debt, ...]:
        """The plan of a scope: what is owed for the commands at these positions, newest first.

        `since` was the newest when the scope began: so that a plan does not cost as much as everything that is owed,
        what is older than that is not looked at.
        """
        later = takewhile(lambda debt: debt is not since, reversed(self._owed.values()))
        return tuple(debt for debt in later if within(debt.position))

    def hand_over(self, plan: Iterable[Debt]) -> None:
        """Somebody else pays these from now on."""
        for debt in plan:
            self._owed.pop(debt.position, None)

    def bring(self, owed: Iterable[Debt]) -> None:
        """Owe what was owed before a restart, oldest first."""
        for debt in owed:
            self._owed[debt.position] = debt

    def newest_first(self) -> tuple[Debt, ...]:
        """The plan."""
        return tuple(reversed(self._owed.values()))
