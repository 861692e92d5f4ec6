"""Deploys of changing code, and lines of it: what tests of open runs under new code are made of."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from qwit_durable.clock import ManualClock
from qwit_durable.language.step import Step
from qwit_durable.registry import Registry, default_registry
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.testing.environment import Environment


@contextmanager
def deploy() -> Iterator[Registry]:
    """What is defined in this block is one deploy's code: it is known to the registry that the block is given, alone.

    >>> with deploy() as code:
    ...
    ...     @workflow
    ...     def checkout(): ...
    """
    registry = Registry()

    def add(definition: Any) -> None:
        if isinstance(definition, Step):
            registry.add_step(definition)
        else:
            registry.add_workflow(definition)

    with default_registry.restored():
        stop = default_registry.subscribe(add)
        try:
            yield registry
        finally:
            stop()


class Cluster:
    """One store that outlives the deploys over it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)

    def join(self, code: Registry) -> Environment:
        """A process of this deploy that has not looked at anything yet."""
        return Environment(self.store, clock=self.clock, registry=code)

    def boot(self, code: Registry) -> Environment:
        """A process of this deploy starts: it looks again at what is stuck over its code, and settles."""
        environment = self.join(code)
        environment.engine.heart.beat()
        environment.engine.sweeper.first()
        environment.settle()
        return environment

    def history(self, run_id: str) -> list[Any]:
        """What is recorded of a run."""
        view = self.store.find("default", run_id)
        assert view is not None
        return [recorded.event for recorded in self.store.history(view.run.id)]


def line_of(fn: Any, text: str) -> int:
    """The number of the one line in the source of `fn` that has this text, in its file."""
    lines, first = inspect.getsourcelines(inspect.unwrap(fn))
    found = [first + number for number, line in enumerate(lines) if text in line]
    assert len(found) == 1, (text, found)
    return found[0]
