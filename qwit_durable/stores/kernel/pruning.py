"""Removing runs that have ended, trees first to last: whole, or so that a later write removes the rest."""

from __future__ import annotations

from uuid import UUID

from qwit_durable.stores.pruning import Prune, Pruned
from qwit_durable.stores.session import Session

__all__ = ["prune"]

_AT_ONCE = 500


def prune(session: Session, write: Prune) -> Pruned:
    """Remove what still is as it was found."""
    roots = runs = 0
    for root_id, key in write.roots:
        run, outcome = session.run(root_id), session.outcome(root_id)
        if run is None or run.parent_id is not None:
            continue
        if outcome is None or outcome.ended_at >= write.ended_before:
            continue
        below = _below(session, root_id)
        if any(session.open_among(part) for part in _parts([root_id, *below])):
            continue
        left = write.limit - runs
        # The deepest first: what is left is a tree with its root, which is found again.
        removed = below[::-1][:left]
        for part in _parts(removed):
            session.drop_runs(part)
        runs += len(removed)
        if len(below) >= left:
            return Pruned(roots=roots, runs=runs, more=True)
        if session.run_of_key(write.namespace, key) == root_id:
            session.drop_key(write.namespace, key)
        session.drop_runs([root_id])
        roots += 1
        runs += 1
    return Pruned(roots=roots, runs=runs)


def _below(session: Session, root_id: UUID) -> list[UUID]:
    """All runs below a root, level by level."""
    found: list[UUID] = []
    level = [root_id]
    while level:
        level = [child for part in _parts(level) for child in session.children_of(part)]
        found += level
    return found


def _parts(run_ids: list[UUID]) -> list[list[UUID]]:
    """So many at a time as a statement takes."""
    return [run_ids[begin : begin + _AT_ONCE] for begin in range(0, len(run_ids), _AT_ONCE)]
