"""Bells and acknowledgements of bells on their way to Redis: what has gathered goes in one round trip.

A round trip costs a busy process far more than what is said in it: each gives up the interpreter's lock twice, and the
other threads want it. A bell may be late by a moment or be lost, and a bell that is not acknowledged comes again, which
changes nothing. So a bell that is rung while another thread is sending goes with what that thread sends next, and what
acknowledges a bell waits for the next one to be rung, or until the process has nothing better to do. Messages of the
user's own are sent and acknowledged as ever.

The commands are Dramatiq's, made by its own broker, and only sent together. Where a broker makes them in another way,
there is no wire, and each goes by itself.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from dramatiq import Broker

__all__ = ["Wire"]

_logger = logging.getLogger("qwit_durable.bells")

#: So many acknowledgements wait at most.
_MOST = 16


@attrs.frozen
class _Call:
    """A call of Dramatiq's script."""

    keys: Sequence[Any]
    args: Sequence[Any]
    is_bell: bool


class _Noting:
    """Stands in for a broker while a command is made: takes it down, where the broker would send it."""

    def __init__(self, broker: Any, note: Callable[[_Call], None], *, is_bell: bool) -> None:
        self._broker = broker

        def noted(*, keys: Sequence[Any], args: Sequence[Any]) -> None:
            note(_Call(keys, args, is_bell))

        self.scripts = {"dispatch": noted}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)


def _packed(sha: str, call: _Call) -> bytes:
    """The call as the server reads it."""
    parts = ["EVALSHA", sha, len(call.keys), *call.keys, *call.args]
    told = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    return b"*%d\r\n%b" % (len(told), b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in told]))


class Wire:
    """What is on its way from one broker object of this process. Safe to use from any thread.

    Attributes:
        failures: How often nothing could be sent.
    """

    def __init__(self, broker: Any, dispatch: Callable[[Any, str], Callable[..., Any]]) -> None:
        self._broker = broker
        self._waiting: deque[_Call] = deque()
        self._sending = threading.Lock()
        self.failures = 0
        self._thread = threading.local()
        self._enqueue_later = dispatch(_Noting(broker, self._waiting.append, is_bell=True), "enqueue")
        self._ack_later = dispatch(_Noting(broker, self._waiting.append, is_bell=False), "ack")
        self._enqueue_now: Callable[..., Any] = broker.do_enqueue
        self._ack_now: Callable[..., Any] = broker.do_ack
        self._instead: dict[str, Any] = {"do_enqueue": self._enqueue, "do_ack": self._ack}
        for name, method in self._instead.items():
            vars(broker)[name] = method

    @classmethod
    def of(cls, broker: Broker) -> Wire | None:
        """The wire of a Redis broker that works as Dramatiq's own does; None for any other."""
        module: Any = sys.modules.get("dramatiq.brokers.redis")
        if module is None or not isinstance(broker, module.RedisBroker):
            return None
        dispatch: Any = getattr(module.RedisBroker, "_dispatch", None)
        scripts: Any = getattr(broker, "scripts", {})
        if dispatch is None or not hasattr(scripts.get("dispatch"), "sha"):
            return None
        return cls(broker, dispatch)

    def _enqueue(self, *args: Any) -> Any:
        return self._enqueue_later(*args) if self._gathers else self._enqueue_now(*args)

    def _ack(self, *args: Any) -> Any:
        return self._ack_later(*args) if self._gathers else self._ack_now(*args)

    @property
    def _gathers(self) -> bool:
        return getattr(self._thread, "gathers", False)

    @contextmanager
    def gathered(self, *, may_wait: bool = False) -> Generator[None]:
        """Gather what this thread enqueues and acknowledges within, and send it at the end unless it may wait."""
        self._thread.gathers = True
        try:
            yield
        finally:
            self._thread.gathers = False
            if not may_wait or len(self._waiting) >= _MOST:
                self.flush()

    def flush(self) -> None:
        """Send what waits, unless a thread is sending, which looks again when it has done so."""
        while self._waiting and self._sending.acquire(blocking=False):
            calls = [self._waiting.popleft() for _ in range(len(self._waiting))]
            try:
                if calls:
                    self._send(calls)
            except Exception as error:  # noqa: BLE001 - whatever the client raises
                self.failures += 1
                bells = sum(call.is_bell for call in calls)
                _logger.warning(
                    "bells that could not be sent, so that the sweeper will ring: %d; %s", bells, error
                )
                # The others are said again with what is sent next.
                self._waiting.extend(call for call in calls if not call.is_bell)
                return
            finally:
                self._sending.release()

    def _send(self, calls: Sequence[_Call]) -> None:
        from redis.exceptions import NoScriptError  # its broker has done so already

        script = self._broker.scripts["dispatch"]
        answers = self._ask(script.sha, calls)
        if answers is None:
            pipeline = self._broker.client.pipeline(transaction=False)
            for call in calls:
                pipeline.evalsha(script.sha, len(call.keys), *call.keys, *call.args)
            answers = pipeline.execute(raise_on_error=False)
        for call, answer in zip(calls, answers, strict=True):
            if isinstance(answer, NoScriptError):
                script(keys=call.keys, args=call.args)
            elif isinstance(answer, Exception):
                what = "a bell could not be sent" if call.is_bell else "a bell was not acknowledged"
                _logger.warning("%s, the sweeper will ring: %s", what, answer)

    def _ask(self, sha: str, calls: Sequence[_Call]) -> Sequence[Any] | None:
        """Say and hear it on a connection of the client's pool, at half of what a pipeline costs.

        None if it has none, or if that one is lost, which a pipeline knows how to mend.
        """
        from redis.exceptions import RedisError, ResponseError

        client: Any = self._broker.client
        pool: Any = getattr(client, "connection_pool", None)
        if pool is None or getattr(client, "connection", None) is not None:  # a client of one connection
            return None
        try:
            connection = pool.get_connection()
        except TypeError:  # before redis-py 5.3
            connection = pool.get_connection("EVALSHA")
        answers: list[Any] = []
        try:
            connection.send_packed_command([b"".join([_packed(sha, call) for call in calls])])
            for _ in calls:
                try:
                    answers.append(connection.read_response())
                except ResponseError as error:
                    answers.append(error)
        except BaseException as error:
            # What was not read is not to be taken for the answer to the next one.
            connection.disconnect()
            if isinstance(error, RedisError):
                return None
            raise
        finally:
            pool.release(connection)
        return answers

    def close(self) -> None:
        """Send what waits; from now on each command goes by itself."""
        self.flush()
        for name in self._instead:
            self._broker.__dict__.pop(name, None)
