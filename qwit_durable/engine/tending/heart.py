"""The beat of a worker process: it keeps the process's lease, and asks for the duty to sweep with the same breath.

After an outage of the store longer than a lease, every worker looks dead. So a process that was cut off takes nothing
over until one more lease has passed: the living beat first.
"""

from __future__ import annotations

import logging
import threading

from qwit_durable.clock import monotonic
from qwit_durable.engine.ports import Services
from qwit_durable.errors import StoreUnavailable
from qwit_durable.stores.answers import Accepted
from qwit_durable.stores.rows import WorkerRow
from qwit_durable.stores.writes import Beat, Lead

__all__ = ["Heart"]

_logger = logging.getLogger("qwit_durable.sweep")


class Heart:
    """Keeps a worker's lease.

    Attributes:
        leads: Whether this process is the one that sweeps for all.
    """

    def __init__(self, services: Services, worker: WorkerRow) -> None:
        self._services = services
        settings = services.settings
        # Whoever misses one beat still leads; the next one leads two beats after a leader died, or three.
        lead = Lead(duty="sweep", worker=worker.id, lease=settings.beat * 2)
        self._write = Beat(worker=worker, lease=settings.lease, asks=lead)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._last = monotonic()
        self._cut_off_until = 0.0
        self.leads = False

    def start(self) -> None:
        """Beat once, then in the background."""
        self.beat()
        self._thread = threading.Thread(target=self._run, name="qwit-beat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the lease lapses by itself."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def beat(self) -> None:
        """Say that this worker lives."""
        lease = self._services.settings.lease
        self.leads = isinstance(self._services.committer.write(self._write), Accepted)
        now = monotonic()
        if now - self._last > lease.total_seconds():
            self._cut_off_until = now + lease.total_seconds()
        self._last = now

    def may_take_over(self) -> bool:
        """Whether this process may treat another one as dead."""
        now = monotonic()
        is_fresh = now - self._last <= self._services.settings.lease.total_seconds()
        return is_fresh and now >= self._cut_off_until

    def _run(self) -> None:
        while not self._stop.wait(self._services.settings.beat.total_seconds()):
            try:
                self.beat()
            except StoreUnavailable as error:
                lease = self._services.settings.lease
                _logger.warning("no beat: %s; others take over after %s without one", error, lease)
            except Exception:
                _logger.exception("no beat")
