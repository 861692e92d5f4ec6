"""The parts of a body that nobody goes on with: settled first, then undone, and only then answered.

A scope's commands are told from others by their positions. A part may lie within another one: the outer waits for the
inner, which goes its way to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from qwit_durable.core.debts import Debts
from qwit_durable.core.frames import Answer
from qwit_durable.core.scope import Closing, Open, Target, lies_in
from qwit_durable.core.unwind import Unwinding

__all__ = ["Closings"]


class Closings:
    """Those that are not over yet, in the order in which they began.

    `tell` is called with whoever waits for one that is over.
    """

    def __init__(self, debts: Debts, tell: Callable[[Target, Answer], None]) -> None:
        self._debts = debts
        self._tell = tell
        self._closings: list[Closing] = []
        self._undoes = True

    def __iter__(self) -> Iterator[Closing]:
        return iter(list(self._closings))

    def __bool__(self) -> bool:
        return bool(self._closings)

    def begin(self, closing: Closing, entries: Iterable[Open]) -> None:
        """Let what lies in a scope settle."""
        for entry in entries:
            if lies_in(entry.position, closing.scope) and not entry.settling:
                entry.settling, entry.closing = True, closing
                closing.unsettled += 1
        for inner in self._closings:
            if inner.outer is None and lies_in(inner.scope, closing.scope):
                inner.outer = closing
                closing.unsettled += 1
        self._closings.append(closing)
        self._look_at(closing)

    def add(self, closing: Closing) -> None:
        """Take in one that is being undone already."""
        self._closings.append(closing)

    def forget_unplanned(self) -> None:
        """Let go of those whose plan is not recorded."""
        self._closings = [closing for closing in self._closings if closing.unwinding is not None]
        for closing in self._closings:
            closing.outer = closing.target = None

    def one_settled(self, closing: Closing | None) -> None:
        """Something that a closing waited for is over."""
        if closing is not None:
            closing.unsettled -= 1
            self._look_at(closing)

    def planned(self, scope: str) -> Closing | None:
        """The closing whose plan has been recorded."""
        for closing in self._closings:
            if closing.scope == scope and closing.plan and closing.unwinding is None:
                return closing
        return None

    def awaiting(self, signal: str) -> Unwinding | None:
        """The undos of the first scope whose current one waits for a signal of that name: then it is not the body's."""
        undos = (closing.unwinding for closing in self._closings)
        return next((undo for undo in undos if undo is not None and undo.awaits == signal), None)

    def finish(self, closing: Closing) -> None:
        """All that a closing owed is undone, or is not to be."""
        self._closings.remove(closing)
        if closing.target is not None:
            self._tell(closing.target, Answer(error=closing.failure))
        self.one_settled(closing.outer)

    def stop(self, *, undoes: bool) -> None:
        """The body has ended; `undoes` tells whether scopes that have not begun to undo what they owe still do."""
        self._undoes = self._undoes and undoes
        for closing in self:
            if not self._undoes and closing.plan and closing.unwinding is None:
                self.finish(closing)

    def _look_at(self, closing: Closing) -> None:
        if closing.unsettled:
            return
        if closing.undoes and self._undoes:
            closing.plan = self._debts.owed_in(lambda place: lies_in(place, closing.scope), closing.since)
        if not closing.plan:
            self.finish(closing)
