"""What is so in the block in which an attempt's code runs.

One block for all of it, because each attempt enters it: entering and leaving one for each of these costs more than most
else of an attempt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwit_durable.core.building import enter, enter_step, leave, leave_step
from qwit_durable.language.context import enter_attempt, leave_attempt
from qwit_durable.language.current import mean, unmean

if TYPE_CHECKING:
    from qwit_durable.language.context import HasContext
    from qwit_durable.language.current import Starter

__all__ = ["Inside"]


class Inside:
    """In this block an attempt of a step runs.

    Building a call is an error, and what is built is no part of a body that has led here. `current()` answers with the
    attempt's context. A plain `checkout.start(...)` means its own `Durable`, whatever is entered or installed.
    """

    __slots__ = ("_attempt", "_before", "_name", "_starter")

    def __init__(
        self, name: str, attempt: HasContext | None = None, *, starter: Starter | None = None
    ) -> None:
        self._name = name
        self._attempt = attempt
        self._starter = starter

    def __enter__(self) -> None:
        self._before = (
            enter_step(self._name),
            enter(None),
            enter_attempt(self._attempt),
            mean(self._starter),
        )

    def __exit__(self, *_: object) -> None:
        step, sink, attempt, starter = self._before
        unmean(starter)
        leave_attempt(attempt)
        leave(sink)
        leave_step(step)
