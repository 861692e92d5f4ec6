"""What is run: steps that do nothing, so that what is measured is everything around them."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from qwit_durable.clock import monotonic
from qwit_durable.language.groups import map_steps
from qwit_durable.language.step import step
from qwit_durable.language.verbs import sleep_until, wait_signal
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.registry import Registry

__all__ = [
    "EPOCH",
    "GATE",
    "PLAIN_QUEUE",
    "QUEUE",
    "REGISTRY",
    "add",
    "asleep_until",
    "fan_out",
    "inline_steps",
    "queued_steps",
    "signalled",
    "stamped",
    "wait_at_gate",
]

#: A queue of its own: no worker of the user's consumes it.
QUEUE = "qwit-bench"
PLAIN_QUEUE = "qwit-bench-plain"


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


@workflow(name="qwit-bench.fan", queue=QUEUE)
def fan_out(count: int) -> Workflow[int]:
    """So many at once."""
    return len((yield from map_steps(add, range(count))))


@workflow(name="qwit-bench.asleep", queue=QUEUE)
def asleep_until(milliseconds: int) -> Workflow[None]:
    """Sleep until so many milliseconds after 1970."""
    yield from sleep_until(EPOCH + timedelta(milliseconds=milliseconds))


@workflow(name="qwit-bench.signalled", queue=QUEUE)
def signalled(count: int) -> Workflow[None]:
    """Wait for so many signals."""
    for _ in range(count):
        yield from wait_signal("next")


@step(name="qwit-bench.stamp")
def stamp() -> float:
    """When this is, by a clock that the processes of one machine share."""
    return monotonic()


@workflow(name="qwit-bench.stamped", queue=QUEUE)
def stamped() -> Workflow[float]:
    """When the first step began."""
    return (yield from stamp())


#: What the processes of a benchmark know, and nothing else.
REGISTRY = Registry()
for _step in (add, add_queued, stamp, stand_at_gate):
    REGISTRY.add_step(_step)
for _workflow in (inline_steps, queued_steps, wait_at_gate, fan_out, asleep_until, signalled, stamped):
    REGISTRY.add_workflow(_workflow)
