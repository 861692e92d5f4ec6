"""Ends: a benchmark that is told to end cleans up, and its workers end when it is gone."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

__all__ = ["end_with", "ended_by_signals"]

#: What a shell says of a process that a signal has ended.
_BY_SIGNAL = 128
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


#: When one that was lost is sent again.
_AGAIN_SECONDS = 0.05


class _Told(SystemExit):
    """What a signal raises, in the middle of anything."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(_BY_SIGNAL + number)


@contextmanager
def ended_by_signals() -> Generator[None]:
    """Let SIGTERM and SIGHUP end this block as Ctrl-C does, so that everything is cleaned up; in the main thread.

    What is raised while an object is collected, as in a callback of a weak reference, gets nowhere: Python says so and
    goes on. Then the signal is sent again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    others = sys.unraisablehook

    def lost(what: sys.UnraisableHookArgs) -> None:
        if isinstance(what.exc_value, _Told):
            number = what.exc_value.number
            signal.signal(number, _end)
            threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), number)).start()
        else:
            others(what)

    before = {number: signal.signal(number, _end) for number in _SIGNALS}
    sys.unraisablehook = lost
    try:
        yield
    finally:
        sys.unraisablehook = others
        for number, handler in before.items():
            # Who was told is ending: nothing around this block is to be broken off either.
            if signal.getsignal(number) is _end:
                signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    _ = frame
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # a second one is not to break off the cleaning
    raise _Told(number)


def _watch(parent: int) -> None:
    tick = threading.Event()
    while not tick.wait(1.0):
        try:
            os.kill(parent, 0)
        except ProcessLookupError:
            os.killpg(0, signal.SIGKILL)


def end_with(parent: int) -> None:
    """Kill this process and its group once that one is gone."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
