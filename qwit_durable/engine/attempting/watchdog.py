"""Timeouts: one thread per process that ends attempts which take too long.

At the timeout the attempt's thread is interrupted by an asynchronous exception, which ends Python code at its next
instruction. Code that sits in a system call can't be ended, nor can code that swallows the exception, as a callback of
a weak reference does: after a short grace the attempt is *abandoned*, that is, its timeout is recorded without it, and
whatever it returns later is refused. The exception is not raised again, for it would break off what tidies up.

An `Attempt` is decided once, under its lock: it either finishes or is abandoned. One with a heartbeat has an end that
moves: each report puts it off.
"""

from __future__ import annotations

import ctypes
import heapq
import itertools
import logging
import math
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from qwit_durable.clock import monotonic
from qwit_durable.errors import StoreUnavailable
from qwit_durable.errors.interrupt import Interrupt

__all__ = ["Abandoned", "Attempt", "Interrupted", "Watchdog", "Watched"]

_logger = logging.getLogger("qwit_durable.attempts")

_GRACE_SECONDS = 0.2
#: When it is tried again to record what could not be recorded, as the store was out of reach.
_AGAIN_SECONDS = 1.0
#: How long the thread stays with nothing to watch.
_IDLE_SECONDS = 5.0
_NAP_SECONDS = 3600.0  # a condition can't be waited for as long as a timedelta can be


class Interrupted(Interrupt):
    """Raised inside an attempt's thread at its timeout. User code must not catch it; it never leaves the engine."""


class Abandoned(Interrupt):
    """Raised by the engine, in an attempt's own thread, when the attempt was recorded without it."""


class Attempt:
    """One attempt under a timeout or a heartbeat, run by the thread that makes this object.

    Attributes:
        silent: Whether it is over time because nothing was reported, not because it took too long.
    """

    def __init__(
        self, on_abandon: Callable[[], None], *, timeout: timedelta | None, heartbeat: timedelta | None
    ) -> None:
        now = monotonic()
        self._end = math.inf if timeout is None else now + timeout.total_seconds()
        self._silence = math.inf if heartbeat is None else heartbeat.total_seconds()
        self._beat_at = now
        self.silent = False
        self._thread_id = threading.get_ident()
        self._on_abandon = on_abandon
        self._lock = threading.Lock()
        self._done = False
        self.timed_out = False
        self.abandoned = False

    @property
    def due(self) -> float:
        """When it is over time, as things stand."""
        return min(self._end, self._beat_at + self._silence)

    def beat(self) -> None:
        """The attempt gets on."""
        self._beat_at = monotonic()

    def interrupt(self) -> bool:
        """Called by the watchdog at the timeout; tells whether the attempt was still under way."""
        with self._lock:
            if self._done:
                return False
            self.timed_out = True
            self.silent = self._beat_at + self._silence < self._end
            _raise_in(self._thread_id, Interrupted)
            return True

    def abandon(self) -> None:
        """Called by the watchdog after the grace: record the timeout without the attempt; again if that fails."""
        with self._lock:
            if self._done and not self.abandoned:
                return
            self.abandoned = True
            self._done = True
        self._on_abandon()

    def finish(self) -> None:
        """Called by the attempt's thread when the user's code has ended, however it did; absorbs a late interrupt."""
        while True:
            try:
                with self._lock:
                    self._done = True
                    if self.timed_out:
                        _raise_in(self._thread_id, None)
                return
            except Interrupted:
                continue


def _raise_in(thread_id: int, exception: type[BaseException] | None) -> None:
    target = ctypes.py_object(exception) if exception is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), target)


class Watched(Protocol):
    """What may take too long: an `Attempt`, or a round of turns."""

    @property
    def due(self) -> float:
        """When it is over time, as things stand."""
        ...

    def interrupt(self) -> bool:
        """It is over time; tell whether it is to be abandoned unless it ends soon."""
        ...

    def abandon(self) -> None:
        """It has not ended."""
        ...


class Watchdog:
    """Ends attempts at their timeouts. Its thread starts with the first one, and ends when there is none for a while.

    What goes wrong with one of them is logged, and nothing to the others.
    """

    def __init__(self, name: str = "qwit-watchdog") -> None:
        self._name = name
        self._condition = threading.Condition()
        self._due: list[tuple[float, int, Watched, bool]] = []
        self._counter = itertools.count()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def watch(self, attempt: Watched) -> None:
        """Interrupt the attempt when it is over time, unless it has finished."""
        with self._condition:
            self._push(attempt.due, attempt, interrupted=False)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            if self._due[0][2] is attempt:  # else the thread wakes soon enough
                self._condition.notify()

    def stop(self) -> None:
        """End the thread."""
        with self._condition:
            self._stopped = True
            self._condition.notify()

    def _push(self, due: float, attempt: Watched, *, interrupted: bool) -> None:
        heapq.heappush(self._due, (due, next(self._counter), attempt, interrupted))

    def _run(self) -> None:
        while (watched := self._next()) is not None:
            attempt, interrupted = watched
            try:
                again = self._look(attempt, interrupted=interrupted)
            except StoreUnavailable as error:
                _logger.warning("a timeout could not be recorded, it is tried again: %s", error)
                again = monotonic() + _AGAIN_SECONDS, True
            except Exception:
                _logger.exception("what became of something that took too long is not known")
                again = None
            if again is not None:
                with self._condition:
                    self._push(again[0], attempt, interrupted=again[1])

    def _next(self) -> tuple[Watched, bool] | None:
        """Wait for the next one to be looked at, and whether it was interrupted; None to end."""
        with self._condition:
            while not self._stopped and (not self._due or self._due[0][0] > monotonic()):
                if self._due:
                    self._condition.wait(min(self._due[0][0] - monotonic(), _NAP_SECONDS))
                elif not self._condition.wait(_IDLE_SECONDS) and not self._due:
                    self._thread = None
                    return None
            if self._stopped:
                return None
            _, _, attempt, interrupted = heapq.heappop(self._due)
            return attempt, interrupted

    def _look(self, attempt: Watched, *, interrupted: bool) -> tuple[float, bool] | None:
        """See to one; when to look at it again, and whether it is interrupted by then."""
        if interrupted:
            attempt.abandon()
            return None
        if attempt.due > monotonic():
            return attempt.due, False
        return (monotonic() + _GRACE_SECONDS, True) if attempt.interrupt() else None
