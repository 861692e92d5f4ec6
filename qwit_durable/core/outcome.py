"""How a command ended: with a value, with a failure, or dropped before it could."""

from __future__ import annotations

from qwit_durable.core.facts import fact
from qwit_durable.errors import Failure

__all__ = ["Dropped", "Outcome", "Value"]


@fact
class Value:
    """The command's value as canonical JSON.

    `awaits`: of an undo that is not done yet, the name of the signal with which it goes on.
    """

    data: bytes = b"null"
    awaits: str | None = None


@fact
class Dropped:
    """The command was settled because nobody waits for it any more. `begun` tells whether an attempt had begun.

    Of a map, `left` is how many of its attempts are still under way: it has settled when all of them have ended.
    """

    begun: bool = False
    left: int = 0


Outcome = Value | Failure | Dropped
