"""Which ended runs are old enough to go, and removing them in small portions: for `durable.prune` and for retention.

Every portion is a transaction of its own, so nothing waits long, and what breaks off half-way is gone on with by the
next one who prunes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from uuid import UUID

import attrs

from qwit_durable.core import Status
from qwit_durable.ids import first_run_id
from qwit_durable.stores.answers import Answer
from qwit_durable.stores.protocol import Reader
from qwit_durable.stores.pruning import Aged, Prune, Pruned
from qwit_durable.stores.writes import Write

__all__ = ["OldRuns", "prune_in_portions"]

_PAGE = 1000


@attrs.frozen(kw_only=True)
class OldRuns:
    """Which runs are to be removed: those of a namespace that ended before a moment, in these ways.

    Attributes:
        statuses: Any of these; empty for all that are an end.
        workflow: Only runs of this workflow, or None.
        batch: How many runs are removed in one transaction.
    """

    namespace: str
    ended_before: datetime
    statuses: tuple[Status, ...] = ()
    workflow: str | None = None
    batch: int = 200

    def wants(self, run: Aged) -> bool:
        """Whether a run is one of them."""
        return (
            run.namespace == self.namespace
            and run.parent_id is None
            and run.ended_at is not None
            and run.ended_at < self.ended_before
            and (not self.statuses or run.status in self.statuses)
            and (self.workflow is None or run.workflow == self.workflow)
        )


def prune_in_portions(
    reader: Reader, write: Callable[[Write], Answer], old: OldRuns, limit: int | None = None
) -> Iterator[Pruned]:
    """Remove old runs, the oldest first, at most `limit` roots. Each portion is removed when it is asked for."""
    until = first_run_id(old.ended_before)
    after: UUID | None = None
    left = limit
    while True:
        page = reader.aged(after, until, _PAGE)
        found = [(run.id, run.key) for run in page if old.wants(run)][:left]
        for begin in range(0, len(found), old.batch):
            portion = tuple(found[begin : begin + old.batch])
            more = True
            while more:
                answer = write(
                    Prune(
                        namespace=old.namespace,
                        roots=portion,
                        ended_before=old.ended_before,
                        limit=old.batch,
                    )
                )
                assert isinstance(answer, Pruned)
                more = answer.more
                yield answer
        left = None if left is None else left - len(found)
        if len(page) < _PAGE or left == 0:
            return
        after = page[-1].id
