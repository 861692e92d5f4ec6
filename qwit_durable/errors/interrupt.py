"""What strikes a thread from outside, at any instruction: no fact about the code that it strikes."""

from __future__ import annotations

from abc import ABCMeta

__all__ = ["Interrupt"]


class Interrupt(BaseException, metaclass=ABCMeta):
    """Passes through the code of bodies, and is never taken for what that code raised.

    Those of others are registered: `Interrupt.register(KeyboardInterrupt)`; `broker` registers Dramatiq's.
    """


Interrupt.register(KeyboardInterrupt)
