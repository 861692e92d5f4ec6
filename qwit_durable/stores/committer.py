"""Group commit: all writes of a process go through one `Committer`.

Idle, a write is carried out at once by the thread that brings it: no hand-off, one round trip. While a flush is in
flight, further writes gather; whoever finishes a flush hands the lead to one of those waiting, and it takes them all in
one transaction. So batches grow with the load and there is no artificial delay. A caller goes on only when its write is
durable. If a batch fails, it is cut in halves until the write that can't be stored stands alone: neighbours are safe.

Starts into lanes go in batches of their own: two processes that start into one lane wait for each other's commits, and
checkpoints are not to wait with them. (Three processes that did nothing but start into one lane took two fifths of the
checkpoints of a fourth otherwise.) So does the removal of old runs, which takes long.

Writes that keep things moving go alone: the sweep's take locks in an order of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import cast

from qwit_durable.errors import StoreUnavailable
from qwit_durable.stores.answers import Answer
from qwit_durable.stores.kernel import goes_alone, may_wait
from qwit_durable.stores.protocol import PartlyApplied, Store
from qwit_durable.stores.transactions import refuse_deadlock
from qwit_durable.stores.writes import Write

__all__ = ["Committer"]

_LIMIT_WRITES = 256


class _Ticket:
    """One write on its way, and how it went."""

    __slots__ = ("answer", "done", "error", "lead", "turn", "write")
    # `turn` is held until its owner may go on. A lock costs a fifth of what an event does.

    def __init__(self, write: Write) -> None:
        self.write = write
        self.turn = threading.Lock()
        self.turn.acquire()
        self.lead = False
        self.done = False
        self.answer: Answer | None = None
        self.error: BaseException | None = None


class Committer:
    """Carries out writes in batches. Safe to use from any number of threads."""

    def __init__(self, store: Store, *, limit_writes: int = _LIMIT_WRITES) -> None:
        self._queue = _Queue(store, limit_writes)
        self._patient = _Queue(store, limit_writes)
        self._alone = _Queue(store, 1)

    @property
    def flushes(self) -> int:
        """How many batches were carried out."""
        return sum(queue.flushes for queue in self._queues)

    @property
    def writes(self) -> int:
        """How many writes were in them."""
        return sum(queue.writes for queue in self._queues)

    @property
    def asked(self) -> int:
        """A number that grows with every write that is not one of those that keep things moving."""
        return self._queue.asked + self._patient.asked

    @property
    def _queues(self) -> tuple[_Queue, ...]:
        return self._queue, self._patient, self._alone

    def write(self, write: Write) -> Answer:
        """Carry out one write; return its answer once it is durable.

        Raises:
            StoreUnavailable: The connection was lost; the write may or may not have happened. Repeating is safe.
            MisuseError: A transactional step asks, which has locked the store against all other writes.
        """
        refuse_deadlock()
        if goes_alone(write):
            return self._alone.write(write)
        queue = self._patient if may_wait(write) else self._queue
        return queue.write(write)

    def write_all(self, writes: Sequence[Write]) -> list[Answer | BaseException]:
        """Carry out some writes of those that may share a batch; return when each is durable, or why it is not."""
        refuse_deadlock()
        return self._queue.write_all(writes)

    def write_many(self, writes: Sequence[Write]) -> list[Answer | BaseException]:
        """The same for writes of any kind that is written from outside: starts into lanes among them."""
        refuse_deadlock()
        patient = [write for write in writes if may_wait(write)]
        others = [write for write in writes if not may_wait(write)]
        waiting = iter(self._patient.write_all(patient) if patient else ())
        rest = iter(self._queue.write_all(others) if others else ())
        return [next(waiting) if may_wait(write) else next(rest) for write in writes]


class _Queue:
    """Writes that may share a batch."""

    def __init__(self, store: Store, limit_writes: int) -> None:
        self._store = store
        self._limit = limit_writes
        self._mutex = threading.Lock()
        self._waiting: list[_Ticket] = []
        self._flushing = False
        self.flushes = 0
        self.writes = 0
        self.asked = 0

    def write(self, write: Write) -> Answer:
        (ticket,) = self._carry_out([_Ticket(write)])
        if ticket.error is not None:
            raise ticket.error
        return cast("Answer", ticket.answer)

    def write_all(self, writes: Sequence[Write]) -> list[Answer | BaseException]:
        tickets = self._carry_out([_Ticket(write) for write in writes])
        return [cast("Answer", ticket.answer) if ticket.error is None else ticket.error for ticket in tickets]

    def _carry_out(self, tickets: list[_Ticket]) -> list[_Ticket]:
        first, *others = tickets
        try:
            with self._mutex:
                self.asked += len(tickets)
                waits = self._flushing
                self._waiting += tickets if waits else others
                if not waits:
                    self._flushing = first.lead = True
            for ticket in tickets:
                if waits or ticket is not first:
                    ticket.turn.acquire()
                if ticket.lead:
                    self._lead(self._take(ticket))
                    self._pass_on(ticket)
        except BaseException:
            # Interrupted, as by Ctrl-C: nobody may count on this thread any more.
            with self._mutex:
                self._waiting = [ticket for ticket in self._waiting if ticket not in tickets]
            raise
        finally:
            for ticket in tickets:
                self._pass_on(ticket)
        return tickets

    def _take(self, own: _Ticket) -> list[_Ticket]:
        with self._mutex:
            batch = [own, *self._waiting[: self._limit - 1]]
            del self._waiting[: self._limit - 1]
        return batch

    def _lead(self, batch: list[_Ticket]) -> None:
        try:
            self._flush(batch)
        finally:
            for ticket in batch:
                if not ticket.done:
                    ticket.error = ticket.error or StoreUnavailable(
                        "the write was interrupted before it was answered"
                    )
                ticket.turn.release()

    def _pass_on(self, leader: _Ticket) -> None:
        """Let one of those that wait lead, if this one does."""
        with self._mutex:
            if not leader.lead:
                return
            leader.lead = False
            heir = self._waiting.pop(0) if self._waiting else None
            if heir is None:
                self._flushing = False
            else:
                heir.lead = True
        if heir is not None:
            heir.turn.release()

    def _flush(self, tickets: Sequence[_Ticket]) -> None:
        try:
            self._answer(tickets, self._store.apply([ticket.write for ticket in tickets]))
        except PartlyApplied as partly:
            self._answer(tickets, partly.answers)
            self._fail([ticket for ticket in tickets if not ticket.done], partly.error)
        except Exception as error:  # noqa: BLE001 - told to the one whose write it is
            self._fail(tickets, error)

    def _answer(self, tickets: Sequence[_Ticket], answers: Sequence[Answer | None]) -> None:
        self.flushes += 1
        for ticket, answer in zip(tickets, answers, strict=True):
            if answer is not None:
                self.writes += 1
                ticket.answer, ticket.done = answer, True

    def _fail(self, tickets: Sequence[_Ticket], error: Exception) -> None:
        """Tell whose write it is; look for it if there are several."""
        if isinstance(error, StoreUnavailable) or len(tickets) == 1:
            for ticket in tickets:
                ticket.error, ticket.done = error, True
            return
        middle = len(tickets) // 2
        self._flush(tickets[:middle])
        self._flush(tickets[middle:])
