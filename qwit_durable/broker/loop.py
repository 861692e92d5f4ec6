"""Where `async def` steps run: Dramatiq's event loop thread if the process has one, else one of our own."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from typing import Any

from dramatiq.asyncio import EventLoopThread, get_event_loop_thread

__all__ = ["Loop"]

#: How long coroutines that were left behind may take to notice that they are cancelled.
_LAST_SECONDS = 1.0


class Loop:
    """Runs coroutines for the threads of a process; its own thread begins with the first of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._own: EventLoopThread | None = None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine and wait for it in this thread; an interrupt of the thread cancels it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._thread().loop)
        try:
            while True:
                try:
                    # In slices, so that an asynchronous exception reaches this thread.
                    return future.result(timeout=0.1)
                except TimeoutError:
                    if future.done():
                        raise
        except BaseException:
            future.cancel()
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
        found = get_event_loop_thread()
        if found is not None:
            return found
        with self._lock:
            if self._own is None:
                own = EventLoopThread(logging.getLogger("qwit_durable.loop"))
                own.daemon = True
                own.start(timeout=5)
                self._own = own
            return self._own


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_LAST_SECONDS)
    await asyncio.get_running_loop().shutdown_asyncgens()
