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

from qwit_durable.errors import StoreUnavailable
from qwit_durable.stores.answers import Answer
from qwit_durable.stores.kernel import goes_alone, may_wait
from qwit_durable.stores.protocol import PartlyApplied, Store
from qwit_durable.stores.transactions import refuse_deadlock
from qwit_durable.stores.writes import Write

__all__ = ["Committer"]

_LIMIT_WRITES = 256


class _Ticket:
    """What one caller wants written, and how it went."""

    __slots__ = ("answers", "lead", "turn", "writes")
    # `turn` is there, and held, where its owner has to wait before it goes on. A lock costs a fifth of what an event
    # does.

    def __init__(self, writes: Sequence[Write]) -> None:
        self.writes = writes
        self.turn: threading.Lock | None = None
        self.lead = False
        self.answers: Sequence[Answer | BaseException] = ()


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

    def write_all(self, writes: Sequence[Write]) -> Sequence[Answer | BaseException]:
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
        (answer,) = self.write_all([write])
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def write_all(self, writes: Sequence[Write]) -> Sequence[Answer | BaseException]:
        if len(writes) > self._limit:
            parts = (writes[at : at + self._limit] for at in range(0, len(writes), self._limit))
            return [answer for part in parts for answer in self.write_all(part)]
        ticket = _Ticket(writes)
        try:
            batch = self._enter(ticket) or self._wait(ticket)
            if ticket.lead:
                self._lead(batch)
        except BaseException:
            # Interrupted, as by Ctrl-C: nobody may count on this thread any more.
            with self._mutex:
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
            raise
        finally:
            self._pass_on(ticket)
        return ticket.answers

    def _enter(self, ticket: _Ticket) -> Sequence[_Ticket]:
        """What the caller is to flush, if nobody else is at it; nothing where it has to wait."""
        with self._mutex:
            self.asked += len(ticket.writes)
            if not self._flushing:
                self._flushing = ticket.lead = True
                return (ticket,)
            ticket.turn = threading.Lock()
            ticket.turn.acquire()
            self._waiting.append(ticket)
            return ()

    def _wait(self, ticket: _Ticket) -> Sequence[_Ticket]:
        """Wait for somebody to flush it, or for one's turn to flush: then with all that can go together."""
        assert ticket.turn is not None
        ticket.turn.acquire()
        if not ticket.lead:
            return ()
        with self._mutex:
            size, count = len(ticket.writes), 0
            for other in self._waiting:
                size += len(other.writes)
                if size > self._limit:
                    break
                count += 1
            batch = [ticket, *self._waiting[:count]]
            del self._waiting[:count]
        return batch

    def _lead(self, batch: Sequence[_Ticket]) -> None:
        writes = batch[0].writes if len(batch) == 1 else [write for one in batch for write in one.writes]
        answers: Sequence[Answer | BaseException] = ()
        try:
            answers = self._flush(writes)
        except BaseException:
            answers = [StoreUnavailable("the write was interrupted before it was answered")] * len(writes)
            raise
        finally:
            at = 0
            for ticket in batch:
                ticket.answers = answers[at : at + len(ticket.writes)]
                at += len(ticket.writes)
                if ticket.turn is not None and not ticket.lead:
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
        if heir is not None and heir.turn is not None:
            heir.turn.release()

    def _flush(self, writes: Sequence[Write]) -> Sequence[Answer | BaseException]:
        try:
            answers = self._store.apply(writes)
        except PartlyApplied as partly:
            self.flushes += 1
            self.writes += sum(answer is not None for answer in partly.answers)
            rest = [write for write, answer in zip(writes, partly.answers, strict=True) if answer is None]
            failed = iter(self._fail(rest, partly.error))
            return [next(failed) if answer is None else answer for answer in partly.answers]
        except Exception as error:  # noqa: BLE001 - told to the one whose write it is
            return self._fail(writes, error)
        self.flushes += 1
        self.writes += len(writes)
        return answers

    def _fail(self, writes: Sequence[Write], error: Exception) -> Sequence[Answer | BaseException]:
        """Tell whose write it is; look for it if there are several."""
        if isinstance(error, StoreUnavailable) or len(writes) == 1:
            return [error] * len(writes)
        middle = len(writes) // 2
        return [*self._flush(writes[:middle]), *self._flush(writes[middle:])]
