"""Where `async def` steps run: Dramatiq's event loop thread if the process has one, else one of our own."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

from dramatiq.asyncio import EventLoopThread, get_event_loop_thread

__all__ = ["Loop", "LoopEnded"]

#: How long coroutines that were left behind may take to notice that they are cancelled.
_LAST_SECONDS = 1.0
#: An interrupt of a thread reaches it between two looks.
_LOOK_SECONDS = 0.1


class LoopEnded(RuntimeError):
    """The event loop has ended while a step was on it."""

    outcome_unknown = True


class _OwnThread(EventLoopThread):
    """One that goes on where a task of a step's asks the process to exit, as Dramatiq's own does not."""

    def run(self) -> None:
        """Run the loop until it is stopped."""
        try:
            while True:
                try:
                    return self.loop.run_forever()
                except (SystemExit, KeyboardInterrupt):
                    self.logger.warning("a task that a step began asked the process to exit", exc_info=True)
        finally:
            self.loop.close()


class _Errand:
    """One coroutine on its way through the loop, and the thread that waits for it.

    That thread may be interrupted at any instruction, also within what it calls here. So it shares no lock with the
    loop that it could leave held, as it would those of a `concurrent.futures.Future`: the loop alone has the task.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], thread: EventLoopThread) -> None:
        self._coroutine = coroutine
        self._thread = thread
        self._exit: BaseException | None = None
        self._task: asyncio.Task[Any] | None = None
        self._is_done = threading.Lock()
        self._is_done.acquire()

    @property
    def is_over(self) -> bool:
        """Whether the coroutine has ended."""
        return self._task is not None and self._task.done()

    def begin(self) -> None:
        """Called by the loop."""
        self._task = asyncio.ensure_future(self._kept())
        self._task.add_done_callback(self._end)

    async def _kept(self) -> Any:
        """The coroutine, of which nothing gets through that would end the loop for everybody."""
        try:
            return await self._coroutine
        except (SystemExit, KeyboardInterrupt) as error:
            self._exit = error

    def _end(self, task: asyncio.Task[Any]) -> None:
        self._coroutine.close()  # no more than that, where the task was cancelled before it began
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits for it any more
        self._is_done.release()

    def cancel(self) -> None:
        """Called by the loop, if the thread waits no longer; perhaps before it could ask for anything."""
        if self._task is None:
            self._coroutine.close()
        else:
            self._task.cancel()

    def wait(self) -> Any:
        """Called by the thread."""
        while not self._is_done.acquire(timeout=_LOOK_SECONDS):
            if not self._thread.is_alive():
                msg = "the event loop has ended, with what ran on it"
                raise LoopEnded(msg)
        assert self._task is not None
        if self._exit is not None:
            raise self._exit
        if self._task.cancelled():
            raise CancelledError
        return self._task.result()


class Loop:
    """Runs coroutines for the threads of a process; its own thread begins with the first of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._own: _OwnThread | None = None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine and wait for it in this thread; an interrupt of the thread cancels it."""
        thread = self._thread()
        loop, errand = thread.loop, _Errand(coroutine, thread)
        try:
            loop.call_soon_threadsafe(errand.begin)
            return errand.wait()
        except BaseException:
            if not errand.is_over:
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(errand.cancel)
            raise

    def close(self) -> None:
        """End our own thread. What still runs there is cancelled: it is of attempts that were given up."""
        with self._lock:
            own, self._own = self._own, None
        if own is not None and own.is_alive():
            asyncio.run_coroutine_threadsafe(_cancel_others(), own.loop).result()
            own.loop.call_soon_threadsafe(own.loop.stop)
            own.join()

    def _thread(self) -> EventLoopThread:
        found = get_event_loop_thread() or self._own
        # An interrupt may have struck the thread that was about to begin our own.
        return found if found is not None and found.is_alive() else self._begun()

    def _begun(self) -> EventLoopThread:
        with self._lock:
            if self._own is None or not self._own.is_alive():
                own = self._own = _OwnThread(logging.getLogger("qwit_durable.loop"))
                own.name = "qwit-loop"
                own.daemon = True
                own.start(timeout=5)
            return self._own


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_LAST_SECONDS)
    await asyncio.get_running_loop().shutdown_asyncgens()
