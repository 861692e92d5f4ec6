"""A thread of a worker that ends it when the benchmark that started it is gone."""

from __future__ import annotations

import os
import signal
import threading

__all__ = ["end_with"]


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
