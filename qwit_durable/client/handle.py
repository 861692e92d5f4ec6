"""`Handle`: one run, seen from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from uuid import UUID

from qwit_durable import codec
from qwit_durable.client.access import Access
from qwit_durable.client.explain import Explanation, explain
from qwit_durable.client.history import History, history
from qwit_durable.clock import monotonic
from qwit_durable.core import VERBS, CancelRequested, OperatorActed, SignalReceived, Status, Verb
from qwit_durable.errors import (
    OperationRefused,
    RunNotFound,
    RunStuck,
    UnknownName,
    WorkflowCancelled,
    WorkflowFailed,
    WorkflowTerminated,
)
from qwit_durable.stores.answers import Accepted, Refused
from qwit_durable.stores.kernel.waking import RING_GRACE
from qwit_durable.stores.reasons import read_reason
from qwit_durable.stores.rows import OutcomeRow, RunView
from qwit_durable.stores.writes import Deliver

if TYPE_CHECKING:
    from qwit_durable.client.runs import Run

__all__ = ["Handle", "verbs_text"]

R = TypeVar("R")
_FIRST_POLL_SECONDS = 0.005
_LAST_POLL_SECONDS = 0.25
_TREE_POLL_SECONDS = 0.5


class Handle(Generic[R]):
    """One run: wait for it, talk to it, look at it.

    A handle holds no resources and no state of the run: every call asks the store.
    """

    def __init__(self, access: Access, run_id: UUID, key: str) -> None:
        self._access = access
        self._run_id = run_id
        self.id = key

    def __repr__(self) -> str:
        return f"<Handle of run {self.id}>"

    # -- waiting -----------------------------------------------------------------------------------------------

    def result(self, timeout: timedelta | float | None = None) -> R:
        """Wait for the run to end and return its value.

        Args:
            timeout: How long to wait at most, as a timedelta or in seconds; None waits for ever.

        Raises:
            WorkflowFailed: The run failed; `cause` says why and `undone` what was undone.
            WorkflowCancelled: It was cancelled.
            WorkflowTerminated: It was terminated.
            RunStuck: It, or a sub-workflow it waits for, needs a person: see `explain()`.
            TimeoutError: It has not ended in time. It goes on all the same.
            StoreUnavailable: The store can't be reached now. The run is safe in it.
            RunNotFound: It is not in the store any more.

        >>> checkout.start(order).result(timeout=timedelta(seconds=5))
        'shipped'
        """
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        until = None if seconds is None else monotonic() + seconds
        pause, look_at_tree = _FIRST_POLL_SECONDS, monotonic() + _TREE_POLL_SECONDS
        while True:
            seen = self._access.endings.count
            now = monotonic()
            look_below = now >= look_at_tree
            if look_below:
                look_at_tree = now + _TREE_POLL_SECONDS
            if (ended := self._ended(look_below=look_below)) is not None:
                return ended[0]
            if until is not None and now >= until:
                msg = (
                    f"run {self.id} has not ended after {seconds:g} s and goes on; "
                    "explain() says what it waits for"
                )
                raise TimeoutError(msg)
            self._access.endings.wait(seen, pause if until is None else max(min(pause, until - now), 0))
            pause = min(pause * 1.5, _LAST_POLL_SECONDS)

    def __await__(self) -> Generator[Any, None, R]:
        """Wait for the run in asyncio code, without blocking the loop; cancelling the wait leaves nothing behind."""
        return self._wait().__await__()

    async def _wait(self) -> R:
        pause, look_at_tree = _FIRST_POLL_SECONDS, monotonic() + _TREE_POLL_SECONDS
        while True:
            look_below = monotonic() >= look_at_tree
            if look_below:
                look_at_tree = monotonic() + _TREE_POLL_SECONDS
            if (ended := await asyncio.to_thread(self._ended, look_below=look_below)) is not None:
                return ended[0]
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LAST_POLL_SECONDS)

    def _ended(self, *, look_below: bool) -> tuple[R] | None:
        """The run's value if it has one, None while it is open; raises what else it ended with."""
        view = self._view()
        if view.outcome is not None:
            return (self._value(view, view.outcome),)
        stuck = view if view.status is Status.STUCK else self._stuck_below(view) if look_below else None
        if stuck is not None:
            raise self._stuck(view, stuck)
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

    # -- looking -----------------------------------------------------------------------------------------------

    def _view(self) -> RunView:
        view = self._access.reader.view(self._run_id)
        if view is None:
            msg = f"run {self.id} is not in the store (namespace {self._access.namespace!r}); it may have been pruned"
            raise RunNotFound(msg)
        return view

    def status(self) -> Status:
        """Where the run stands now."""
        return self._view().status

    def run(self) -> Run:
        """The run's record: workflow, status, attributes, times."""
        from qwit_durable.client.runs import Run

        return Run.of(self._view())

    def explain(self) -> Explanation:
        """Why the run stands where it stands: what it waits for, since when, until when, and the ways out."""
        return explain(self._access, self._view())

    def history(self) -> History:
        """What is recorded about the run, in order."""
        return history(self._access, self._view())

    # -- talking -----------------------------------------------------------------------------------------------

    def signal(self, name: str, value: object = None, *, dedupe_id: str | None = None) -> None:
        """Send the run a signal. It is kept in order until `wait_signal(name)` takes it.

        Args:
            name: Which `wait_signal` it is for.
            value: Anything that can be stored.
            dedupe_id: A second signal with this id changes nothing.

        Raises:
            EncodingError: The value can't be stored. Nothing was sent.
            OperationRefused: The run has ended.
            RunNotFound: There is no such run.
        """
        _check_signal_name(name)
        where = f"the value of signal {name!r}"
        data = codec.encode(value, _annotation_of(value), where)
        codec.check_size(data, where, self._access.limit_bytes)
        self._deliver(Verb.SIGNAL, SignalReceived(name=name, value=data, dedupe_id=dedupe_id))

    def cancel(self, reason: str = "", *, compensate: bool = True) -> None:
        """Ask the run to stop at its next `yield` and, unless `compensate` is False, to undo what it did.

        An attempt under way is asked to stop, never killed; if it completes, it is undone with the rest. Cancelling
        twice, or while the run unwinds, changes nothing.

        Raises:
            OperationRefused: The run has ended otherwise.
        """
        self._deliver(Verb.CANCEL, CancelRequested(reason=reason, compensate=compensate))

    def terminate(self, reason: str = "") -> None:
        """Stop the run and its sub-workflows where they stand. Nothing is undone."""
        self._deliver(Verb.TERMINATE, OperatorActed(verb=Verb.TERMINATE, reason=reason))

    def pause(self, reason: str = "") -> None:
        """Let the run stand still from its next checkpoint on, until `resume`."""
        self._deliver(Verb.PAUSE, OperatorActed(verb=Verb.PAUSE, reason=reason))

    def resume(self) -> None:
        """Let a paused run go on."""
        self._deliver(Verb.RESUME, OperatorActed(verb=Verb.RESUME))

    def retry(self, reason: str = "") -> None:
        """Let a stuck run try again: the undo that gave up, or the body after a fixed deploy."""
        self._deliver(Verb.RETRY, OperatorActed(verb=Verb.RETRY, reason=reason))

    def skip(self, value: object = None, *, reason: str = "") -> None:
        """Take what a run is stuck over as done by hand, and go on."""
        data = codec.encode(value, _annotation_of(value), "the value of skip()")
        self._deliver(Verb.SKIP, OperatorActed(verb=Verb.SKIP, reason=reason, value=data))

    def _deliver(self, verb: Verb, event: SignalReceived | CancelRequested | OperatorActed) -> None:
        answer = self._access.write(self._delivery(verb, event))
        match answer:
            case Accepted(rings=rings):
                self._access.ring(rings)
            case Refused(reason="missing"):
                msg = f"run {self.id} is not in the store (namespace {self._access.namespace!r})"
                raise RunNotFound(msg)
            case Refused(status=status):
                msg = f"run {self.id} is {status}: it can't be asked to {verb}\n  possible now: {verbs_text(status)}"
                raise OperationRefused(msg)
            case _:
                msg = f"the store answered {answer!r} to {verb}"
                raise AssertionError(msg)

    def _delivery(self, verb: Verb, event: SignalReceived | CancelRequested | OperatorActed) -> Deliver:
        ring_after = RING_GRACE if self._access.can_ring else timedelta(0)
        return Deliver(run_id=self._target(verb), event=event, ring_after=ring_after)

    def _target(self, verb: Verb) -> UUID:
        """Retry and skip go to the sub-workflow that is stuck, if this run only waits for it."""
        if verb not in {Verb.RETRY, Verb.SKIP}:
            return self._run_id
        view = self._view()
        if view.status is Status.STUCK or view.outcome is not None:
            return self._run_id
        stuck = self._stuck_below(view)
        return stuck.run.id if stuck is not None else self._run_id


def _check_signal_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        msg = f"signal: the name is a non-empty text, got {name!r}"
        raise TypeError(msg)


def _annotation_of(value: object) -> Any:
    native = (str, int, float, bool, list, dict, tuple, type(None))
    return Any if isinstance(value, native) else type(value)


def verbs_text(status: Status | None) -> str:
    """The verbs that a status allows, for messages."""
    possible = [verb.value for verb, statuses in VERBS.items() if status in statuses]
    return ", ".join(possible) or "nothing, it has ended"
