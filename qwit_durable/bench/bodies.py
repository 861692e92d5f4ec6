"""What is run: steps that do nothing, so that what is measured is everything around them."""

from __future__ import annotations

import threading

from qwit_durable.language.step import step
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.registry import Registry

__all__ = ["GATE", "PLAIN_QUEUE", "QUEUE", "REGISTRY", "add", "inline_steps", "queued_steps", "wait_at_gate"]

#: A queue of its own: no worker of the user's consumes it.
QUEUE = "qwit-bench"
PLAIN_QUEUE = "qwit-bench-plain"


class Gate:
    """Holds threads of this process until it is opened."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self._arrived = threading.Semaphore(0)

    def close(self) -> None:
        self._opened.clear()

    def open(self) -> None:
        self._opened.set()

    def arrive(self) -> None:
        """Wait until it is open."""
        self._arrived.release()
        self._opened.wait()

    def wait_for(self, threads: int) -> None:
        """Wait until so many have arrived."""
        for _ in range(threads):
            self._arrived.acquire()


GATE = Gate()


@step(name="qwit-bench.add")
def add(x: int) -> int:
    """Do nothing."""
    return x + 1


@step(name="qwit-bench.add-queued", dispatch="queue")
def add_queued(x: int) -> int:
    """Do nothing, as a message of its own."""
    return x + 1


@step(name="qwit-bench.gate")
def stand_at_gate() -> None:
    """Keep a thread from what is being prepared."""
    GATE.arrive()


@workflow(name="qwit-bench.inline", queue=QUEUE)
def inline_steps(count: int) -> Workflow[int]:
    """So many steps, one after the other."""
    x = 0
    for _ in range(count):
        x = yield from add(x)
    return x


@workflow(name="qwit-bench.queued", queue=QUEUE)
def queued_steps(count: int) -> Workflow[int]:
    """The same by messages."""
    x = 0
    for _ in range(count):
        x = yield from add_queued(x)
    return x


@workflow(name="qwit-bench.wait-at-gate", queue=QUEUE)
def wait_at_gate() -> Workflow[None]:
    """Hold one thread."""
    yield from stand_at_gate()


#: What the processes of a benchmark know, and nothing else.
REGISTRY = Registry()
for _step in (add, add_queued, stand_at_gate):
    REGISTRY.add_step(_step)
for _workflow in (inline_steps, queued_steps, wait_at_gate):
    REGISTRY.add_workflow(_workflow)
