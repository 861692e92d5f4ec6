"""The engine of one process: turns, attempts, and the threads that keep them going."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from uuid import UUID

from qwit_durable.engine.attempting.attempts import Attempts
from qwit_durable.engine.attempting.queued import QueuedAttempts
from qwit_durable.engine.attempting.watchdog import Watchdog
from qwit_durable.engine.carrying.pace import Pace
from qwit_durable.engine.drain import DrainableBells
from qwit_durable.engine.ports import Services
from qwit_durable.engine.rounds import Round
from qwit_durable.engine.starts import Starts
from qwit_durable.engine.suspects import Suspects
from qwit_durable.engine.tending.heart import Heart
from qwit_durable.engine.tending.mending import Mending
from qwit_durable.engine.tending.retention import Keeper
from qwit_durable.engine.tending.sweep import Sweeper, plenty
from qwit_durable.engine.turning.foresight import Foresight
from qwit_durable.engine.turning.interpreters import Interpreters
from qwit_durable.engine.turning.programs import Programs
from qwit_durable.engine.turning.turns import Turns
from qwit_durable.errors import StoreError
from qwit_durable.stores.answers import Rings
from qwit_durable.stores.processes import process_started
from qwit_durable.stores.rows import TURN, Ring, WorkerRow
from qwit_durable.stores.writes import Retire

__all__ = ["Engine"]

_logger = logging.getLogger("qwit_durable.engine")

#: Ten minutes, which is what Dramatiq gives its threads unless it is told otherwise.
_PATIENCE_SECONDS = 600.0


class Engine:
    """Carries runs on in this process, between `start` and `stop`.

    `take_turn` and `make_attempt` are what bells ask for; they may be called without `start`, by tests that ring
    themselves.
    """

    def __init__(
        self,
        services: Services,
        *,
        queues: tuple[str, ...] = (),
        rings_locally: bool = False,
        room: Callable[[], int] = plenty,
        idle: Callable[[], int] = lambda: 1,
        pace: Pace | None = None,
    ) -> None:
        self._rings_locally = rings_locally
        self._bells = DrainableBells(services.bells, services.draining)
        services.bells = self._bells
        self.services = services
        # Apart from that of the attempts: ringing may take long, and timeouts are not to wait for it.
        self._rounds = Watchdog("qwit-rounds")
        self._suspects = suspects = Suspects(services.bells.ring, self._rounds.watch)
        self._attempts = Attempts(services)
        settings = services.settings
        programs = Programs(services.registry, settings.limit_bytes)
        self._interpreters = interpreters = Interpreters(programs, settings.cached_runs)
        self.turns = Turns(services, self._attempts, interpreters, pace or Pace(), suspects)
        suspects.join = lambda pieces: not services.draining.is_set() and self.turns.carriers.join(pieces)
        self.starts = Starts(services, self.turns, interpreters, idle if rings_locally else lambda: 0)
        foresight = Foresight(services, interpreters)
        self.queued = QueuedAttempts(
            services, self._attempts, self.turns, foresight, suspects, self._rounds.watch
        )
        self.heart = Heart(services, _worker_row(services, queues))
        self.sweeper = Sweeper(
            services,
            leads=lambda: self.heart.leads,
            mending=Mending(services, runs=lambda: self.turns.holding, tasks=lambda: self.queued.making),
            rings_locally=rings_locally,
            room=room,
        )
        services.timer_set = self.sweeper.timer_set
        kept = settings.retention
        self.keeper = None if kept is None else Keeper(services, kept)

    def start(self) -> None:
        """Beat and sweep from now on.

        Raises:
            StoreError: The store can't be reached.
        """
        self.services.draining.clear()
        self.heart.start()
        self.services.may_take_over = self.heart.may_take_over
        self.sweeper.first()
        self.sweeper.start()
        if self.keeper is not None:
            self.keeper.start()

    def drain(self) -> None:
        """Let go of each run at its next checkpoint; begin nothing new."""
        self.services.draining.set()

    def stop(self, *, waits: bool = True) -> None:
        """End the threads and give back what this process still holds.

        Args:
            waits: For threads that this engine has added, as long as Dramatiq waits for its own. False where that has
                been in vain.
        """
        self.drain()
        if self.keeper is not None:
            self.keeper.stop()
        self.sweeper.stop()
        # Until then it beats, and ends attempts at their timeouts.
        self.turns.carriers.stop(_PATIENCE_SECONDS if waits else 0)
        self.heart.stop()
        self._attempts.stop()
        self._rounds.stop()
        self._suspects.give_up()
        self._interpreters.clear()
        unheard = self._bells.take_unheard() if self._rings_locally else None
        try:
            answer = self.services.committer.write(Retire(worker=self.services.worker, unheard=unheard))
        except StoreError as error:
            _logger.warning("this worker could not give back what it holds; its lease will lapse: %s", error)
            answer = None
        self._bells.ring_owed(answer.rings if isinstance(answer, Rings) else ())

    def take_turn(self, run_id: UUID) -> None:
        """A bell: look at a run. Never raises; the row and the sweeper bring back what goes wrong here.

        A draining process begins nothing: the run's turn stays owed, and others are rung for.
        """
        if self.services.draining.is_set():
            self._bells.miss(run_id, TURN)
            return
        if not self.starts.begin(run_id):
            self.turns.carriers.carry(self.turns.turns_of(run_id))

    def take_turns(self, rings: Sequence[Ring]) -> None:
        """A bell for many runs: look at one after another. Never raises.

        What is not begun soon, or before this process drains, is rung for again.
        """
        with self._round(rings) as round_:
            if not self.services.draining.is_set():
                round_.done(self.turns.glances.carry_on([ring.run_id for ring in rings]))
            while not self.services.draining.is_set() and (ring := round_.next()) is not None:
                self.take_turn(ring.run_id)

    def make_attempt(self, run_id: UUID, position: str, name: str) -> None:
        """A bell: make an attempt of a queued step. Never raises."""
        if self.services.draining.is_set():
            self._bells.miss(run_id, position)
            return
        self.queued.make(run_id, position, name)

    def make_attempts(self, rings: Sequence[Ring]) -> None:
        """A bell for queued steps of one name: make an attempt of each. Never raises.

        Those that are quick are carried together; of others, one comes after the other, and what is not begun soon is
        rung for again.
        """
        tasks = [(ring.run_id, ring.position) for ring in rings]
        if self.services.draining.is_set():
            for task in tasks:
                self._bells.miss(*task)
            return
        name = rings[0].name
        if len(tasks) == 1 or self.turns.carriers.is_quick(name):
            self.queued.carry(tasks, name)
            return
        with self._round(rings) as round_:
            while not self.services.draining.is_set() and (ring := round_.next()) is not None:
                self.queued.carry([(ring.run_id, ring.position)], name)

    @contextmanager
    def _round(self, rings: Sequence[Ring]) -> Generator[Round]:
        """What is not begun soon, or before the block ends, is rung for again."""
        round_ = Round(rings, partial(self.services.bells.ring, spread=2))
        self._rounds.watch(round_)
        try:
            yield round_
        finally:
            round_.give_up()


def _worker_row(services: Services, queues: tuple[str, ...]) -> WorkerRow:
    now = services.clock.now()
    pid = os.getpid()
    return WorkerRow(
        id=services.worker,
        host=socket.gethostname(),
        pid=pid,
        process_started=process_started(pid) or 0.0,
        started_at=now,
        beat_at=now,
        expires_at=now,
        queues=queues,
    )
