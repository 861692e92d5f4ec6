"""What the engine needs from outside, and the bundle in which it gets it.

The engine knows protocols, not products: no broker library, no database. `app` wires the real things together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, Protocol

import attrs

from qwit_durable.clock import Clock, monotonic
from qwit_durable.errors import DefinitionError
from qwit_durable.language.current import Starter
from qwit_durable.language.guards import Guard
from qwit_durable.observers.base import AttemptInfo, Observers
from qwit_durable.registry import Registry
from qwit_durable.stores.committer import Committer
from qwit_durable.stores.protocol import Store
from qwit_durable.stores.rows import Ring
from qwit_durable.stores.tokens import Tokens

__all__ = ["SPREAD", "Bells", "Services", "Settings"]

#: Runs are spread over so many bells before any is for two of them: as many as a few processes take at once.
SPREAD = 32


class Bells(Protocol):
    """Rings: tells some worker to look at a run or a task. A bell that is lost is rung again by the sweeper."""

    def ring(
        self, rings: Sequence[Ring], *, spread: int = SPREAD, alike: frozenset[str] = frozenset()
    ) -> None:
        """Ring, at best; never raises. Where runs share bells, there are at least `spread` of these.

        Steps share bells only if they have one of the names in `alike`: they are quick.
        """
        ...

    def consumes(self, queue: str) -> bool:
        """Whether this process works on a queue."""
        ...

    def is_busy(self) -> bool:
        """Whether other work waits in this process."""
        ...

    def is_seen(self, queue: str, name: str) -> bool:
        """Whether somebody follows the bells of a step on a queue, so that none may be left out."""
        ...

    def has_room(self, queue: str, name: str, is_quick: Callable[[str], bool]) -> bool:
        """Whether one more bell for a step would soon be followed by a thread of this process."""
        ...

    def goes_first(self, name: str) -> bool:
        """Whether nothing waits in this process that goes before a step, by their priorities."""
        ...

    def keep(self, ring: Ring, is_quick: Callable[[str], bool], over: Callable[[], None]) -> bool:
        """Ring for a step in this process alone; False if something slow waits before it. Never raises.

        `over` is called when the bell is over, whether it was followed or not.
        """
        ...


@attrs.frozen(kw_only=True)
class Settings:
    """Times and bounds of one process; all have defaults that suit production.

    Attributes:
        lease: How long a worker counts as alive after its last beat.
        beat: How often it beats; at most a third of the lease.
        sweep: How late a timer may be when nobody nearer knows of it.
        time_slice: How long a run may stay in one thread while others wait.
        cached_runs: How many runs' generators are kept alive between turns.
        limit_bytes: The largest value, encoded.
        retention: How long runs are kept after they have ended; None for ever.
    """

    lease: timedelta = timedelta(seconds=10)
    beat: timedelta = timedelta(seconds=3)
    sweep: timedelta = timedelta(seconds=1)
    time_slice: timedelta = timedelta(seconds=1)
    cached_runs: int = 1000
    limit_bytes: int = 1024 * 1024
    retention: timedelta | None = None

    def __attrs_post_init__(self) -> None:
        durations: dict[str, object] = {
            "lease": self.lease,
            "beat": self.beat,
            "sweep": self.sweep,
            "time_slice": self.time_slice,
            "retention": timedelta(0) if self.retention is None else self.retention,
        }
        for name, value in durations.items():
            if not isinstance(value, timedelta):
                msg = f"Durable: {name} is a timedelta, got {value!r}\n  right: {name}=timedelta(seconds={value!r})"
                raise DefinitionError(msg)
        if self.beat * 3 > self.lease:
            msg = (
                f"Durable: beat is at most a third of the lease, got beat={self.beat} and lease={self.lease}"
            )
            raise DefinitionError(msg)
        if self.retention is not None and self.retention <= timedelta(0):
            msg = f"Durable: retention is longer than nothing, or None to keep all runs, got {self.retention}"
            raise DefinitionError(msg)
        if self.limit_bytes < 1:
            msg = f"Durable: limit_bytes is at least 1, got {self.limit_bytes}"
            raise DefinitionError(msg)


@attrs.define(kw_only=True)
class Services:
    """Everything a turn or an attempt works with, in one process."""

    store: Store
    committer: Committer
    registry: Registry
    clock: Clock
    observers: Observers
    bells: Bells
    worker: int
    namespace: str
    settings: Settings = Settings()
    around_step: tuple[Callable[[AttemptInfo], AbstractContextManager[Any]], ...] = ()
    guards: tuple[Guard, ...] = ()
    starter: Starter | None = None
    run_coroutine: Callable[[Coroutine[Any, Any, Any]], Any]
    draining: threading.Event = attrs.field(factory=threading.Event)
    may_take_over: Callable[[], bool] = lambda: True
    timer_set: Callable[[datetime], None] = lambda _: None
    run_ended: Callable[[Any], None] = lambda _: None
    monotonic: Callable[[], float] = monotonic
    tokens: Tokens = attrs.field(
        init=False, default=attrs.Factory(lambda self: Tokens(self.committer.write), takes_self=True)
    )
