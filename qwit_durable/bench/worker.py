"""What `dramatiq` loads to work on a benchmark's runs: `dramatiq qwit_durable.bench.worker:broker`.

Where everything is comes from the environment. A worker ends when the benchmark that started it is gone.
"""

from __future__ import annotations

import os
import signal
import threading

from qwit_durable.bench.place import Place

__all__ = ["broker", "durable"]


def _end_with(parent: int) -> None:
    tick = threading.Event()
    while not tick.wait(1.0):
        try:
            os.kill(parent, 0)
        except ProcessLookupError:
            os.killpg(0, signal.SIGKILL)


_place, _parent = Place.from_environment()
broker, durable, _ = _place.connect()
threading.Thread(target=_end_with, args=(_parent,), daemon=True).start()
