"""Waiting for a store that is out of reach for a while: a restart of it is no reason to give up a run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from qwit_durable.clock import monotonic
from qwit_durable.errors import StoreUnavailable

__all__ = ["PATIENCE", "Patience"]

T = TypeVar("T")

_logger = logging.getLogger("qwit_durable.client")

#: How long a store may be out of reach before a wait without a timeout gives up: a failover takes a minute or two.
PATIENCE = timedelta(minutes=5)


class Patience:
    """Asks the store again and again about one run.

    Attributes:
        since: When the outage began, by the monotonic clock; None while the store answers.
    """

    def __init__(self, run: str, limit: timedelta | None) -> None:
        self._run = run
        self._limit = limit
        self.since: float | None = None
        self._last: StoreUnavailable | None = None

    def ask(self, question: Callable[[], T | None]) -> T | None:
        """The answer, or None too while the store is out of reach.

        Raises:
            StoreUnavailable: It has been for longer than the limit.
        """
        begun = monotonic()
        try:
            answer = question()
        except StoreUnavailable as error:
            if self.since is None:
                self.since = begun
                _logger.warning(
                    "run %s is waited for on, although the store can't be reached: %s", self._run, error
                )
            self._last = error
            if self._limit is not None and monotonic() - self.since >= self._limit.total_seconds():
                self.give_up()
            return None
        self.since = None
        return answer

    def give_up(self) -> None:
        """Say that the wait ended in an outage; nothing if there is none.

        Raises:
            StoreUnavailable: There is one.
        """
        if self.since is None:
            return
        gone = monotonic() - self.since
        msg = (
            f"run {self._run} was waited for, and the store has been out of reach for {gone:.1f} s: {self._last}\n"
            f"  the run is safe in it; way out: bring the store back, then wait again: get({self._run!r}).result()"
        )
        raise StoreUnavailable(msg) from self._last
