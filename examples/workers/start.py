"""A producer: it stores a run, rings for a worker, and waits. `python -m examples.workers.start [TEXT …]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from examples.workers.app import count, ping

TEXTS = ["the store is the truth", "the broker is a doorbell", "what was recorded is never done twice"]


def main(texts: Sequence[str]) -> None:
    ping.send()
    handle = count.start(list(texts or TEXTS))
    print(f"run {handle.id} is stored")
    print(handle.result(timeout=60))


if __name__ == "__main__":
    main(sys.argv[1:])
