"""What may be asked of a run in which status: the table `core.status.VERBS`, on every store, from another process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from qwit_durable.core import (
    ENDED,
    VERBS,
    CancelRequested,
    OperatorActed,
    SignalReceived,
    Status,
    Verb,
)
from qwit_durable.stores.answers import Accepted, Acquired, Refused
from qwit_durable.stores.protocol import Store
from qwit_durable.stores.reasons import Reason, ReasonKind
from qwit_durable.stores.writes import Deliver
from qwit_durable.testing.contract.stage import Hold, Stage, seconds

__all__ = ["Verbs"]

_EVENTS: dict[Verb, Any] = {
    Verb.SIGNAL: SignalReceived(name="approved", dedupe_id="click-1"),
    Verb.CANCEL: CancelRequested(reason="because"),
    **{
        verb: OperatorActed(verb=verb, reason="because")
        for verb in Verb
        if verb not in {Verb.SIGNAL, Verb.CANCEL}
    },
}
#: Accepted where it changes nothing: the run goes on anyway, or is being undone already.
_NOTHING_TO_DO = frozenset(
    {
        (Verb.RESUME, Status.SCHEDULED),
        (Verb.RESUME, Status.RUNNING),
        (Verb.RESUME, Status.COMPENSATING),
        (Verb.PAUSE, Status.PAUSED),
        (Verb.CANCEL, Status.COMPENSATING),
    }
)
#: What an ended run accepts, because it has had it.
_HAD_ITS_EFFECT = frozenset({(Verb.CANCEL, Status.CANCELLED), (Verb.TERMINATE, Status.TERMINATED)})


class Verbs:
    """Allowed by the table, recorded with the reason, and no more than once."""

    @pytest.mark.parametrize("status", Status)
    @pytest.mark.parametrize("verb", Verb)
    def test_a_verb_is_accepted_where_the_table_says_so(
        self, stage: Stage, another: Callable[[], Store], verb: Verb, status: Status
    ) -> None:
        run_id = _run_that_is(stage, status)
        before = stage.events(run_id)

        (answer,) = another().apply([Deliver(run_id=run_id, event=_EVENTS[verb])])

        told = stage.events(run_id)[len(before) :]
        if (verb, status) in _HAD_ITS_EFFECT:
            assert (answer, told) == (Accepted(repeated=True), [])
        elif status in VERBS[verb]:
            assert isinstance(answer, Accepted)
            assert told == ([] if (verb, status) in _NOTHING_TO_DO else [_EVENTS[verb]])
        else:
            refused = Refused(reason="ended" if status in ENDED else "status", status=status)
            assert (answer, told) == (refused, [])

    @pytest.mark.parametrize("status", [status for status in Status if status not in ENDED])
    @pytest.mark.parametrize("verb", Verb)
    def test_asking_twice_is_asking_once(
        self, stage: Stage, another: Callable[[], Store], verb: Verb, status: Status
    ) -> None:
        if status not in VERBS[verb]:
            return
        run_id = _run_that_is(stage, status)
        stage.tell(run_id, _EVENTS[verb])
        view, events = stage.store.view(run_id), stage.events(run_id)

        (again,) = another().apply([Deliver(run_id=run_id, event=_EVENTS[verb])])

        assert isinstance(again, Accepted)
        assert (stage.store.view(run_id), stage.events(run_id)) == (view, events)

    def test_a_signal_that_was_taken_is_answered_as_repeated_once_the_run_has_ended(
        self, stage: Stage
    ) -> None:
        hold = stage.begin()
        hold.release()
        stage.tell(hold.id, _EVENTS[Verb.SIGNAL])
        stage.hold(hold.id).end()

        again = stage.tell(hold.id, _EVENTS[Verb.SIGNAL])
        other = stage.tell(hold.id, SignalReceived(name="approved", dedupe_id="click-2"))

        assert again == Accepted(repeated=True)
        assert other == Refused(reason="ended", status=Status.COMPLETED)

    @pytest.mark.parametrize("verb", [Verb.RETRY, Verb.SKIP, Verb.ROLLBACK])
    def test_a_verb_that_had_its_effect_is_answered_as_repeated_once_the_run_has_ended(
        self, stage: Stage, verb: Verb
    ) -> None:
        run_id = _run_that_is(stage, Status.STUCK)
        stage.operate(run_id, verb)
        stage.hold(run_id).end()

        again = stage.operate(run_id, verb)

        assert again == Accepted(repeated=True)

    # -- rolling back ------------------------------------------------------------------------------------------

    def test_a_running_run_that_is_rolled_back_gets_a_turn(self, stage: Stage) -> None:
        run_id = _run_that_is(stage, Status.RUNNING)

        answer = stage.operate(run_id, Verb.ROLLBACK, reason="enough")

        assert [ring.run_id for ring in answer.rings] == [run_id]
        assert stage.live(run_id).cancel_asked
        assert stage.hold(run_id).acquired.events == (OperatorActed(verb=Verb.ROLLBACK, reason="enough"),)

    def test_a_run_that_is_asked_to_end_is_not_rolled_back_as_well(self, stage: Stage) -> None:
        cancelled, rolled_back = (_run_that_is(stage, Status.RUNNING) for _ in range(2))
        stage.tell(cancelled, CancelRequested(reason="first"))
        stage.operate(rolled_back, Verb.ROLLBACK, reason="first")

        second = stage.operate(cancelled, Verb.ROLLBACK), stage.tell(rolled_back, CancelRequested())

        assert second == (Accepted(repeated=True), Accepted(repeated=True))
        assert len(stage.events(cancelled)) == len(stage.events(rolled_back)) == 1

    @pytest.mark.parametrize("was", [Status.RUNNING, Status.COMPENSATING])
    def test_a_paused_run_that_is_rolled_back_goes_on_where_it_was(self, stage: Stage, was: Status) -> None:
        hold = stage.begin()
        hold.release(status=was)
        stage.operate(hold.id, Verb.PAUSE)

        answer = stage.operate(hold.id, Verb.ROLLBACK)

        live = stage.live(hold.id)
        assert (live.status, live.reason) == (was, None)
        assert live.cancel_asked is (was is Status.RUNNING)
        assert [ring.run_id for ring in answer.rings] == [hold.id]

    @pytest.mark.parametrize("how", ["scheduled", "paused"])
    def test_a_run_that_has_not_begun_is_rolled_back_at_once(self, stage: Stage, how: str) -> None:
        run = stage.start(delay=seconds(60)).run
        if how == "paused":
            stage.operate(run.id, Verb.PAUSE)

        answer = stage.operate(run.id, Verb.ROLLBACK)

        assert [ring.run_id for ring in answer.rings] == [run.id]
        assert isinstance(stage.acquire(run.id), Acquired)

    @pytest.mark.parametrize("kind", ["code", "crash"])
    @pytest.mark.parametrize("event", [_EVENTS[Verb.ROLLBACK], _EVENTS[Verb.CANCEL]])
    def test_a_stuck_run_that_is_to_end_gets_a_turn(self, stage: Stage, kind: ReasonKind, event: Any) -> None:
        hold = _stuck(stage, Status.RUNNING, kind)

        answer = stage.tell(hold.id, event)

        live = stage.live(hold.id)
        assert [ring.run_id for ring in answer.rings] == [hold.id]
        assert (live.status, live.reason, live.lost, live.cancel_asked) == (Status.RUNNING, None, 0, True)

    def test_a_run_that_is_stuck_over_an_undo_takes_a_rollback_for_a_retry_and_no_cancel(
        self, stage: Stage
    ) -> None:
        hold = _stuck(stage, Status.COMPENSATING, "undo")

        cancelled = stage.tell(hold.id, _EVENTS[Verb.CANCEL])
        still = stage.live(hold.id).status
        rolled_back = stage.operate(hold.id, Verb.ROLLBACK)

        live = stage.live(hold.id)
        assert (cancelled.rings, still) == ((), Status.STUCK)
        assert [ring.run_id for ring in rolled_back.rings] == [hold.id]
        assert (live.status, live.cancel_asked) == (Status.COMPENSATING, False)
        assert stage.events(hold.id) == [OperatorActed(verb=Verb.ROLLBACK)]

    @pytest.mark.parametrize("verb", [Verb.RETRY, Verb.SKIP])
    def test_there_is_nothing_to_skip_where_the_code_does_not_match(self, stage: Stage, verb: Verb) -> None:
        hold = _stuck(stage, Status.RUNNING, "code")

        answer = stage.operate(hold.id, verb)

        assert isinstance(answer, Refused) is (verb is Verb.SKIP)
        assert (stage.live(hold.id).status is Status.STUCK) is (verb is Verb.SKIP)


def _run_that_is(stage: Stage, status: Status) -> UUID:
    """A run in this status, free."""
    match status:
        case Status.SCHEDULED:
            return stage.start(delay=seconds(60)).run.id
        case Status.STUCK:
            return _stuck(stage, Status.RUNNING, "failed").id
        case _:
            hold = stage.begin()
    if status in ENDED:
        hold.end(status=status)
    elif status is Status.PAUSED:
        reason = Reason(kind="operator", text="audit", was=Status.RUNNING)
        hold.release(status=status, reason=reason.encode())
    else:
        hold.release(status=status)
    return hold.id


def _stuck(stage: Stage, was: Status, kind: ReasonKind) -> Hold:
    hold = stage.begin()
    hold.release(status=Status.STUCK, reason=Reason(kind=kind, text="it is stuck", was=was).encode())
    return hold
