"""Writes that keep things moving: what is due, bells that were lost, and workers that come and go.

Part of `stores.writes`, which all others import.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import attrs

from qwit_durable.stores.rows import WorkerRow

__all__ = ["Beat", "Disown", "FireTimers", "Lead", "Reap", "Retire", "RingDue", "WakeStuck"]


@attrs.frozen(kw_only=True)
class FireTimers:
    """Fire due timers, at most `limit`; or only that of one command, if it is due."""

    limit: int = 500
    run_id: UUID | None = None
    position: str | None = None


@attrs.frozen(kw_only=True)
class RingDue:
    """Name the tasks that nobody has begun, at most `limit`, and put off the next ringing of each, ever longer."""

    limit: int = 500
    queues: tuple[str, ...] | None = None


@attrs.frozen(kw_only=True)
class Lead:
    """Be the one that does a duty, for a while. Granted if it is free, expired, or one's own."""

    duty: str
    worker: int
    lease: timedelta


@attrs.frozen(kw_only=True)
class Beat:
    """Say that a worker lives, for one `lease` from now; and ask for a duty with the same breath."""

    worker: WorkerRow
    lease: timedelta
    asks: Lead | None = None


@attrs.frozen(kw_only=True)
class Retire:
    """A worker ends in good order: what it still holds is free, its duties too, and no attempt is burnt.

    `unheard` is told where bells end with the process: the tasks whose bells nobody has followed. They are due at once,
    and so is what the worker held: the answer names no bells then.
    """

    worker: int
    unheard: frozenset[tuple[UUID, str]] | None = None


@attrs.frozen(kw_only=True)
class Disown:
    """Free what a living worker holds by mistake: what it names, still owns and has not touched for `older_than`.

    That is how a turn that broke off without releasing its run is mended.
    """

    worker: int
    runs: frozenset[UUID]
    tasks: frozenset[tuple[UUID, str]]
    older_than: timedelta


@attrs.frozen(kw_only=True)
class Reap:
    """Free the runs and tasks of dead workers, and ask for their turns. Their duties are free, too.

    And those of the runs in `orphans` that are held by a worker that has no row: one that was taken for dead, came
    back, and died before its next beat. (A task of such a worker is rung for when its time has come.)

    `alone` is a worker that starts where bells end with the process that rang them: if no other one lives, nobody has
    heard of what was rung for and not begun, and that is due at once.
    """

    orphans: tuple[UUID, ...] = ()
    alone: int | None = None


@attrs.frozen(kw_only=True)
class WakeStuck:
    """Ask for a turn of the runs that are stuck over their code: this deploy may have mended it."""

    limit: int = 1000
