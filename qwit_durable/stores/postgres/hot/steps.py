"""The two writes of queued steps in one statement: most flushes have some of both.

Several statements are several calls of the driver, and each of these gives up the interpreter's lock, which other
threads want: sending two and reading their answers takes longer than the server does.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from psycopg.pq.abc import PGresult

from qwit_durable.stores.answers import Answer, Committed
from qwit_durable.stores.postgres.hot.claim import GRANTED, NUMBER, WIDTH, ClaimFree, claimed
from qwit_durable.stores.postgres.hot.go_on import GoOn, accepted, gone_on
from qwit_durable.stores.postgres.hot.prepared import Prepared, Question
from qwit_durable.stores.writes import Claim, ResolveTask, Write

__all__ = ["Steps"]


def _nothing(columns: int) -> str:
    return ", ".join(["NULL"] * columns)


_GONE_ON = f"run_id, NULL, updated_at, cancel_asked, head, {_nothing(NUMBER - 5)}, NULL AS number"
#: An outcome in the columns of a claim, told from one by having no position. It comes first: live rows are locked
#: before tasks.
_STEPS = f"""
WITH {claimed(2)}, {gone_on(10)}
SELECT {_GONE_ON}, {_nothing(WIDTH - NUMBER - 1)} FROM won UNION ALL {GRANTED} ORDER BY number
""".encode()


class Steps:
    """Asks what the two kinds would ask, at once: claims first, then outcomes."""

    locks = True

    def __init__(self, claim: ClaimFree, go_on: GoOn) -> None:
        self._claim = claim
        self._go_on = go_on

    def takes(self, write: Write) -> Sequence[Hashable] | None:
        """No write of its own."""
        _ = write
        return None

    def questions(self, writes: Sequence[Claim | ResolveTask], now: bytes | None) -> Sequence[Question]:
        """The statement that carries out all of them."""
        claims, outcomes = _parted(writes)
        return ((_STEPS, (now, *self._claim.params(claims), *self._go_on.params(outcomes))),)

    def answers(
        self, writes: Sequence[Claim | ResolveTask], results: Sequence[PGresult], link: Prepared
    ) -> Sequence[Answer | None]:
        """The answers of those that won."""
        claims, outcomes = _parted(writes)
        rows = link.rows(results[0])
        granted = self._claim.answers_in(claims, [row for row in rows if row[1] is not None])
        won = {
            run_id: Committed(head=head, now=updated_at, cancel_asked=cancel_asked)
            for run_id, position, updated_at, cancel_asked, head, *_ in rows
            if position is None
        }
        done = [
            accepted(write.then, won[write.run_id])
            if write.then is not None and write.run_id in won
            else None
            for write in outcomes
        ]
        return [*granted, *done]


def _parted(writes: Sequence[Claim | ResolveTask]) -> tuple[Sequence[Claim], Sequence[ResolveTask]]:
    return (
        [write for write in writes if isinstance(write, Claim)],
        [write for write in writes if isinstance(write, ResolveTask)],
    )
