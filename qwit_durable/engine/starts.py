"""Starts whose first turn is this process's own: an idle thread is called while the run is being written.

The write that starts a run may name its holder, who then need not look for it. The thread that is to have the turn is
called before that write goes out, and makes the body ready meanwhile: waking a thread and building a generator take as
long as the write does. Only the pure body runs before the start is durable, and only that of a run whose id nobody
chose: who chose one may be answered with another run. What is not stored is discarded.

Where other runs are under way, threads are awake and writes share commits: then a thread is called once there is
something to do, as one that waits would be missing (a tenth fewer starts from eight threads).

The call is a bell like any other, and as little counts on it. A thread that has waited for a while leaves; the turn
that comes after that has a bell of its own. A turn that nobody has taken when the process drains is given back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from uuid import UUID

import attrs

from qwit_durable.core import Interpreter
from qwit_durable.engine.ports import Services
from qwit_durable.engine.turning.interpreters import Interpreters
from qwit_durable.engine.turning.letting_go import give_back
from qwit_durable.engine.turning.turns import Turns
from qwit_durable.errors import StoreError
from qwit_durable.stores.answers import Acquired, Answer, Committed, Started
from qwit_durable.stores.rows import TURN, Ring, RunRow
from qwit_durable.stores.writes import Start

__all__ = ["Starts"]

_logger = logging.getLogger("qwit_durable.turns")

#: So long a thread waits for a start that it was called for: far more than a write takes, where all is well.
_PATIENCE_SECONDS = 1.0


class _Promise:
    """A first turn, promised by the thread that starts a run to the one that was called for it.

    Attributes:
        give_up: Says that no thread is to have it.
        is_over: Whether it is kept, or nobody waits for it any more.
    """

    def __init__(self, run: RunRow, give_up: Callable[[], None]) -> None:
        self.run = run
        self.give_up = give_up
        self.is_over = False
        self._acquired: Acquired | None = None
        self._lock = threading.Lock()
        self._is_kept = threading.Lock()
        self._is_kept.acquire()

    def keep(self, acquired: Acquired | None) -> bool:
        """Hand the turn over, or say that there is none; False if whoever was called has left."""
        with self._lock:
            if self.is_over:
                return False
            self._acquired, self.is_over = acquired, True
        self._is_kept.release()
        return True

    def wait(self) -> Acquired | None:
        """The turn, if it comes in time."""
        self._is_kept.acquire(timeout=_PATIENCE_SECONDS)
        return self.leave()

    def leave(self) -> Acquired | None:
        """Wait no longer; the turn, if it has come by now."""
        with self._lock:
            self.is_over = True
            return self._acquired


class Starts:
    """Carries out starts, and begins what they store.

    Args:
        idle: How many threads of this process have nothing to do.
    """

    def __init__(
        self, services: Services, turns: Turns, interpreters: Interpreters, idle: Callable[[], int]
    ) -> None:
        self._services = services
        self._turns = turns
        self._interpreters = interpreters
        self._idle = idle
        #: Those that no thread has come for yet.
        self._promises: dict[UUID, _Promise] = {}

    def start(self, write: Start) -> Answer:
        """Carry out a start; where a thread is idle, it has the first turn by the same write.

        Raises:
            StoreError: As the committer.
        """
        services, run = self._services, write.run
        if services.draining.is_set() or not services.bells.consumes(run.queue) or self._idle() < 1:
            return services.committer.write(write)
        may_wait = run.lane is not None or run.start_at is not None or write.delay is not None
        is_quiet = not self._turns.holding
        promise: _Promise | None = None
        acquired: Acquired | None = None
        try:
            if is_quiet and not may_wait:
                promise = self._call(run)
            answer = services.committer.write(attrs.evolve(write, holder=services.worker))
            acquired = answer.acquired if isinstance(answer, Started) else None
            return answer
        finally:
            if promise is None or not promise.keep(acquired):
                # Nobody was called before, or nobody could wait so long.
                promise = None if acquired is None else self._call(run, acquired)
            if promise is not None and services.draining.is_set():
                promise = self._promises.pop(run.id, None)
                if promise is not None:
                    self._give_up(promise, acquired)

    def begin(self, run_id: UUID) -> bool:
        """Take the first turn of a run, if it was promised to the thread that follows its bell; tell whether it was."""
        promise = self._promises.pop(run_id, None)
        if promise is None:
            return False
        try:
            if promise.run.names_itself and not promise.is_over:
                self._make_ready(promise.run)
            acquired = promise.wait()
        except BaseException:
            self._give_up(promise, promise.leave())
            raise
        if acquired is None:
            self._give_up(promise, None)
        else:
            self._turns.carriers.carry(self._turns.going_on(acquired))
        return True

    def _call(self, run: RunRow, acquired: Acquired | None = None) -> _Promise:
        """Call a thread for a run that is about to be stored, or is, and then `acquired`."""
        promise = _Promise(run, self._turns.expect(run.id))
        if acquired is not None:
            promise.keep(acquired)
        self._promises[run.id] = promise
        self._services.bells.ring([Ring(run_id=run.id, position=TURN, queue=run.queue, name=run.workflow)])
        return promise

    def _make_ready(self, run: RunRow) -> None:
        """Have its body stand at its first commands when the turn comes. What is wrong with it is told then."""
        interpreter: Interpreter | None = None
        try:
            interpreter = self._interpreters.fresh(run, 0)
            interpreter.feed(())
        except BaseException as error:
            if interpreter is not None:
                interpreter.close()
            if not isinstance(error, Exception):
                raise
        else:
            self._interpreters.put(run.id, interpreter)

    def _give_up(self, promise: _Promise, acquired: Acquired | None) -> None:
        """Nobody here begins it: let others."""
        run_id = promise.run.id
        promise.give_up()
        self._interpreters.drop(run_id)
        if acquired is None:
            return
        try:
            answer = give_back(self._services.committer.write, acquired)
        except StoreError as error:
            _logger.warning(
                "run %s could not be given back; its lease will lapse: %s", acquired.run.key, error
            )
        else:
            self._services.bells.ring(answer.rings if isinstance(answer, Committed) else ())
