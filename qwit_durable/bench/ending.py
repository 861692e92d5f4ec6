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


@contextmanager
def ended_by_signals() -> Generator[None]:
    """Let SIGTERM and SIGHUP end this block as Ctrl-C does, so that everything is cleaned up; in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _end) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            # Who was told is ending: nothing around this block is to be broken off either.
            if signal.getsignal(number) is _end:
                signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    _ = frame
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # a second one is not to break off the cleaning
    sys.exit(_BY_SIGNAL + number)


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
