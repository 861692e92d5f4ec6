"""Hot writes: the common ones of a run's life, each a statement for a whole batch, all in one round trip and commit.

Each module here carries out one kind of write for as many runs as a batch has, and answers those that have won. The
conditions under which it is the plain case stand in the statement's `WHERE`; whoever is not among the rows answered is
looked at again by the kernel, which says why. So the meaning stays where it is written (`stores.kernel`), and what is
here is its common case: the contract suite and a model of random writes compare the two.

Lock order: users' ids, then live rows in the order of their ids, then tasks; where several statements touch live rows,
or one looks at more than it changes, all of them are locked before the first.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import datetime
from typing import Any, Protocol, cast
from uuid import UUID

from psycopg.pq.abc import PGresult

from qwit_durable.stores.answers import Answer
from qwit_durable.stores.kernel import touched
from qwit_durable.stores.postgres.hot import binary
from qwit_durable.stores.postgres.hot.acquire import AcquireFree
from qwit_durable.stores.postgres.hot.append import Append
from qwit_durable.stores.postgres.hot.claim import ClaimFree
from qwit_durable.stores.postgres.hot.finish import Finish
from qwit_durable.stores.postgres.hot.finish_in_lane import FinishInLane
from qwit_durable.stores.postgres.hot.go_on import GoOn
from qwit_durable.stores.postgres.hot.hand_over import HandOver
from qwit_durable.stores.postgres.hot.places import AT_PLACE, Places
from qwit_durable.stores.postgres.hot.prepared import Prepared, Question
from qwit_durable.stores.postgres.hot.resolve import Resolve
from qwit_durable.stores.postgres.hot.signal import Signal
from qwit_durable.stores.postgres.hot.start import StartAtOnce
from qwit_durable.stores.postgres.hot.steps import Steps
from qwit_durable.stores.sql.cache import RunCache
from qwit_durable.stores.sql.tables import Tables
from qwit_durable.stores.writes import Acquire, Checkpoint, Claim, Commit, Deliver, ResolveTask, Start, Write

__all__ = ["HotWrites", "Prepared"]

_LOCK = b"SELECT FROM qwit.live WHERE run_id = ANY($1::uuid[]) ORDER BY run_id FOR UPDATE"
#: For the order of locks alone: a row that is at its place no longer is not locked.
_LOCK_THERE = f"""
SELECT FROM unnest($1::uuid[], $2::tid[]) AS given (id, place) JOIN qwit.live ON {AT_PLACE}
ORDER BY id FOR UPDATE OF live
""".encode()

#: Rows are looked for by their keys: what a session of our own keeps (`pg.links`), told in each transaction anew where
#: nothing can be kept, for as long as the server may be planning.
_BY_KEY: Question = (
    (
        b"SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), "
        b"set_config('enable_mergejoin', 'off', true), set_config('enable_bitmapscan', 'off', true)"
    ),
    (),
)


class Kind(Protocol):
    """One kind of hot write. `locks` tells whether it locks live rows that may be others', too."""

    locks: bool

    def takes(self, write: Write) -> Sequence[Hashable] | None:
        """What it is about, runs and users' ids; None if it is not the plain case."""
        ...

    def questions(self, writes: Sequence[Any], now: bytes | None) -> Sequence[Question]:
        """The statements for these writes; `now` is given in tests alone."""
        ...

    def answers(
        self, writes: Sequence[Any], results: Sequence[PGresult], link: Prepared
    ) -> Sequence[Answer | None]:
        """An answer to each; None for those that have not won. `link` may be asked for more."""
        ...


class _LockAll:
    """Locks the live rows of several kinds at once, in their order.

    Args:
        places: Where they may be looked for; None if each of them has to be locked.
    """

    locks = False

    def __init__(self, places: Places | None) -> None:
        self._places = places

    def takes(self, write: Write) -> Sequence[Hashable] | None:
        """No write of its own."""
        _ = write
        return None

    def questions(self, writes: Sequence[Any], now: bytes | None) -> Sequence[Question]:
        """The statement that locks the runs of these writes."""
        _ = now
        ids = [write.run_id for write in writes]
        places = None if self._places is None else self._places.of([run_id.bytes for run_id in ids])
        if places is None:
            return ((_LOCK, (binary.uuids(ids),)),)
        return ((_LOCK_THERE, (binary.uuids(ids), binary.places(places))),)

    def answers(
        self, writes: Sequence[Any], results: Sequence[PGresult], link: Prepared
    ) -> Sequence[Answer | None]:
        """None yet."""
        _ = results, link
        return [None] * len(writes)


_Batch = list[tuple[int, Write]]


def _run_of(write: Any) -> UUID:
    run_id: UUID = write.run.id if isinstance(write, Start) else write.run_id
    return run_id


def _place(numbered: tuple[int, Any]) -> int:
    """By the ids of runs, as everybody locks."""
    return _run_of(numbered[1]).int


class _Seen:
    """What the writes of a batch are about, one after the other."""

    def __init__(self) -> None:
        self._closed: set[Hashable] = set()
        self._places: dict[Hashable, dict[str, Acquire | None]] = {}

    def close(self, about: Sequence[Hashable]) -> None:
        """No further write about these is hot."""
        self._closed.update(about)

    def admits(self, about: Sequence[Hashable], write: Write) -> bool:
        """Whether a write may be hot, after all those before it."""
        if not isinstance(write, ResolveTask | Claim) or (isinstance(write, ResolveTask) and write.then):
            is_free = self._closed.isdisjoint(about) and self._places.keys().isdisjoint(about)
            self.close(about)
            return is_free
        if not self._closed.isdisjoint(about):
            return False
        places = self._places.setdefault(write.run_id, {})
        place = write.event.position if isinstance(write, ResolveTask) else write.position
        if place in places or (
            isinstance(write, ResolveTask) and any(t != write.turn for t in places.values())
        ):
            self.close(about)
            return False
        places[place] = write.turn if isinstance(write, ResolveTask) else None
        return True


def _time(now: datetime | None) -> bytes | None:
    return None if now is None else binary.time(now)


def _claims_last(numbered: tuple[int, Write]) -> bool:
    return isinstance(numbered[1], Claim)


class HotWrites:
    """Carries out what is hot of a batch."""

    def __init__(self, tables: Tables, cache: RunCache) -> None:
        self._places = Places()
        self._lock, self._lock_each = _LockAll(self._places), _LockAll(None)
        self._resolve, self._claim, self._go_on = (
            Resolve(tables, cache),
            ClaimFree(tables, cache),
            GoOn(tables),
        )
        self._steps = Steps(self._claim, self._go_on)
        self._append = append = Append(tables, self._places)
        acquire = AcquireFree(tables, cache, self._places)
        self._tell_places: frozenset[Kind] = frozenset((append, acquire))
        self._start = StartAtOnce(tables, cache)
        # The most frequent first.
        self._kinds: dict[type[Write], tuple[Kind, ...]] = {
            Checkpoint: (append,),
            Commit: (HandOver(tables), Finish(tables, cache), FinishInLane(tables, cache)),
            Claim: (self._claim,),
            ResolveTask: (self._go_on, self._resolve),
            Acquire: (acquire,),
            Start: (self._start,),
            Deliver: (Signal(tables),),
        }

    def carry_out(
        self, link: Prepared, writes: Sequence[Write], now: datetime | None
    ) -> Sequence[Answer | None]:
        """Answer what was hot and has won, by now durable; None for all the rest, of which nothing was written."""
        checkpoints = {write.run_id.bytes: write for write in writes if type(write) is Checkpoint}
        if len(checkpoints) == len(writes):
            # Checkpoints of different runs: there is nothing to be sorted out.
            ids = sorted(checkpoints)
            question = self._append.question(ids, [checkpoints[run_id] for run_id in ids], _time(now))
            (result,) = self._ask(link, [question], is_one=len(writes) == 1)
            won = self._append.won(checkpoints, result)
            answers: Sequence[Answer | None] = [won.get(run_id) for run_id in checkpoints]
        elif len(writes) == 1 and self._start.takes(writes[0]):
            # Nor is there in a start.
            starts = cast("Sequence[Start]", writes)
            results = self._ask(link, self._start.questions(starts, _time(now)), is_one=True)
            answers = self._start.answers(starts, results, link)
        else:
            answers = self._answers(link, writes, now)
        for write, answer in zip(writes, answers, strict=True):
            if answer is None:
                for run_id in touched(write):
                    self._places.lost(run_id.bytes)
        return answers

    def _answers(
        self, link: Prepared, writes: Sequence[Write], now: datetime | None
    ) -> Sequence[Answer | None]:
        answers: list[Answer | None] = [None] * len(writes)
        asked = [
            (kind, batch, kind.questions([write for _, write in batch], _time(now)))
            for kind, batch in self._sorted_out(writes)
        ]
        if not asked:
            return answers
        asking = [question for *_, questions in asked for question in questions]
        results = iter(self._ask(link, asking, is_one=len(writes) == 1))
        for kind, batch, questions in asked:
            of_kind = [next(results) for _ in questions]
            found = kind.answers([write for _, write in batch], of_kind, link)
            for (nth, _), answer in zip(batch, found, strict=True):
                answers[nth] = answer
            if kind not in self._tell_places:
                for _, write in batch:
                    self._places.lost(_run_of(write).bytes)
        return answers

    def _ask(self, link: Prepared, asking: Sequence[Question], *, is_one: bool) -> Sequence[PGresult]:
        is_planned = link.is_by_key or (len(asking) == 1 and (is_one or link.is_well_known(asking[0])))
        return link.ask(asking, is_alone=is_one) if is_planned else link.ask([_BY_KEY, *asking])[1:]

    def _sorted_out(self, writes: Sequence[Write]) -> list[tuple[Kind, _Batch]]:
        """What is hot, by kind, in the order of ids.

        What is hot comes before all the rest, so a write about a run that one before it is about, or may be about, is
        left to the rest; except that outcomes and beginnings of different attempts of one run do not touch each other.
        """
        batches = self._batches(writes)
        if batches.keys() == {self._claim, self._go_on}:
            return [(self._steps, [one for kind in (self._claim, self._go_on) for one in batches[kind]])]
        sorted_out = [(kind, batches[kind]) for kind in batches]
        locking = [(kind, batch) for kind, batch in sorted_out if kind.locks]
        if len(locking) > 1 or self._resolve in batches:
            lock = self._lock_each if self._resolve in batches else self._lock
            locking.insert(0, (lock, [one for _, batch in locking for one in batch]))
        others = [one for one in sorted_out if not one[0].locks]
        # Tasks are locked after live rows.
        return sorted([*others, *locking], key=lambda one: one[0] is self._claim)

    def _batches(self, writes: Sequence[Write]) -> dict[Kind, _Batch]:
        batches: dict[Kind, _Batch] = {}
        seen = _Seen()
        for nth, write in sorted(enumerate(writes), key=_claims_last):
            for kind in self._kinds.get(type(write), ()):
                if (about := kind.takes(write)) is not None:
                    if seen.admits(about, write):
                        batches.setdefault(kind, []).append((nth, write))
                    break
            else:
                if not (rows := touched(write)):
                    break
                seen.close(rows)
        return {kind: sorted(batch, key=_place) for kind, batch in batches.items()}
