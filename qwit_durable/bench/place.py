"""Where a benchmark's processes meet: the store, the broker, the namespace, and a folder for notes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from struct import pack, unpack_from
from typing import TYPE_CHECKING

import attrs

from qwit_durable.app import Durable
from qwit_durable.bench.bodies import PLAIN_QUEUE, QUEUE, REGISTRY
from qwit_durable.bench.plan import BROKER, POSTGRES, BenchFailed
from qwit_durable.broker.opening import follow_messages, forget_queues, open_broker, plain_chain, reach
from qwit_durable.clock import monotonic
from qwit_durable.engine.ports import Settings
from qwit_durable.stores import redacted

if TYPE_CHECKING:
    from dramatiq import Broker

__all__ = ["Place"]

_VARIABLE = "QWIT_BENCH_PLACE"
#: A moment by the monotonic clock, which the processes of one machine share.
_STAMP = "=d"
_STAMP_BYTES = 8


@attrs.frozen(kw_only=True)
class Place:
    """What every process of a benchmark is told.

    Attributes:
        store: The store's URL.
        broker: The broker's URL; empty where this process works by itself.
        namespace: Of runs and, in Redis, of keys.
        folder: Of this benchmark, removed at its end.
        lease_seconds: How long workers count as alive after their last beat.
        follows_messages: Whether the broker has a middleware that sees each message.
    """

    store: str
    broker: str
    namespace: str
    folder: str
    lease_seconds: float = Settings().lease.total_seconds()
    follows_messages: bool = False

    @property
    def has(self) -> frozenset[str]:
        """What scenarios may need and is here."""
        postgres = {POSTGRES} if self.store.startswith("postgres") else set[str]()
        return frozenset(postgres | ({BROKER} if self.broker else set()))

    @property
    def shown(self) -> str:
        """The store and the broker, without their passwords."""
        return " and ".join(redacted(url) for url in (self.store, self.broker) if url)

    def to_environment(self) -> dict[str, str]:
        """For workers, to be read by `from_environment`."""
        return {_VARIABLE: json.dumps([attrs.asdict(self), os.getpid()])}

    @classmethod
    def from_environment(cls) -> tuple[Place, int]:
        """The place, and the process that started this one."""
        known, parent = json.loads(os.environ[_VARIABLE])
        return cls(**known), parent

    def durable(self, part: str = "", *, cached_runs: int = Settings().cached_runs) -> Durable:
        """One of this namespace, or of a part of it that the crew does not see."""
        namespace = f"{self.namespace}-{part}" if part else self.namespace
        return Durable(
            self.store,
            namespace=namespace,
            registry=REGISTRY,
            lease=timedelta(seconds=self.lease_seconds),
            beat=timedelta(seconds=self.lease_seconds * 0.3),
            cached_runs=cached_runs,
        )

    def connect(self) -> tuple[Broker, Durable, Callable[[int], object]]:
        """A broker, a `Durable` on it, and what sends the first of so many plain messages.

        Raises:
            BenchFailed: The broker can't be reached.
        """
        broker = open_broker(self.broker, namespace=self.namespace)
        try:
            reach(broker)
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises
            raise BenchFailed(
                f"the broker {redacted(self.broker)} can't be reached: {str(error) or type(error).__name__}"
            ) from None
        if self.follows_messages:
            follow_messages(broker)
        durable = self.durable()
        broker.add_middleware(durable)
        return broker, durable, plain_chain(broker, PLAIN_QUEUE, self._write_end)

    def plain(self) -> Broker:
        """The broker as plain Dramatiq has it."""
        broker = open_broker(self.broker, namespace=self.namespace)
        plain_chain(broker, PLAIN_QUEUE, self._write_end)
        return broker

    def forget(self, broker: Broker) -> None:
        """Remove what lies at the broker."""
        forget_queues(broker, QUEUE, PLAIN_QUEUE)

    @property
    def _ends(self) -> Path:
        return Path(self.folder) / "ends"

    def _write_end(self) -> None:
        with self._ends.open("ab") as file:
            file.write(pack(_STAMP, monotonic()))

    def clear_ends(self) -> None:
        """Forget the plain chains that ended."""
        self._ends.unlink(missing_ok=True)

    def ends(self) -> list[float]:
        """When each plain chain ended."""
        if not self._ends.exists():
            return []
        found = self._ends.read_bytes()
        return [unpack_from(_STAMP, found, at)[0] for at in range(0, len(found), _STAMP_BYTES)]
