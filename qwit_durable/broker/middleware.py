"""`Durable` as Dramatiq sees it: a middleware that opens with a worker and drains with it.

Messages are processed before `after_worker_boot` fires, so everything opens in `before_worker_boot`. Stopping begins in
`before_worker_shutdown`, which returns at once: each checkpoint from then on releases its run; bells owed by then are
rung in `after_worker_shutdown`, or they would come straight back. No per-message hook is used for anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dramatiq.middleware import Middleware, MiddlewareError

from qwit_durable.errors import DurableError

if TYPE_CHECKING:
    from dramatiq import Actor, Broker, Worker

__all__ = ["BootFailed", "DurableMiddleware"]


class BootFailed(MiddlewareError, DurableError):
    """A worker can't start. The message is one line that says what to do."""


class DurableMiddleware(Middleware):
    """Translates Dramatiq's hooks; `app.Durable` says what they mean."""

    def on_installed(self) -> None:
        """It was added to a broker."""
        raise NotImplementedError

    def on_broker(self, broker: Broker) -> None:
        """It has learnt of a broker that it sits on."""
        raise NotImplementedError

    def on_worker_starting(self, broker: Broker, worker: Worker) -> None:
        """A worker is about to start; raise `DurableError` to stop it."""
        raise NotImplementedError

    def on_worker_draining(self) -> None:
        """A worker is about to stop: return at once."""
        raise NotImplementedError

    def on_worker_stopped(self, broker: Broker, worker: Worker) -> None:
        """A worker has stopped; its broker is still open."""
        raise NotImplementedError

    @property
    def actor_options(self) -> set[str]:
        """None of our own. Dramatiq reads this when the middleware is added, the one moment at which it tells us."""
        self.on_installed()
        return set()

    def after_process_boot(self, broker: Broker) -> None:
        self.on_broker(broker)

    def after_declare_queue(self, broker: Broker, queue_name: str) -> None:
        self.on_broker(broker)

    def after_declare_actor(self, broker: Broker, actor: Actor[Any, Any]) -> None:
        self.on_broker(broker)

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        try:
            self.on_worker_starting(broker, worker)
        except DurableError as error:
            raise BootFailed(str(error)) from None

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        self.on_worker_draining()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        self.on_worker_stopped(broker, worker)
