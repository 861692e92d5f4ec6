"""How a handle waits for its run: asking the store again and again, told of ends in this process at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

from qwit_durable import codec
from qwit_durable.client.access import Access
from qwit_durable.client.patience import PATIENCE, Patience
from qwit_durable.clock import monotonic
from qwit_durable.core import Status
from qwit_durable.errors import (
    RunNotFound,
    RunStuck,
    UnknownName,
    WorkflowCancelled,
    WorkflowFailed,
    WorkflowTerminated,
)
from qwit_durable.stores.reasons import read_reason
from qwit_durable.stores.rows import OutcomeRow, RunView

__all__ = ["Waiting", "tell_loop"]

R = TypeVar("R")
_FIRST_POLL_SECONDS = 0.005
_LAST_POLL_SECONDS = 0.25
_TREE_POLL_SECONDS = 0.5


def tell_loop(loop: asyncio.AbstractEventLoop, told: asyncio.Event) -> None:
    """Set an event of a loop from another thread; a loop that is closed waits for nothing."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(told.set)


class Waiting(Generic[R]):
    """The part of a handle that waits."""

    def __init__(self, access: Access, run_id: UUID, key: str) -> None:
        self._access = access
        self._run_id = run_id
        self.id = key

    def result(self, timeout: timedelta | float | None = None) -> R:
        """Wait for the run to end and return its value.

        A store that is out of reach meanwhile is asked again and again.

        Args:
            timeout: How long to wait at most, as a timedelta or in seconds, outages of the store included. None waits
                for ever, through outages of up to 5 minutes each.

        Raises:
            WorkflowFailed: The run failed; `cause` says why and `undone` what was undone.
            WorkflowCancelled: It was cancelled.
            WorkflowTerminated: It was terminated.
            RunStuck: It, or a sub-workflow it waits for, needs a person: see `explain()`.
            TimeoutError: It has not ended in time. It goes on all the same.
            StoreUnavailable: The store was out of reach when the timeout ended, or for too long. The run is safe in it.
            RunNotFound: It is not in the store any more.

        >>> checkout.start(order).result(timeout=timedelta(seconds=5))
        'shipped'
        """
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        until = None if seconds is None else monotonic() + seconds
        patience = Patience(self.id, PATIENCE if until is None else None)
        pause, look_at_tree = _FIRST_POLL_SECONDS, monotonic() + _TREE_POLL_SECONDS
        told = threading.Event()
        with self._access.endings.watch(self._run_id, told.set):
            while True:
                now = monotonic()
                look_below = now >= look_at_tree
                if look_below:
                    look_at_tree = now + _TREE_POLL_SECONDS
                question = partial(self._ended, look_below=look_below, is_bounded=until is not None)
                if (ended := patience.ask(question)) is not None:
                    return ended[0]
                if until is not None and now >= until:
                    patience.give_up()
                    msg = (
                        f"run {self.id} has not ended after {seconds:g} s and goes on; "
                        "explain() says what it waits for"
                    )
                    raise TimeoutError(msg)
                told.wait(pause if until is None else max(min(pause, until - now), 0))
                told.clear()
                pause = min(pause * 1.5, _LAST_POLL_SECONDS)

    def __await__(self) -> Generator[Any, None, R]:
        """Wait for the run in asyncio code, without blocking the loop; cancelling the wait leaves nothing behind.

        It raises what `result()` without a timeout does; `asyncio.timeout(...)` around it bounds the wait.

        >>> async def order_page(order: Order) -> str:
        ...     return await checkout.start(order)
        """
        return self._wait().__await__()

    async def _wait(self) -> R:
        patience = Patience(self.id, PATIENCE)
        pause, look_at_tree = _FIRST_POLL_SECONDS, monotonic() + _TREE_POLL_SECONDS
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        with self._access.endings.watch(self._run_id, partial(tell_loop, loop, told)):
            while True:
                look_below = monotonic() >= look_at_tree
                if look_below:
                    look_at_tree = monotonic() + _TREE_POLL_SECONDS
                question = partial(self._ended, look_below=look_below)
                if (ended := await asyncio.to_thread(patience.ask, question)) is not None:
                    return ended[0]
                with suppress(TimeoutError):
                    await asyncio.wait_for(told.wait(), pause)
                told.clear()
                pause = min(pause * 1.5, _LAST_POLL_SECONDS)

    def _ended(self, *, look_below: bool, is_bounded: bool = True) -> tuple[R] | None:
        """The run's value if it has one, None while it is open; raises what else it ended with.

        `is_bounded` is how long it is waited for.
        """
        view = self._view()
        if view.outcome is not None:
            return (self._value(view, view.outcome),)
        stuck = view if view.status is Status.STUCK else self._stuck_below(view) if look_below else None
        if stuck is not None:
            raise self._stuck(view, stuck)
        if not is_bounded:
            self._access.endings.refuse_to_wait()
        return None

    def _value(self, view: RunView, outcome: OutcomeRow) -> R:
        if outcome.status is Status.COMPLETED:
            data = outcome.value or b"null"
            try:
                definition = self._access.registry.workflow(view.run.workflow)
            except UnknownName:
                return cast("R", codec.decode(data, Any))
            return cast("R", definition.decode_result(data))
        kinds = {Status.CANCELLED: WorkflowCancelled, Status.TERMINATED: WorkflowTerminated}
        kind = kinds.get(outcome.status, WorkflowFailed)
        raise kind(self.id, view.run.workflow, outcome.failure, outcome.undone)

    def _stuck(self, view: RunView, stuck: RunView) -> RunStuck:
        reason = read_reason(stuck.live.reason if stuck.live else None)
        error = RunStuck(self.id, view.run.workflow, None)
        below = f"its sub-workflow {stuck.run.workflow!r} ({stuck.run.key}): " if stuck is not view else ""
        error.reason = below + (reason.text if reason else "see explain()")
        return error

    def _stuck_below(self, view: RunView) -> RunView | None:
        for child in self._access.reader.children(view.run.id):
            if child.outcome is None:
                if child.status is Status.STUCK:
                    return child
                if (found := self._stuck_below(child)) is not None:
                    return found
        return None

    def _view(self) -> RunView:
        view = self._access.reader.view(self._run_id)
        if view is None:
            msg = (
                f"run {self.id} is not in the store (namespace {self._access.namespace!r}); it may have been pruned, "
                "or the transaction it was started in has not committed"
            )
            raise RunNotFound(msg)
        return view
