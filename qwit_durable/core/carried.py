"""The options of one call as plain data: what a plan of undos carries until the call is made."""

from __future__ import annotations

from datetime import timedelta

import attrs

from qwit_durable.core.commands import Dispatch, Settings
from qwit_durable.core.retry import RecordedRetry, Retry

__all__ = ["Carried"]


@attrs.frozen(kw_only=True)
class Carried:
    """As `Settings`, with the retry as it is recorded: classes by name."""

    retry: RecordedRetry
    queue: str | None = None
    priority: int | None = None
    timeout: timedelta | None = None
    deadline: timedelta | None = None
    heartbeat: timedelta | None = None
    dispatch: Dispatch | None = None
    transactional: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Carried:
        """What is carried of these settings: everything."""
        return cls(
            retry=settings.retry.recorded(),
            queue=settings.queue,
            priority=settings.priority,
            timeout=settings.timeout,
            deadline=settings.deadline,
            heartbeat=settings.heartbeat,
            dispatch=settings.dispatch,
            transactional=settings.transactional,
        )

    @property
    def settings(self) -> Settings:
        """The settings again, without loading a class."""
        return Settings(
            retry=Retry.of_recorded(self.retry, None),
            queue=self.queue,
            priority=self.priority,
            timeout=self.timeout,
            deadline=self.deadline,
            heartbeat=self.heartbeat,
            dispatch=self.dispatch,
            transactional=self.transactional,
        )
