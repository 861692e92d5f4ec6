"""The undos a body owes, oldest first, kept up to date as outcomes are recorded.

A step's `completed` undo is owed once its success is recorded; an `attempted` one as soon as an attempt may have begun,
and until the step is dropped without one. A completed sub-workflow is one debt. Members of a gather are owed in the
order in which they completed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from qwit_durable.core.carried import Carried
from qwit_durable.core.commands import CallStep, CallWorkflow, Compensate, Leaf, MapSteps
from qwit_durable.core.events import Debt, DebtKind, Resolved
from qwit_durable.core.outcome import Dropped, Value
from qwit_durable.errors import Failure

__all__ = ["Debts"]


class Debts:
    """What one scope owes."""

    def __init__(self) -> None:
        self._owed: dict[str, Debt] = {}

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
        position, args = event.position, event.args if given is None else given
        match command, event.outcome:
            case CallStep(takes_over=str(name)), Value(data=data):
                self._go_on(name, data)
            case CallStep(undo_when=None) | MapSteps(undo_when=None), _:
                pass
            case CallStep() | MapSteps(), _ if event.attempt == 0:
                self._owed.pop(position, None)  # a guard did not let it begin
            case CallStep() | MapSteps(), Failure() if event.refused is not None:
                self.owe_step(position, event.name, args, event.refused, attempt=event.attempt)
            case CallStep() | MapSteps(), Value(data=data):
                self.owe_step(position, event.name, args, data, attempt=event.attempt)
            case CallStep(undo_when="attempted") | MapSteps(undo_when="attempted"), outcome if not (
                isinstance(outcome, Dropped) and not outcome.begun
            ):
                self.owe_step(position, event.name, args, attempt=event.attempt)
            case CallStep() | MapSteps(), _:
                self._owed.pop(position, None)
            case CallWorkflow(), Value() if event.owes:
                self._owed[position] = Debt(
                    position=position, kind=DebtKind.RUN, name=event.name, args=event.args
                )
            case Compensate(call=call), Value():
                self._owed[position] = Debt(
                    position=position,
                    kind=DebtKind.CALL,
                    name=event.name,
                    args=event.args,
                    settings=Carried.of(call.settings) if call.is_changed else None,
                )
            case _:
                pass

    def _go_on(self, name: str, result: bytes) -> None:
        """What the newest undo of that step gets as the step's result."""
        for debt in reversed(self._owed.values()):
            if debt.name == name and debt.kind is DebtKind.UNDO:
                self._owed[debt.position] = attrs.evolve(debt, result=result)
                return

    def owed_in(self, within: Callable[[str], bool]) -> tuple[Debt, ...]:
        """The plan of a scope: what is owed for the commands at these positions, newest first."""
        return tuple(debt for debt in reversed(self._owed.values()) if within(debt.position))

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
