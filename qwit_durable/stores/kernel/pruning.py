"""Removing runs that have ended, trees first to last: whole, or so that a later write removes the rest."""

from __future__ import annotations

from uuid import UUID

from qwit_durable.stores.pruning import Prune, Pruned
from qwit_durable.stores.session import Session

__all__ = ["prune"]

_AT_ONCE = 500


def prune(session: Session, write: Prune) -> Pruned:
    """Remove what still is as it was found: looked at level by level and removed for all roots at once."""
    found = {root_id: key for root_id, key in write.roots if _is_old(session, root_id, write)}
    below = _below(session, [*found])
    roots, gone = 0, list[UUID]()
    for root_id, key in found.items():
        tree = below.get(root_id)
        if tree is None:
            continue
        left = write.limit - len(gone)
        # The deepest first: what is left is a tree with its root, which is found again.
        gone += tree[::-1][:left]
        if len(tree) >= left:
            _drop(session, gone)
            return Pruned(roots=roots, runs=len(gone), more=True)
        if session.run_of_key(write.namespace, key) == root_id:
            session.drop_key(write.namespace, key)
        gone.append(root_id)
        roots += 1
    _drop(session, gone)
    return Pruned(roots=roots, runs=len(gone))


def _is_old(session: Session, root_id: UUID, write: Prune) -> bool:
    run, outcome = session.run(root_id), session.outcome(root_id)
    if run is None or run.parent_id is not None or outcome is None:
        return False
    return outcome.ended_at < write.ended_before


def _below(session: Session, roots: list[UUID]) -> dict[UUID, list[UUID]]:
    """The runs below each root, level by level; roots with an open run in their tree are left out."""
    found = {root_id: list[UUID]() for root_id in roots}
    root_of = {root_id: root_id for root_id in roots}
    level = roots
    while level:
        under = [one for part in _parts(level) for one in session.children_of(part)]
        for run_id, root_id in under:
            found[root_id].append(run_id)
            root_of[run_id] = root_id
        level = [run_id for run_id, _ in under]
    for part in _parts([*root_of]):
        for run_id in session.open_among(part):
            found.pop(root_of[run_id], None)
    return found


def _drop(session: Session, run_ids: list[UUID]) -> None:
    for part in _parts(run_ids):
        session.drop_runs(part)


def _parts(run_ids: list[UUID]) -> list[list[UUID]]:
    """So many at a time as a statement takes."""
    return [run_ids[begin : begin + _AT_ONCE] for begin in range(0, len(run_ids), _AT_ONCE)]
