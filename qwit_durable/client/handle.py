"""`Handle`: one run, seen from outside."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from qwit_durable import codec
from qwit_durable.client.explaining import Explanation, explain
from qwit_durable.client.history import History, history
from qwit_durable.client.published import Published
from qwit_durable.client.terminated import tell_terminated
from qwit_durable.client.waiting import Waiting
from qwit_durable.core import VERBS, CancelRequested, OperatorActed, SignalReceived, Status, Verb
from qwit_durable.errors import OperationRefused, RunNotFound
from qwit_durable.language.options import check_reason
from qwit_durable.stores.answers import Accepted, Refused, Rings
from qwit_durable.stores.kernel.lanes import START_TIMER
from qwit_durable.stores.kernel.waking import RING_GRACE, ring_for
from qwit_durable.stores.rows import TURN
from qwit_durable.stores.writes import Deliver, FireTimers

if TYPE_CHECKING:
    from qwit_durable.client.runs import Run

__all__ = ["Handle", "verbs_text"]

R = TypeVar("R")


class Handle(Waiting[R]):
    """One run: wait for it, talk to it, look at it.

    A handle holds no resources and no state of the run: every call asks the store.

    >>> handle = approval.options(id="order-17").start(order)
    >>> handle.signal("approved", Approval("Ann"))
    >>> handle.result()
    'approved by Ann'
    """

    def __repr__(self) -> str:
        return f"<Handle of run {self.id}>"

    _announce: Callable[[], None] | None = None

    # -- looking -----------------------------------------------------------------------------------------------

    def status(self) -> Status:
        """Where the run itself stands now.

        One that waits for a sub-workflow which is stuck reads `running`, or `compensating` while it undoes that one:
        nothing is wrong with the run itself. `explain()` goes down the tree and says what needs a person
        (`explain().stuck`), `result()` raises `RunStuck`, and `durable.runs(status="stuck")` lists the sub-workflow.

        >>> approval.start(order).status()
        <Status.RUNNING: 'running'>
        """
        return self._view().status

    def run(self) -> Run:
        """The run's record: workflow, status, attributes, times.

        >>> found = checkout.start(order).run()
        >>> found.workflow, found.status.value
        ('checkout', 'completed')
        """
        from qwit_durable.client.runs import Run

        return Run.of(self._view(), self._access.reader)

    def published(self, type: Any = None) -> Published:  # noqa: A002 - as in wait_signal
        """What the body has published so far: the latest value under each key, while it runs and after its end.

        Args:
            type: A class or generic alias to read all values as, or a dict with one for some keys; else they are
                JSON's own types.

        Returns:
            A dict by key; its `at` says when each value was published.

        Raises:
            EncodingError: A value is not of that type. The message names its key.
            RunNotFound: There is no such run.

        >>> importing.start(1200).published()
        {'rows': 1200, 'state': 'loading'}
        """
        self._view()
        return Published(self._access.reader.published(self._run_id), type)

    def explain(self) -> Explanation:
        """Why the run stands where it stands: what it waits for, since when, until when, and the ways out.

        >>> print(approval.options(id="order-17").start(order).explain())
        run order-17 of workflow 'approval' is running, ...
          waits for signal 'approved' at 0 since 00:00:00 UTC (now), without a timeout
        ...
        """
        return explain(self._access, self._view())

    def history(self) -> History:
        """What is recorded about the run, in order.

        >>> print(checkout.options(id="order-17").start(order).history())
        run order-17 of workflow 'checkout': completed
        ...
        """
        return history(self._access, self._view())

    # -- a start in the caller's transaction -------------------------------------------------------------------

    def announce_once_committed(self, announce: Callable[[], None]) -> None:
        """Tell of the start when `ring` finds that it is there."""
        self._announce = announce

    def ring(self) -> None:
        """Have a worker look at the run now, and not only at its next sweep.

        For a run that was started with `connection=`, after the commit. It is never needed: the store has the run, and
        the sweep finds it within a second by default. Observers are told that it has started.

        Raises:
            RunNotFound: The transaction has not committed, or there is no such run.

        >>> durable = Durable("sqlite:///orders.db")
        >>> with sqlite3.connect("orders.db") as connection:
        ...     handle = durable.start(checkout.options(connection=connection), order)
        >>> handle.ring()
        """
        self._view()
        announce, self._announce = self._announce, None
        if announce is not None:
            announce()
        reader, now = self._access.reader, self._access.reader.now()
        due = [ring_for(t) for t in reader.tasks(self._run_id) if t.position == TURN and t.ready_at <= now]
        if self.status() is Status.SCHEDULED:
            # It takes its place in its lane now, if it is due.
            fired = self._access.write(FireTimers(run_id=self._run_id, position=START_TIMER))
            due.extend(fired.rings if isinstance(fired, Rings) else ())
        self._access.ring(due)

    # -- talking -----------------------------------------------------------------------------------------------

    def signal(self, name: str, value: object = None, *, dedupe_id: str | None = None) -> None:
        """Send the run a signal. It is kept in order until `wait_signal(name)` takes it.

        Args:
            name: Which `wait_signal` it is for.
            value: Anything that can be stored.
            dedupe_id: A second signal with this id changes nothing.

        Raises:
            EncodingError: The value can't be stored. Nothing was sent.
            OperationRefused: The run has ended; a signal that was taken before, by its `dedupe_id`, is none.
            RunNotFound: There is no such run.

        >>> handle = approval.start(order)
        >>> handle.signal("approved", Approval("Ann"), dedupe_id="mail-5")
        """
        _check_signal(name, dedupe_id)
        where = f"the value of signal {name!r}"
        data = codec.encode(value, codec.annotation_of(value), where)
        codec.check_size(data, where, self._access.limit_bytes)
        self._deliver(Verb.SIGNAL, SignalReceived(name=name, value=data, dedupe_id=dedupe_id))

    def cancel(self, reason: str = "", *, compensate: bool = True) -> None:
        """Ask the run to stop at its next `yield` and, unless `compensate` is False, to undo what it did.

        An attempt under way is asked to stop, never killed; if it completes, it is undone with the rest. Cancelling
        twice, or while the run unwinds, changes nothing. A run that is stuck over its code is tried once more.

        Raises:
            OperationRefused: The run has ended otherwise.

        >>> handle = approval.start(order)
        >>> handle.cancel("nobody answers")
        >>> handle.status()
        <Status.CANCELLED: 'cancelled'>
        """
        self._deliver(Verb.CANCEL, CancelRequested(reason=reason, compensate=compensate))

    def rollback(self, reason: str = "") -> None:
        """Undo what the run has done so far and end it `compensated`: as a cancel does, but as a failure of the run.

        A paused run goes on into its undoing. One that is stuck over an undo tries that again, as after `retry`. Asking
        twice changes nothing, nor does asking after a cancel: the first cause wins.

        Raises:
            OperationRefused: The run is being undone for another reason, or has ended.

        >>> handle = approval.start(order)
        >>> handle.rollback("the shop closes")
        >>> str(handle.run().error)
        'RolledBack: the shop closes'
        """
        self._deliver(Verb.ROLLBACK, OperatorActed(verb=Verb.ROLLBACK, reason=reason))

    def terminate(self, reason: str = "") -> None:
        """Stop the run and its sub-workflows where they stand. Nothing is undone, now or later.

        Observers of this process are told of it, since no worker's will be.

        Raises:
            OperationRefused: The run has ended otherwise.

        >>> handle = approval.start(order)
        >>> handle.terminate("a test order")
        >>> handle.status()
        <Status.TERMINATED: 'terminated'>
        """
        self._deliver(Verb.TERMINATE, OperatorActed(verb=Verb.TERMINATE, reason=reason))

    def pause(self, reason: str = "") -> None:
        """Let the run stand still from its next checkpoint on, until `resume`. Its timers and deadline go on counting.

        Raises:
            OperationRefused: The run is stuck or has ended.

        >>> handle = approval.start(order)
        >>> handle.pause("the bank is down")
        >>> handle.status()
        <Status.PAUSED: 'paused'>
        """
        self._deliver(Verb.PAUSE, OperatorActed(verb=Verb.PAUSE, reason=reason))

    def resume(self) -> None:
        """Let a paused run go on where it was. For one that is not paused this changes nothing.

        Raises:
            OperationRefused: The run is stuck or has ended.

        >>> handle = approval.start(order)
        >>> handle.pause("the bank is down")
        >>> handle.resume()
        >>> handle.status()
        <Status.RUNNING: 'running'>
        """
        self._deliver(Verb.RESUME, OperatorActed(verb=Verb.RESUME))

    def retry(self, reason: str = "") -> None:
        """Let a stuck run try again: the undo that gave up, or the body after a fixed deploy.

        Of a run that only waits for a stuck sub-workflow, that one is meant.

        Raises:
            OperationRefused: The run is not stuck.

        >>> for run in shop.runs(status="stuck", workflow="checkout"):
        ...     shop.get(run.id).retry("after the deploy of noon")
        """
        self._deliver(Verb.RETRY, OperatorActed(verb=Verb.RETRY, reason=reason))

    def skip(self, value: object = None, *, reason: str = "") -> None:
        """Take what a run is stuck over as done by hand, and go on. Of a tree, the stuck sub-workflow is meant.

        Raises:
            EncodingError: The value can't be stored.
            OperationRefused: The run is not stuck.

        >>> for run in shop.runs(status="stuck", workflow="checkout"):
        ...     shop.get(run.id).skip(reason="refunded by hand")
        """
        data = codec.encode(value, codec.annotation_of(value), "the value of skip()")
        self._deliver(Verb.SKIP, OperatorActed(verb=Verb.SKIP, reason=reason, value=data))

    def _deliver(self, verb: Verb, event: SignalReceived | CancelRequested | OperatorActed) -> None:
        if not isinstance(event, SignalReceived):
            check_reason(event.reason, f"{verb}()")
        answer = self._access.write(self._delivery(verb, event))
        match answer:
            case Accepted(rings=rings, repeated=repeated):
                self._access.ring(rings)
                if verb is Verb.TERMINATE and not repeated:
                    tell_terminated(self._access, self._run_id)
            case Refused(reason="missing"):
                msg = f"run {self.id} is not in the store (namespace {self._access.namespace!r}): it has been pruned"
                raise RunNotFound(msg)
            case Refused(reason="code"):
                msg = (
                    f"run {self.id} is stuck over its code: there is nothing to skip\n"
                    f"  way out: deploy code that matches, and it goes on by itself; or rollback, cancel, terminate"
                )
                raise OperationRefused(msg)
            case Refused(status=status):
                asked = "takes no signals" if verb is Verb.SIGNAL else f"can't be asked to {verb}"
                msg = f"run {self.id} is {status}: it {asked}\n  possible now: {verbs_text(status)}"
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


def _check_signal(name: object, dedupe_id: object) -> None:
    for text, what in ((name, "the name"), ("-" if dedupe_id is None else dedupe_id, "dedupe_id")):
        if not isinstance(text, str) or not text:
            msg = f"signal: {what} is a non-empty text, got {text!r}"
            raise TypeError(msg)
        if (why := codec.unfit_as_name(text)) is not None:
            msg = f"signal: {what} {why}"
            raise ValueError(msg)


def verbs_text(status: Status | None) -> str:
    """The verbs that a status allows, for messages."""
    possible = [verb.value for verb, statuses in VERBS.items() if status in statuses]
    return ", ".join(possible) or "nothing, it has ended"
