"""Where `async def` steps run: Dramatiq's event loop thread if the process has one, else one of our own."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from typing import Any

from dramatiq.asyncio import EventLoopThread, get_event_loop_thread

__all__ = ["run_coroutine"]

_lock = threading.Lock()
_own: EventLoopThread | None = None


def _thread() -> EventLoopThread:
    global _own  # noqa: PLW0603 - one loop per process
    found = get_event_loop_thread()
    if found is not None:
        return found
    with _lock:
        if _own is None or not _own.is_alive():
            _own = EventLoopThread(logging.getLogger("qwit_durable.loop"))
            _own.daemon = True
            _own.start(timeout=5)
        return _own


def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on the loop and wait for it in this thread; an interrupt of the thread cancels it."""
    future = asyncio.run_coroutine_threadsafe(coroutine, _thread().loop)
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
