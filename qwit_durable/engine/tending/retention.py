"""The thread that removes runs that ended long ago: `Durable(retention=...)`.

One process at a time does it for a namespace, under a lease; two that do it at once by mistake take nothing from each
other but time. It rests as long as it works, and longer when nothing is left: what is open goes before what is over.

Rows are deleted, no partitions are dropped. Histories in partitions by the time in their runs' ids were tried on
Postgres 15. The steps could bear them: 0 to 8 % more of the server's CPU for a hot write, where the parent routes the
rows, and none that can be told where the statement names the partition. But each namespace keeps its runs for as long
as it likes, a run that is open holds its partition, and what else there is of a run goes row by row all the same. The
rows of runs of one time lie together, so deleting leaves whole pages, which new rows fill: the tables stay as large as
what is kept.
"""

from __future__ import annotations

import logging
import threading
from datetime import timedelta

from qwit_durable.clock import monotonic
from qwit_durable.engine.ports import Services
from qwit_durable.engine.tending.pruning import OldRuns, prune_in_portions
from qwit_durable.errors import StoreUnavailable
from qwit_durable.stores.answers import Accepted
from qwit_durable.stores.writes import Lead

__all__ = ["Keeper"]

_logger = logging.getLogger("qwit_durable.retention")
_OFTEN, _SELDOM = timedelta(seconds=10), timedelta(hours=1)
_LEASE = timedelta(minutes=1)


class Keeper:
    """Removes the runs of a namespace that ended longer ago than they are to be kept."""

    def __init__(self, services: Services, retention: timedelta) -> None:
        self._services = services
        self._retention = retention
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Remove in the background, again and again."""
        self._thread = threading.Thread(target=self._run, name="qwit-retention", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after the portion it is at."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def tidy(self) -> int:
        """Remove all that is old enough, unless another process does; answer how many runs."""
        services, removed = self._services, 0
        if not self._leads():
            return removed
        old = OldRuns(namespace=services.namespace, ended_before=services.store.now() - self._retention)
        began = monotonic()
        for portion in prune_in_portions(services.store, services.committer.write, old):
            removed += portion.runs
            if self._stop.wait(monotonic() - began) or not self._leads():
                break
            began = monotonic()
        return removed

    def _leads(self) -> bool:
        duty = f"retention of {self._services.namespace}"
        answer = self._services.committer.write(Lead(duty=duty, worker=self._services.worker, lease=_LEASE))
        return isinstance(answer, Accepted)

    def _run(self) -> None:
        every = min(max(self._retention / 100, _OFTEN), _SELDOM)
        wait = _OFTEN
        while not self._stop.wait(wait.total_seconds()):
            wait = every
            try:
                removed = self.tidy()
            except StoreUnavailable as error:
                _logger.warning("no old runs removed: %s", error)
            except Exception:
                _logger.exception("no old runs removed")
            else:
                if removed:
                    _logger.info("removed %d runs that ended more than %s ago", removed, self._retention)
