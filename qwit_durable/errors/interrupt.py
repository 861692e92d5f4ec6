"""What strikes a thread from outside, at any instruction: no fact about the code that it strikes."""

from __future__ import annotations

import threading
from abc import ABCMeta

__all__ = ["Interrupt", "is_ctrl_c", "is_interrupt"]


class Interrupt(BaseException, metaclass=ABCMeta):
    """Passes through the code of bodies, and is never taken for what that code raised.

    Those of others are registered: `broker` does so with Dramatiq's.
    """


def is_interrupt(error: BaseException) -> bool:
    """Whether an exception came to this thread from outside. Everything else was raised by the code that it left."""
    return isinstance(error, Interrupt) or is_ctrl_c(error)


def is_ctrl_c(error: BaseException) -> bool:
    """Whether somebody has pressed it: no thread but the main one is struck by that."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()
