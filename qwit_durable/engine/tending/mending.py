"""What is held by mistake, by this process or by one that nobody knows of: found on a walk over the open runs.

The walk takes one stretch for each lease, so it costs the same however many runs are open: a round of some thousands
takes one lease, a hundred thousand take twenty. It is a net beneath a net: a turn that breaks off lets its run go, and
what a dead worker held is freed when its lease has lapsed. The one that sweeps for all walks always; any other process
only after it has done something, until one whole round has found nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from qwit_durable.engine.ports import Services
from qwit_durable.stores.answers import Rings
from qwit_durable.stores.writes import Disown, Reap, Write

__all__ = ["Mending"]

_STRETCH = 5000


class Mending:
    """Frees what is held by mistake.

    Args:
        runs: Answers the runs that threads of this process hold, or are about to.
        tasks: Answers the tasks that they work on, or are about to.
    """

    def __init__(
        self,
        services: Services,
        *,
        runs: Callable[[], frozenset[UUID]],
        tasks: Callable[[], frozenset[tuple[UUID, str]]],
    ) -> None:
        self._services = services
        self._runs = runs
        self._tasks = tasks
        self._after: UUID | None = None
        self._asked = 0
        self._rounds_left = 0

    def mend(self, *, leads: bool) -> list[Rings]:
        """Walk one stretch, and answer what is to be rung for."""
        services = self._services
        asked = services.committer.asked
        if asked != self._asked:
            # What this process did until now may lie behind the walk: the round after this one sees all of it.
            self._asked, self._rounds_left = asked, 2
        if not self._rounds_left and not leads:
            return []
        walk = services.store.walk(self._after, _STRETCH, services.worker)
        claimed = services.store.claimed(services.worker) if self._rounds_left else ()
        self._after = walk.last
        if walk.last is None:
            self._rounds_left = max(self._rounds_left - 1, 0)
        # Asked after the store: what was taken since is named here, and what was given back is fresh or no longer ours.
        runs, tasks = frozenset(walk.mine) - self._runs(), frozenset(claimed) - self._tasks()
        found: list[Write] = []
        if runs or tasks:
            found.append(
                Disown(worker=services.worker, runs=runs, tasks=tasks, older_than=services.settings.beat)
            )
        if leads and walk.orphans and services.may_take_over():
            found.append(Reap(orphans=walk.orphans))
        answers = [services.committer.write(write) for write in found]
        return [answer for answer in answers if isinstance(answer, Rings)]
