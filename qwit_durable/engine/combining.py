"""Runs that are carried on together: one thread of a process flushes, and goes on with all that the flush was for.

A run that stays in a process alternates between a step and a commit. With a thread to each run, every commit would put
a thread to sleep and wake it up again, and waking costs more than a step. So the thread that has flushed the commits of
several runs also takes each of them up to its next commit, one after another, and flushes those together; the threads
that brought the runs sleep until their run is done. (Flat combining: Hendler, Incze, Shavit and Tzafrir, 2010.) All of
them are worker threads of one process, so it makes no difference to a step which of them runs it.

- A commit is durable before the next piece of its run begins, as ever: a piece is resumed with the answer to it.
- A run whose last pieces took long, because its steps wait for something, is carried on by its own thread, so that such
  steps are made at once, as many as there are threads. Only the commits are flushed together then.
- Nobody waits for a step that has become slow but its own run: after a moment, one of those who sleep leads in the
  place of the thread that is at it.
- The lead goes to another one as soon as the leader's own run is done.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator
from enum import Enum, auto
from typing import Any, Generic, TypeVar

from qwit_durable.clock import monotonic
from qwit_durable.errors import StoreUnavailable
from qwit_durable.stores.answers import Answer
from qwit_durable.stores.committer import Committer
from qwit_durable.stores.writes import Commit, Write

__all__ = ["Combiner", "Pieces", "carry_out"]

_T = TypeVar("_T")

#: A run in pieces: it yields each write that it wants durable, and is resumed with the answer.
Pieces = Generator[Write, Answer, _T]

#: A longer piece counts as slow: several times what the engine needs for one.
_QUICK_SECONDS = 0.0005
#: A slow piece weighs as much as three quick ones, and two in a row tell: one may have been held up by other processes.
_WEIGHT, _ALONE, _MOST = 3, 4, 12
#: How long a piece may take before another thread leads: far above a quick one, and too short to be felt.
_MOMENT_SECONDS = 0.02


def carry_out(committer: Committer, pieces: Pieces[_T]) -> _T:
    """Carry out all pieces in this thread, each write by itself."""
    try:
        write = next(pieces)
        while True:
            write = pieces.send(committer.write(write))
    except StopIteration as stop:
        result: _T = stop.value
        return result


class _State(Enum):
    OWN = auto()  # to be carried on by the thread that brought it
    RUNNING = auto()
    WAITING = auto()  # for a flush
    FLUSHING = auto()
    READY = auto()  # to be resumed with its answer
    DONE = auto()


class _Rider(Generic[_T]):
    """One run, and the thread that brought it."""

    __slots__ = ("answer", "error", "is_joined", "pieces", "result", "slowness", "state", "turn", "write")

    def __init__(self, pieces: Pieces[_T]) -> None:
        self.pieces = pieces
        self.write: Write | None = None
        self.answer: Answer | BaseException | None = None
        self.state = _State.OWN
        #: Whether other threads know of it.
        self.is_joined = False
        self.slowness = 0
        self.result: _T | None = None
        self.error: BaseException | None = None
        # Held while its thread has nothing to do.
        self.turn = threading.Lock()
        self.turn.acquire()

    @property
    def is_at_its_last(self) -> bool:
        """Whether the run is let go of, or ended, by the write that it waits for."""
        write = self.write
        is_last = isinstance(write, Commit) and (write.release is not None or write.outcome is not None)
        return is_last and self.state is _State.WAITING

    def go_on(self) -> None:
        """Carry the run up to its next write, or to its end."""
        answer, self.answer = self.answer, None
        began = monotonic()
        try:
            if isinstance(answer, BaseException):
                self.write = self.pieces.throw(answer)
            else:
                self.write = self.pieces.send(answer)  # type: ignore[arg-type] # None is how it begins
            if monotonic() - began > _QUICK_SECONDS:
                self.slowness = min(self.slowness + _WEIGHT, _MOST)
            elif self.slowness:
                self.slowness -= 1
            self.state = _State.WAITING
        except StopIteration as stop:
            self.result, self.state = stop.value, _State.DONE
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that brought the run
            self.error, self.state = error, _State.DONE


def _wake(rider: _Rider[Any]) -> None:
    """Let the thread that brought a run look what there is to do, if it sleeps."""
    if rider.turn.locked():
        rider.turn.release()


class Combiner:
    """Carries runs on together. Safe to use from any number of threads."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self._mutex = threading.Lock()
        self._waiting: deque[_Rider[Any]] = deque()
        self._ready: deque[_Rider[Any]] = deque()
        self._leader: _Rider[Any] | None = None
        #: When the leader began the piece that it is at; None while it flushes.
        self._since: float | None = None

    def carry(self, pieces: Pieces[_T]) -> _T:
        """Carry a run to its end, or to where it is let go of, and answer what it returned.

        Raises:
            Exception: What the run raised.
        """
        rider = _Rider(pieces)
        try:
            while rider.state is not _State.DONE:
                if rider.state is _State.OWN:
                    rider.go_on()
                    self._write_by_itself(rider) if rider.is_at_its_last else self._join(rider)
                else:
                    self._wait(rider)
        except BaseException:
            # Interrupted from outside: nobody may go on with the run of a thread that has left.
            self._withdraw(rider)
            raise
        if rider.error is not None:
            raise rider.error
        return rider.result  # type: ignore[return-value] # it is done

    def _write_by_itself(self, rider: _Rider[Any]) -> None:
        """Nothing is to be gone on with after the last write, so it joins any flush."""
        assert rider.write is not None
        try:
            rider.answer = self._committer.write(rider.write)
        except Exception as error:  # noqa: BLE001 - raised in the run
            rider.answer = error
        finally:
            rider.state = _State.OWN

    def _join(self, rider: _Rider[Any]) -> None:
        if rider.state is _State.DONE:
            return
        with self._mutex:
            self._waiting.append(rider)
            rider.is_joined = True
            leads = self._leader is None
            if leads:
                self._leader = rider
        if leads:
            self._lead(rider)

    def _wait(self, rider: _Rider[Any]) -> None:
        """Sleep until the run is done, it is this thread's turn to lead, or the leader is at a slow piece."""
        is_told = rider.turn.acquire(timeout=_MOMENT_SECONDS)
        with self._mutex:
            is_slow = self._since is not None and monotonic() - self._since > _MOMENT_SECONDS
            if not is_told and is_slow and rider.state not in (_State.OWN, _State.DONE):
                self._leader, self._since = rider, None
            leads = self._leader is rider
        if leads:
            self._lead(rider)

    # -- leading -----------------------------------------------------------------------------------------------

    def _lead(self, own: _Rider[Any]) -> None:
        try:
            self._go_on_with_what_is_ready(own)
            while own.state not in (_State.OWN, _State.DONE) and (batch := self._next_batch(own)):
                self._flush(batch)
                self._go_on_with_what_is_ready(own)
        finally:
            self._pass_on(own)

    def _next_batch(self, own: _Rider[Any]) -> list[_Rider[Any]]:
        with self._mutex:
            if self._leader is not own:
                return []
            batch = [*self._waiting]
            self._waiting.clear()
            for rider in batch:
                rider.state = _State.FLUSHING
        return batch

    def _flush(self, batch: list[_Rider[Any]]) -> None:
        try:
            writes = [rider.write for rider in batch if rider.write is not None]
            for rider, answer in zip(batch, self._committer.write_all(writes), strict=True):
                rider.answer = answer
        finally:
            with self._mutex:
                for rider in batch:
                    if rider.answer is None:
                        rider.answer = StoreUnavailable("the write was interrupted before it was answered")
                    if rider.slowness >= _ALONE:
                        rider.state, rider.is_joined = _State.OWN, False
                        _wake(rider)
                    else:
                        rider.state = _State.READY
                        self._ready.append(rider)

    def _go_on_with_what_is_ready(self, own: _Rider[Any]) -> None:
        while (rider := self._next_ready(own)) is not None:
            try:
                rider.go_on()
            finally:
                self._put_back(rider, own)

    def _next_ready(self, own: _Rider[Any]) -> _Rider[Any] | None:
        with self._mutex:
            if self._leader is not own or not self._ready:
                return None
            rider = self._ready.popleft()
            rider.state = _State.RUNNING
            self._since = monotonic()
        return rider

    def _put_back(self, rider: _Rider[Any], own: _Rider[Any]) -> None:
        with self._mutex:
            if self._leader is own:
                self._since = None
            if rider.state is _State.WAITING:
                self._waiting.append(rider)
            elif rider.state is _State.RUNNING:  # this thread was interrupted before it began
                rider.state = _State.READY
                self._ready.appendleft(rider)
            # Another thread may have led meanwhile, and found nothing more to do.
            is_left_alone = self._leader is None and rider.state is not _State.DONE
            if is_left_alone:
                self._leader = rider
                _wake(rider)
        if rider.state is _State.DONE:
            _wake(rider)

    def _pass_on(self, own: _Rider[Any]) -> None:
        """Let one of those that wait lead."""
        with self._mutex:
            if self._leader is not own:
                return
            heirs = [rider for rider in (*self._ready, *self._waiting) if rider is not own]
            heir = self._leader = heirs[0] if heirs else None
            self._since = None
            if heir is not None:
                _wake(heir)

    def _withdraw(self, rider: _Rider[Any]) -> None:
        while True:
            with self._mutex:
                for queue in (self._waiting, self._ready):
                    if rider in queue:
                        queue.remove(rider)
                        rider.state = _State.DONE
                if not rider.is_joined or rider.state is _State.DONE:
                    break
            rider.turn.acquire(timeout=_MOMENT_SECONDS)
        self._pass_on(rider)
        rider.pieces.close()
