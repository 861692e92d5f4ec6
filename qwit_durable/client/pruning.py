"""What `Durable` gives for removing old runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from qwit_durable.client.access import Access
from qwit_durable.core import OPEN, Status
from qwit_durable.engine.tending.pruning import OldRuns, prune_in_portions
from qwit_durable.language.options import check_duration
from qwit_durable.stores.pruning import Pruned

__all__ = ["Pruning"]


class Pruning:
    """Retention of one namespace."""

    def prune(
        self: Access,
        older_than: timedelta,
        *,
        status: Status | str | Sequence[Status | str] | None = None,
        workflow: str | None = None,
        limit: int | None = None,
        batch: int = 200,
    ) -> Pruned:
        """Remove runs that ended longer ago than this, with their sub-workflows and all that was stored of them.

        The oldest go first, in small transactions. A run that has not ended, or has an open one below it, stays. If
        this breaks off, what was removed is gone and a repetition removes the rest. The handle of a run that was
        removed raises `RunNotFound`, and its id may be used again.

        Args:
            older_than: How long ago it ended at least.
            status: Only runs that ended so: one status or several.
            workflow: Only runs of this workflow; with its sub-workflows, whatever they are.
            limit: At most so many runs, sub-workflows not counted.
            batch: How many runs are removed in one transaction.

        Returns:
            How many `runs` were removed, and how many of them were `roots`, that is no sub-workflows.

        Raises:
            ValueError: The status is none in which a run ends.

        >>> durable.prune(timedelta(days=30), status="completed").roots
        0
        """
        check_duration(older_than, "older_than", "prune()")
        given = () if status is None else (status,) if isinstance(status, str) else tuple(status)
        statuses = tuple(Status(one) for one in given)
        for one in statuses:
            if one in OPEN:
                ended = ", ".join(status for status in Status if status not in OPEN)
                msg = (
                    f"prune(): a run that is {one} has not ended, and is never removed\n"
                    f"  can be removed: {ended}\n"
                    f"  way out: cancel or terminate it, and it has ended"
                )
                raise ValueError(msg)
        old = OldRuns(
            namespace=self.namespace,
            ended_before=self.reader.now() - older_than,
            statuses=statuses,
            workflow=workflow,
            batch=max(batch, 1),
        )
        portions = [*prune_in_portions(self.reader, self.write, old, limit)]
        return Pruned(roots=sum(one.roots for one in portions), runs=sum(one.runs for one in portions))
