"""What ties a running attempt to the store: its progress, the wish that it stop, its token for completion.

Used from the attempt's thread, from the event loop of an `async def` step, and from threads that a step starts. Asking
and reporting are cheap: the store is asked and written to now and then only, by a clock that never jumps.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

from qwit_durable.codec import check_size, decode, encode
from qwit_durable.engine.attempting.attempts import Work
from qwit_durable.engine.attempting.transactional import not_transactional
from qwit_durable.engine.ports import Services
from qwit_durable.errors import AttemptLost, MisuseError, StoreError
from qwit_durable.ids import idempotency_key
from qwit_durable.language.context import StepContext
from qwit_durable.language.current import Starter
from qwit_durable.observers.base import AttemptInfo
from qwit_durable.stores.tokens import TokenClaim
from qwit_durable.stores.transactions import Transaction

__all__ = ["Line", "Lifeline"]

_logger = logging.getLogger("qwit_durable.attempts")
_ASK_SECONDS = 0.2
_WRITE_SECONDS = 1.0


class Line(Protocol):
    """Where an attempt is recorded while it is under way."""

    def open(self) -> bool:
        """Let it be completed from outside; False if this worker has lost it."""
        ...

    def report(self, detail: bytes) -> bool:
        """Take down how far it has come; tell whether it is asked to stop."""
        ...


class Lifeline:
    """One attempt's side of it.

    Attributes:
        info: What observers are told of the attempt.
        token: The attempt's token, once it was asked for.
        unsent: What was reported and is not written yet.
    """

    # Of the class: most steps never ask for any of it.
    token: str | None = None
    unsent: bytes | None = None
    _asked_at: float | None = None
    _is_asked = False
    _written_at: float | None = None
    _context: StepContext | None = None

    def __init__(
        self,
        services: Services,
        info: AttemptInfo,
        work: Work,
        line: Line,
        transaction: Transaction,
        last: bytes | None = None,
    ) -> None:
        self._services = services
        self.info = info
        self._work = work
        self._line = line
        self._last = last
        self._transaction = transaction
        self._lock = threading.RLock()
        self._beat: Callable[[], None] = _no_beat

    @property
    def step(self) -> str:
        """The step's name."""
        return self.info.step

    @property
    def starter(self) -> Starter | None:
        """The `Durable` of this process."""
        return self._services.starter

    @property
    def context(self) -> StepContext:
        """What `current()` answers with in this attempt. Most steps never ask, so it is made when one does."""
        if self._context is None:
            self._context = self._as_context()
        return self._context

    def _as_context(self) -> StepContext:
        run, info = self.info.run, self.info
        return StepContext(
            run_id=run.key,
            step=info.step,
            attempt=info.attempt,
            idempotency_key=idempotency_key(run.id, info.generation, info.position),
            last_heartbeat=None if self._last is None else decode(self._last, Any),
            asked_to_stop=self.asked_to_stop,
            report=self.report,
            open=self.open,
            connect=self.connection,
        )

    def connection(self) -> Any:
        """The connection of a transactional step.

        Raises:
            MisuseError: It is none.
        """
        if not self._work.settings.transactional:
            raise not_transactional(self._work)
        return self._transaction.connection()

    def beats_on(self, beat: Callable[[], None]) -> None:
        """Tell the watchdog's attempt of every report."""
        self._beat = beat

    def asked_to_stop(self) -> bool:
        """Whether this attempt is asked to stop; once true, it stays true."""
        now = self._services.monotonic()
        with self._lock:
            is_known = self._is_asked or (self._asked_at is not None and now - self._asked_at < _ASK_SECONDS)
            if not is_known:
                self._is_asked = self._services.store.cancel_asked(self.info.run.id, self.info.position)
                self._asked_at = now
            return self._is_asked

    def report(self, detail: Any) -> None:
        """Take a report, and write it if the last one was written long enough ago."""
        what = f"the detail of heartbeat() in step {self.info.step!r}"
        data = encode(detail, Any, what)
        check_size(data, what, self._services.settings.limit_bytes)
        self._beat()
        if self._work.settings.transactional:
            return  # the next attempt begins anew, because this one's writes are rolled back
        now = self._services.monotonic()
        with self._lock:
            self.unsent = data
            if self._written_at is not None and now - self._written_at < self._interval:
                return
            try:
                self._is_asked = self._line.report(data) or self._is_asked
            except StoreError as error:
                _logger.warning("progress of step %r is not written yet: %s", self.info.step, error)
                return
            self.unsent, self._written_at, self._asked_at = None, now, now

    @property
    def _interval(self) -> float:
        heartbeat = self._work.settings.heartbeat
        if heartbeat is None:
            return _WRITE_SECONDS
        return min(_WRITE_SECONDS, heartbeat / timedelta(seconds=3))

    def open(self) -> str:
        """Let the attempt be completed from outside, and answer its token."""
        info = self.info
        if self._work.settings.transactional:
            msg = (
                f"step {info.step!r} is transactional and can't be left open: its value and its writes are one commit\n"
                f"  way out: call pending() in another step, after this one"
            )
            raise MisuseError(msg)
        with self._lock:
            if self.token is not None:
                return self.token
            claim = TokenClaim(
                run_id=info.run.id,
                generation=info.generation,
                position=info.position,
                attempt=info.attempt,
            )
            token = self._services.tokens.make(claim)
            if not self._line.open():
                msg = (
                    f"another worker has taken over attempt {info.attempt} of step {info.step!r}, or ended it"
                )
                raise AttemptLost(msg)
            self.token = token
            return token


def _no_beat() -> None:
    """Nobody watches."""
