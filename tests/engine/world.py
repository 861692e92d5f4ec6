"""A small outside world for crash tests: effects keyed by idempotency key, with an undo for each.

Every attempt is counted; an effect with a key that was seen is not done again, as a well-made step would have it.
"""

from __future__ import annotations

import attrs

from qwit_durable.language.context import current


@attrs.define
class World:
    """What steps have done to the outside."""

    done: dict[str, str] = attrs.field(factory=dict)
    undone: dict[str, str] = attrs.field(factory=dict)
    attempts: list[str] = attrs.field(factory=list)
    order: list[str] = attrs.field(factory=list)

    def do(self, what: str) -> None:
        """An effect."""
        self.attempts.append(what)
        key = current().idempotency_key
        if key not in self.done:
            self.done[key] = what
            self.order.append(what)

    def undo(self, what: str) -> None:
        """The undoing of an effect."""
        self.attempts.append(f"undo {what}")
        key = current().idempotency_key
        if key not in self.undone:
            self.undone[key] = what
            self.order.append(f"undo {what}")

    @property
    def standing(self) -> list[str]:
        """The effects that were done and not undone, sorted."""
        left = sorted(self.done.values())
        for what in self.undone.values():
            left.remove(what)
        return left
