"""`Durable` as Dramatiq sees it: a middleware that opens with a worker and drains with it.

Messages are processed before `after_worker_boot` fires, so everything opens in `before_worker_boot`. Stopping begins in
`before_worker_shutdown`, which returns at once: each checkpoint from then on releases its run; bells owed by then are
rung in `after_worker_shutdown`, or they would come straight back. No per-message hook is used for anything.

A worker that can't open must not run: Dramatiq logs most errors of a hook and goes on, and bells would be consumed by a
process that can't follow them. Under the `dramatiq` command a known cause is one line in the log and exit code 1; a
program that starts its own `Worker` gets `BootFailed` instead.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from dramatiq.middleware import Middleware, MiddlewareError

from qwit_durable.errors import DurableError

if TYPE_CHECKING:
    from dramatiq import Actor, Broker, Worker

__all__ = ["BootFailed", "DurableMiddleware"]

_logger = logging.getLogger("qwit_durable.boot")


class BootFailed(MiddlewareError, DurableError):
    """A worker can't start. The message is one line that says what to do."""


class DurableMiddleware(Middleware, ABC):
    """Translates Dramatiq's hooks; `app.Durable` says what they mean."""

    _is_command: ClassVar[bool] = False

    @abstractmethod
    def on_installed(self) -> None:
        """It was added to a broker."""

    @abstractmethod
    def on_broker(self, broker: Broker) -> None:
        """It has learnt of a broker that it sits on."""

    @abstractmethod
    def on_worker_starting(self, broker: Broker, worker: Worker) -> None:
        """A worker is about to start; raise `DurableError` to stop it."""

    @abstractmethod
    def on_worker_draining(self) -> None:
        """A worker is about to stop: return at once."""

    @abstractmethod
    def on_worker_stopped(self, broker: Broker, worker: Worker) -> None:
        """A worker has stopped; its broker is still open."""

    @property
    def actor_options(self) -> set[str]:
        """None of our own. Dramatiq reads this when the middleware is added, the one moment at which it tells us."""
        self.on_installed()
        return set()

    def after_process_boot(self, broker: Broker) -> None:
        # Only the `dramatiq` command boots processes.
        DurableMiddleware._is_command = True
        self.on_broker(broker)

    def after_declare_queue(self, broker: Broker, queue_name: str) -> None:  # noqa: ARG002 - Dramatiq's signature
        self.on_broker(broker)

    def after_declare_actor(self, broker: Broker, actor: Actor[Any, Any]) -> None:  # noqa: ARG002 - as above
        self.on_broker(broker)

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        try:
            self.on_worker_starting(broker, worker)
        except DurableError as error:
            if not self._is_command:
                raise BootFailed(str(error)) from error
            _logger.critical("this worker can't start: %s", error)
            raise SystemExit(1) from None
        except Exception as error:
            msg = f"this worker can't start: {type(error).__name__}: {error}"
            raise BootFailed(msg) from error

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002 - as above
        self.on_worker_draining()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        self.on_worker_stopped(broker, worker)
