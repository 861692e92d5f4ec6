"""Every state in which a run can stand still has a reason and a way out: one test for each, on the real engine."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from qwit_durable.client.explaining import Explanation, Wait, WaitKind
from qwit_durable.client.handle import Handle
from qwit_durable.clock import ManualClock
from qwit_durable.core import Retry, Status
from qwit_durable.language import Workflow, compensate, gather, sleep, step, wait_signal, workflow
from qwit_durable.registry import Registry
from qwit_durable.stores.answers import Acquired, Claimed
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.processes import this_host
from qwit_durable.stores.rows import Ring, WorkerRow
from qwit_durable.stores.writes import Acquire, Beat, Claim, Commit, Release
from qwit_durable.testing.environment import Environment

LEASE = timedelta(seconds=10)
OTHER = 42
broken: set[str] = set()


@pytest.fixture(autouse=True)
def nothing_is_broken() -> None:
    broken.clear()


def fail_if_broken(what: str) -> None:
    if what in broken:
        message = f"{what} is broken"
        raise OSError(message)


@step(retry=Retry(max_attempts=3, first=timedelta(seconds=5)))
def charge(order: str) -> str:
    fail_if_broken("charge")
    return f"payment-{order}"


@charge.undo(retry=Retry(max_attempts=2, first=timedelta(seconds=7)))
def refund(order: str) -> None:
    fail_if_broken("refund")


@step(queue="mail", retry=Retry(max_attempts=3, first=timedelta(seconds=5)))
def mail(order: str) -> None:
    fail_if_broken("mail")


@step
def retract(order: str) -> None: ...


@step(retry=Retry(max_attempts=1))
def explode() -> None:
    message = "boom"
    raise ValueError(message)


@workflow
def plain(order: str) -> Workflow[str]:
    return (yield from charge(order))


@workflow
def two_steps(order: str) -> Workflow[None]:
    yield from retract(order)
    yield from charge(order)


@workflow
def sleeper() -> Workflow[None]:
    yield from sleep(timedelta(hours=1))


@workflow
def approval(timeout: timedelta | None = None) -> Workflow[str]:
    return (yield from wait_signal("approved", str, timeout=timeout))


@workflow
def mailing(order: str) -> Workflow[None]:
    yield from mail(order)


@workflow
def parent(order: str) -> Workflow[str]:
    return (yield from approval_of(order))


@workflow
def approval_of(order: str) -> Workflow[str]:
    yield from charge(order)
    return (yield from approval(None))


@workflow
def several(order: str) -> Workflow[None]:
    yield from gather(mail(order), sleep(timedelta(hours=1)), approval(None), wait_signal("stop"))


@workflow
def failing(order: str) -> Workflow[None]:
    yield from charge(order)
    yield from compensate(retract(order))
    yield from explode()


@workflow
def failing_after_child(order: str) -> Workflow[None]:
    yield from plain(order)
    yield from explode()


@workflow
def parent_of_failing(order: str) -> Workflow[None]:
    yield from failing(order)


@workflow(deadline=timedelta(minutes=10))
def hurried() -> Workflow[None]:
    yield from wait_signal("never")


@workflow
def empty() -> Workflow[str]:
    yield from sleep(timedelta(0))
    return "done"


# -- driving ---------------------------------------------------------------------------------------------------


class Shop(Environment):
    """An environment with one live worker, whose queues are the default one unless told otherwise."""

    def __init__(self, **options: Any) -> None:
        super().__init__(queues=frozenset({"default"}), **options)
        self.engine.heart.beat()

    def rest(self) -> None:
        """Let everything happen that can without the clock moving; bells for other queues are lost."""
        while self.bells.waiting:
            ring = self.bells.waiting.popleft()
            if ring.queue == "default":
                self.answer(ring)

    def pass_time(self, by: timedelta) -> None:
        """Move the clock and let what is due happen."""
        self.clock.advance(by)
        self.engine.heart.beat()
        self.engine.sweeper.sweep()
        self.rest()

    def other_worker(
        self, worker: int = OTHER, *, host: str = "elsewhere", pid: int = 7, queues: tuple[str, ...] = ()
    ) -> None:
        """Another worker says that it lives."""
        now = self.clock.now()
        row = WorkerRow(
            id=worker,
            host=host,
            pid=pid,
            process_started=1.0,
            started_at=now,
            beat_at=now,
            expires_at=now,
            queues=queues,
        )
        self.write(Beat(worker=row, lease=LEASE))

    def hold(self, handle: Handle[Any], worker: int = OTHER) -> Acquired:
        """The other worker takes the run."""
        held = self.write(Acquire(run_id=handle._run_id, worker=worker))
        assert isinstance(held, Acquired)
        return held

    def claim(self, handle: Handle[Any], position: str) -> None:
        """The other worker begins an attempt of a queued step."""
        claim = Claim(run_id=handle._run_id, position=position, worker=OTHER, lease=LEASE)
        assert isinstance(self.write(claim), Claimed)


def only(explanation: Explanation) -> Wait:
    """The one thing that is waited for."""
    assert len(explanation.waits) == 1, str(explanation)
    json.dumps(explanation.to_json())
    return explanation.waits[0]


def moved_on(shop: Shop, by: timedelta) -> None:
    """Time passes and nobody does anything."""
    shop.clock.advance(by)


# -- not begun -------------------------------------------------------------------------------------------------


def test_a_delayed_run_says_when_it_begins() -> None:
    shop = Shop()

    handle = shop.start(plain.options(delay=timedelta(hours=1)), "a")
    wait = only(handle.explain())

    assert wait.kind is WaitKind.START
    assert wait.until == shop.clock.now() + timedelta(hours=1)
    assert "in 1 h" in wait.text


def test_a_ready_run_says_that_no_worker_is_alive() -> None:
    shop = Shop()
    handle = shop.start(plain, "a")

    moved_on(shop, timedelta(minutes=5))
    wait = only(handle.explain())

    assert wait.kind is WaitKind.TURN
    assert wait.what == "default"
    assert wait.since == shop.clock.now() - timedelta(minutes=5)
    assert "no worker is alive" in wait.text
    assert "dramatiq" in wait.ways_out[0]


def test_a_ready_run_says_that_no_live_worker_consumes_its_queue() -> None:
    shop = Shop()
    moved_on(shop, LEASE)
    shop.other_worker(queues=("mail",))

    handle = shop.start(plain, "a")
    wait = only(handle.explain())

    assert "no live worker consumes it (1 worker is alive, on: mail)" in wait.text
    assert wait.ways_out == ("start a worker that consumes queue 'default'",)


def test_a_ready_run_names_the_workers_that_may_take_it() -> None:
    shop = Shop()
    moved_on(shop, LEASE)
    shop.other_worker(queues=("default",))

    handle = shop.start(plain, "a")
    wait = only(handle.explain())

    assert "1 live worker consumes it: elsewhere:7" in wait.text
    assert wait.ways_out == ()


def test_a_ready_run_says_what_the_workers_that_may_take_it_have_in_hand() -> None:
    shop = Shop()
    moved_on(shop, LEASE)
    shop.other_worker(queues=("default", "mail"))
    for _ in range(2):
        shop.hold(shop.start(plain, "b"))
    sending = shop.start(mailing, "c")
    shop.answer(shop.bells.waiting.pop())
    shop.claim(sending, "0")
    shop.bells.waiting.clear()
    handle = shop.start(plain, "a")
    before = only(handle.explain())

    moved_on(shop, timedelta(minutes=2))
    shop.other_worker(queues=("default", "mail"))
    wait = only(handle.explain())

    assert "with 2 runs and 1 queued attempt in hand; the longest has come no further since" in before.text
    assert before.ways_out == ()
    assert wait.ways_out == (
        "if that takes all their threads, start another worker of queue 'default' or give them more: a step that waits "
        "in result() for a run keeps its thread (call the run as a sub-workflow instead)",
    )


# -- held ------------------------------------------------------------------------------------------------------


def test_a_held_run_names_its_worker_and_says_that_inline_attempts_are_recorded_at_their_end() -> None:
    shop = Shop()
    handle = shop.start(plain, "a")
    shop.other_worker()

    shop.hold(handle)
    moved_on(shop, timedelta(seconds=3))
    wait = only(handle.explain())

    assert wait.kind is WaitKind.WORKER
    assert wait.worker == "elsewhere:7"
    assert wait.since == shop.clock.now() - timedelta(seconds=3)
    assert "works on it since" in wait.text
    assert "attempt 1 of an inline step" in wait.text
    assert "its name is recorded when the attempt ends" in wait.text


def test_a_held_run_names_the_step_before_the_one_that_is_under_way() -> None:
    shop = Shop()
    broken.add("charge")
    handle = shop.start(two_steps, "a")
    shop.rest()
    shop.pass_time(timedelta(seconds=5))
    moved_on(shop, timedelta(seconds=20))
    shop.other_worker()

    shop.engine.sweeper._fire()
    shop.hold(handle)
    wait = only(handle.explain())

    assert wait.kind is WaitKind.WORKER
    assert (wait.what, wait.position, wait.attempt) == ("charge", "1", 3)
    assert ": attempt 3 of step 'charge' at 1" in wait.text
    assert wait.last_error is not None
    assert wait.last_error.message == "charge is broken"


def test_a_run_whose_worker_is_dead_says_that_it_will_be_taken_over() -> None:
    shop = Shop()
    handle = shop.start(plain, "a")
    shop.other_worker()
    shop.hold(handle)

    moved_on(shop, LEASE + timedelta(seconds=1))
    shop.engine.heart.beat()
    wait = only(handle.explain())

    assert wait.kind is WaitKind.TAKEOVER
    assert wait.worker == "elsewhere:7"
    assert wait.until == shop.clock.now() - timedelta(seconds=1)
    assert "its lease was over" in wait.text
    assert "another worker takes it over" in wait.text


def test_a_dead_worker_with_nobody_to_take_over_asks_for_a_worker() -> None:
    shop = Shop()
    handle = shop.start(plain, "a")
    shop.other_worker()
    shop.hold(handle)

    moved_on(shop, LEASE * 2)
    wait = only(handle.explain())

    assert "no worker is alive to take it over" in wait.text
    assert "start a worker" in wait.ways_out[0]


def test_a_worker_of_this_machine_whose_process_is_gone_is_dead_before_its_lease_is() -> None:
    shop = Shop()
    handle = shop.start(plain, "a")
    shop.other_worker(host=this_host(), pid=2**22 + 1)

    shop.hold(handle)
    wait = only(handle.explain())

    assert wait.kind is WaitKind.TAKEOVER
    assert "its process is gone" in wait.text


def test_a_worker_that_has_no_row_any_more_is_dead() -> None:
    shop = Shop()
    handle = shop.start(plain, "a")

    shop.hold(handle)
    wait = only(handle.explain())

    assert wait.kind is WaitKind.TAKEOVER
    assert "it is not known any more" in wait.text


# -- times and signals -----------------------------------------------------------------------------------------


def test_a_sleeping_run_says_until_when() -> None:
    shop = Shop()
    handle = shop.start(sleeper)

    shop.rest()
    wait = only(handle.explain())

    assert wait.kind is WaitKind.TIMER
    assert wait.position == "0"
    assert wait.until == shop.clock.now() + timedelta(hours=1)
    assert "no worker" not in wait.text


def test_an_overdue_timer_says_that_nobody_is_there_to_fire_it() -> None:
    shop = Shop()
    handle = shop.start(sleeper)
    shop.rest()

    moved_on(shop, timedelta(hours=2))
    wait = only(handle.explain())

    assert "due 01:00:00 UTC (1 h ago); no worker is alive to see to it" in wait.text
    assert "start a worker" in wait.ways_out[0]


def test_a_run_that_waits_for_a_signal_names_it_and_says_how_to_send_it() -> None:
    shop = Shop()
    handle = shop.start(approval.options(id="order 1"), timedelta(days=2))

    shop.rest()
    explanation = handle.explain()
    wait = only(explanation)

    assert wait.kind is WaitKind.SIGNAL
    assert (wait.what, wait.position) == ("approved", "0")
    assert wait.until == shop.clock.now() + timedelta(days=2)
    assert explanation.ways_out == (
        "send it: qwit signal 'order 1' approved <JSON value>",
        "stop it and undo what it did: qwit cancel 'order 1'",
    )


def test_a_signal_that_has_come_is_no_longer_waited_for() -> None:
    shop = Shop()
    handle = shop.start(approval)
    shop.rest()

    handle.signal("approved", "yes")
    wait = only(handle.explain())

    assert wait.kind is WaitKind.TURN


def test_a_signal_without_a_timeout_is_waited_for_without_end() -> None:
    shop = Shop()
    handle = shop.start(approval)

    shop.rest()
    wait = only(handle.explain())

    assert wait.until is None
    assert wait.text.endswith("without a timeout")


# -- steps -----------------------------------------------------------------------------------------------------


def test_a_failed_inline_step_says_why_and_when_it_is_tried_again() -> None:
    shop = Shop()
    broken.add("charge")
    handle = shop.start(plain, "a")

    shop.rest()
    wait = only(handle.explain())

    assert wait.kind is WaitKind.BACKOFF
    assert (wait.what, wait.position, wait.attempt) == ("charge", "0", 2)
    assert wait.until == shop.clock.now() + timedelta(seconds=5)
    assert "attempt 1 failed: OSError: charge is broken" in wait.text


def test_an_inline_step_whose_next_attempt_is_due_waits_for_a_worker() -> None:
    shop = Shop()
    broken.add("charge")
    handle = shop.start(plain, "a")
    shop.rest()

    shop.clock.advance(timedelta(seconds=5))
    shop.engine.sweeper._fire()
    wait = only(handle.explain())

    assert wait.kind is WaitKind.TURN
    assert "next is attempt 2 of step 'charge' at 0" in wait.text


def test_a_queued_step_that_nobody_has_begun_names_its_queue() -> None:
    shop = Shop()
    handle = shop.start(mailing, "a")
    shop.rest()
    moved_on(shop, LEASE)
    shop.other_worker(queues=("default",))

    wait = only(handle.explain())

    assert wait.kind is WaitKind.QUEUE
    assert (wait.what, wait.position, wait.attempt) == ("mail", "0", 1)
    assert "on queue 'mail': no live worker consumes it" in wait.text
    assert wait.ways_out == ("start a worker that consumes queue 'mail'",)


def test_a_queued_step_that_a_worker_did_not_know_says_so() -> None:
    shop = Shop()
    handle = shop.start(mailing, "a")
    shop.engine.take_turn(handle.run().run_id)
    ignorant = Environment(shop.store, clock=shop.clock, registry=Registry())

    ignorant.engine.make_attempt(handle.run().run_id, "0", "mail")
    wait = only(handle.explain())

    assert wait.kind is WaitKind.QUEUE
    assert "left it to others: no step of the name 'mail' is registered in this process" in wait.text
    assert wait.ways_out[0] == "start a worker of queue 'mail' whose code defines step 'mail'"


def test_a_queued_step_that_was_rung_for_in_vain_asks_whether_the_workers_know_it() -> None:
    shop = Shop()
    handle = shop.start(mailing, "a")
    shop.rest()

    for _ in range(3):
        shop.pass_time(timedelta(seconds=10))
    wait = only(handle.explain())

    assert wait.kind is WaitKind.QUEUE
    assert "it was rung for 3 times: do they know step 'mail'" in wait.text
    assert wait.ways_out == ("start a worker of queue 'mail' whose code defines step 'mail'",)


def test_a_queued_step_under_way_names_its_worker_and_attempt() -> None:
    shop = Shop()
    handle = shop.start(mailing, "a")
    shop.rest()
    shop.other_worker(queues=("mail",))

    shop.claim(handle, "0")
    wait = only(handle.explain())

    assert wait.kind is WaitKind.ATTEMPT
    assert (wait.what, wait.attempt, wait.worker) == ("mail", 1, "elsewhere:7")
    assert wait.since == shop.clock.now()


def test_a_queued_step_whose_worker_died_says_that_it_will_be_taken_over() -> None:
    shop = Shop()
    handle = shop.start(mailing, "a")
    shop.rest()
    shop.other_worker(queues=("mail",))
    shop.claim(handle, "0")

    moved_on(shop, LEASE * 2)
    wait = only(handle.explain())

    assert wait.kind is WaitKind.TAKEOVER
    assert "worker elsewhere:7 made attempt 1 of step 'mail' at 0" in wait.text


def test_a_failed_queued_step_says_why_and_when_it_is_tried_again() -> None:
    shop = Shop()
    broken.add("mail")
    handle = shop.start(mailing, "a")
    shop.rest()

    shop.answer(Ring(run_id=handle._run_id, position="0", queue="mail", name="mail"))
    wait = only(handle.explain())

    assert wait.kind is WaitKind.BACKOFF
    assert wait.attempt == 2
    assert wait.until == shop.clock.now() + timedelta(seconds=5)
    assert "attempt 1 failed: OSError: mail is broken" in wait.text


# -- trees -----------------------------------------------------------------------------------------------------


def test_a_parent_is_explained_down_to_what_its_grandchild_waits_for() -> None:
    shop = Shop()
    handle = shop.start(parent, "a")

    shop.rest()
    explanation = handle.explain()
    wait = only(explanation)

    assert wait.kind is WaitKind.WORKFLOW
    assert wait.what == "approval_of"
    assert wait.child is not None
    grandchild = only(wait.child).child
    assert grandchild is not None
    assert only(grandchild).kind is WaitKind.SIGNAL
    assert explanation.ways_out[0] == f"send it: qwit signal {grandchild.id} approved <JSON value>"
    assert "        waits for signal 'approved'" in str(explanation)


def test_a_stuck_child_is_named_with_the_way_to_retry_it() -> None:
    shop = Shop()
    broken.add("refund")
    handle = shop.start(parent_of_failing, "a")

    shop.settle()
    explanation = handle.explain()
    stuck = explanation.stuck

    assert explanation.status is Status.RUNNING
    assert stuck is not None
    assert stuck.workflow == "failing"
    assert explanation.ways_out[0] == f"mend what stops the undo, then: qwit retry {stuck.id}"
    assert "OSError: refund is broken" in str(explanation)


def test_a_gather_says_what_each_of_its_open_members_waits_for() -> None:
    shop = Shop()
    handle = shop.start(several, "a")

    shop.rest()
    explanation = handle.explain()

    assert [(wait.kind, wait.position) for wait in explanation.waits] == [
        (WaitKind.QUEUE, "0.0"),
        (WaitKind.TIMER, "0.1"),
        (WaitKind.WORKFLOW, "0.2"),
        (WaitKind.SIGNAL, "0.3"),
    ]


# -- ending ----------------------------------------------------------------------------------------------------


def test_a_cancelled_run_waits_for_the_attempts_under_way() -> None:
    shop = Shop()
    handle = shop.start(several, "a")
    shop.rest()
    shop.other_worker(queues=("mail",))
    shop.claim(handle, "0.0")

    handle.cancel("changed my mind")
    shop.rest()
    explanation = handle.explain()
    wait = only(explanation)

    assert wait.kind is WaitKind.ATTEMPT
    assert "it is asked to stop" in wait.text
    assert "it was asked to cancel at 00:00:00 UTC (now) (changed my mind)" in explanation.text
    assert "qwit terminate" in explanation.ways_out[-1]


def test_a_run_whose_deadline_has_passed_says_so() -> None:
    shop = Shop()
    handle = shop.start(hurried)
    shop.rest()

    shop.clock.advance(timedelta(minutes=10))
    shop.engine.sweeper._fire()
    explanation = handle.explain()

    assert "its deadline passed at 00:10:00 UTC (now)" in explanation.text
    assert explanation.deadline_at is None


def test_a_deadline_to_come_is_told() -> None:
    shop = Shop()
    handle = shop.start(hurried)

    shop.rest()
    explanation = handle.explain()

    assert explanation.deadline_at == shop.clock.now() + timedelta(minutes=10)
    assert "its deadline ends it at 00:10:00 UTC (in 10 min)" in explanation.text


def test_a_compensating_run_says_why_what_is_undone_and_what_is_owed() -> None:
    shop = Shop()
    broken.add("refund")
    handle = shop.start(failing, "a")

    shop.rest()
    explanation = handle.explain()
    wait = only(explanation)

    assert explanation.status is Status.COMPENSATING
    assert wait.kind is WaitKind.BACKOFF
    assert (wait.what, wait.position, wait.attempt) == ("charge", "~0", 2)
    assert "waits to try the undo of 'charge' at ~0 again" in wait.text
    assert explanation.cause is not None
    assert explanation.cause.root.message == "boom"
    assert (explanation.undone, explanation.owed) == (("retract",), ("charge",))
    assert "because of StepFailed: step 'explode' failed" in explanation.text


def test_a_held_compensating_run_names_the_undo_that_may_be_under_way() -> None:
    shop = Shop()
    broken.add("refund")
    handle = shop.start(failing, "a")
    shop.rest()
    shop.clock.advance(timedelta(seconds=7))
    shop.engine.sweeper._fire()
    shop.other_worker()

    shop.hold(handle)
    wait = only(handle.explain())

    assert ": attempt 2 of the undo of 'charge' at ~0" in wait.text


def test_a_parent_that_undoes_waits_for_the_child_that_it_reopened() -> None:
    shop = Shop()
    broken.add("refund")
    handle = shop.start(failing_after_child, "a")

    shop.rest()
    wait = only(handle.explain())

    assert wait.kind is WaitKind.WORKFLOW
    assert "has not undone yet what it did" in wait.text
    assert wait.child is not None
    assert wait.child.status is Status.COMPENSATING
    assert only(wait.child).kind is WaitKind.BACKOFF


# -- needing a person ------------------------------------------------------------------------------------------


def test_a_paused_run_says_who_paused_it_and_how_it_goes_on() -> None:
    shop = Shop()
    handle = shop.start(sleeper.options(id="nap"))
    shop.rest()

    handle.pause("stock-taking")
    explanation = handle.explain()
    wait = only(explanation)

    assert wait.kind is WaitKind.OPERATOR
    assert "paused: stock-taking; it was running" in explanation.text
    assert explanation.ways_out[0] == "let it go on: qwit resume nap"


def test_a_paused_run_names_what_goes_on_all_the_same() -> None:
    shop = Shop()
    handle = shop.start(mailing, "a")
    shop.rest()
    shop.other_worker(queues=("mail",))
    shop.claim(handle, "0")

    handle.pause()
    explanation = handle.explain()

    assert [wait.kind for wait in explanation.waits] == [WaitKind.OPERATOR, WaitKind.ATTEMPT]


def test_a_run_stuck_over_an_undo_shows_both_errors_and_two_ways_out() -> None:
    shop = Shop()
    broken.add("refund")
    handle = shop.start(failing.options(id="f"), "a")

    shop.settle()
    explanation = handle.explain()

    assert explanation.status is Status.STUCK
    assert only(explanation).kind is WaitKind.PERSON
    assert only(explanation).what == "undo"
    assert explanation.reason is not None
    assert explanation.reason.details["undo"] == "charge"
    assert "OSError: refund is broken" in str(explanation)
    assert "ValueError: boom" in str(explanation)
    assert explanation.owed == ("charge",)
    assert explanation.ways_out == (
        "mend what stops the undo, then: qwit retry f",
        "undo it by hand, then take it as done: qwit skip f",
        "stop it where it stands, nothing more is undone: qwit terminate f",
    )


def test_a_run_stuck_over_its_code_shows_what_was_recorded_and_what_was_found() -> None:
    shop = Shop()
    handle = shop.start(sleeper)
    shop.rest()
    registry = Registry()
    changed = workflow(name="other")(plain.fn)
    changed.name = "sleeper"
    registry.add_workflow(changed)
    later = Shop(store=shop.store, clock=shop.clock, registry=registry)

    shop.clock.advance(timedelta(hours=1))
    shop.engine.sweeper._fire()
    later.engine.take_turn(handle._run_id)
    explanation = handle.explain()

    assert explanation.status is Status.STUCK
    assert only(explanation).what == "code"
    assert "don't fit today's code" in explanation.text
    assert "deploy code that matches the history" in explanation.ways_out[0]


def test_a_run_that_kills_its_workers_says_so() -> None:
    shop = Shop()
    handle = shop.start(plain.options(id="p"), "a")
    for worker in range(5):
        shop.other_worker(worker)
        shop.hold(handle, worker)
        shop.clock.advance(LEASE * 2)

    shop.engine.heart.beat()
    shop.engine.take_turn(handle._run_id)
    explanation = handle.explain()

    assert explanation.status is Status.STUCK
    assert "5 workers in a row died" in explanation.text
    assert (
        explanation.ways_out[0] == "find what kills the workers, or breaks the turns off, then: qwit retry p"
    )


def test_a_holder_whose_predecessors_died_says_how_many_did() -> None:
    shop = Shop()
    handle = shop.start(plain, "a")
    for worker in range(3):
        shop.clock.advance(LEASE * 2)
        shop.other_worker(worker)
        shop.hold(handle, worker)

    wait = only(handle.explain())

    assert "2 before it died while they held it" in wait.text


# -- left to others --------------------------------------------------------------------------------------------


def test_a_run_of_an_unknown_workflow_is_left_to_others_with_the_reason() -> None:
    shop = Shop()
    handle = shop.start(plain, "a")
    stranger = Shop(store=shop.store, clock=shop.clock, registry=Registry())

    stranger.engine.take_turn(handle._run_id)
    wait = only(handle.explain())

    assert wait.kind is WaitKind.LEFT
    assert "no workflow of the name 'plain' is registered" in wait.text
    assert wait.until == shop.clock.now() + timedelta(seconds=5)
    assert "start a worker whose code can go on with it" in wait.ways_out


def test_an_unknown_inline_step_is_left_to_others_with_the_reason() -> None:
    shop = Shop()
    handle = shop.start(plain, "a")
    registry = Registry()
    registry.add_workflow(plain)
    stranger = Shop(store=shop.store, clock=shop.clock, registry=registry)

    stranger.engine.take_turn(handle._run_id)
    wait = only(handle.explain())

    assert wait.kind is WaitKind.LEFT
    assert "no step of the name 'charge' is registered" in wait.text


# -- ended -----------------------------------------------------------------------------------------------------


def test_a_completed_run_shows_its_value() -> None:
    shop = Shop()
    handle = shop.start(empty)

    shop.settle()
    explanation = handle.explain()

    assert explanation.status is Status.COMPLETED
    assert explanation.waits == explanation.ways_out == ()
    assert 'its value is "done"' in str(explanation)


def test_a_compensated_run_shows_its_cause_and_what_was_undone() -> None:
    shop = Shop()
    handle = shop.start(failing, "a")

    shop.settle()
    explanation = handle.explain()

    assert explanation.status is Status.COMPENSATED
    assert explanation.undone == ("retract", "charge")
    assert "ValueError: boom; undone: retract, charge" in str(explanation)


def test_a_terminated_run_says_that_nothing_was_undone() -> None:
    shop = Shop()
    handle = shop.start(sleeper)
    shop.rest()

    handle.terminate("enough")
    explanation = handle.explain()

    assert explanation.status is Status.TERMINATED
    assert "WorkflowTerminated: enough; it was stopped where it stood" in str(explanation)


def test_a_cancelled_run_shows_the_reason() -> None:
    shop = Shop()
    handle = shop.start(sleeper)
    shop.rest()

    handle.cancel("no longer wanted")
    shop.settle()
    explanation = handle.explain()

    assert explanation.status is Status.CANCELLED
    assert "no longer wanted; undone: nothing" in str(explanation)


# -- what must not be ------------------------------------------------------------------------------------------


def test_a_run_that_nobody_owes_anything_is_not_passed_over_in_silence() -> None:
    shop = Shop()
    handle = shop.start(plain.options(id="p"), "a")
    shop.other_worker()
    held = shop.hold(handle)

    shop.write(
        Commit(
            run_id=handle._run_id, worker=OTHER, epoch=held.live.epoch, head=None, release=Release(awaiting=1)
        )
    )
    wait = only(handle.explain())

    assert wait.kind is WaitKind.NOTHING
    assert "please report it" in wait.text
    assert wait.ways_out == ("have it looked at: qwit pause p && qwit resume p",)


def test_a_delayed_run_whose_timer_is_gone_is_not_passed_over_in_silence() -> None:
    store = MemoryStore(clock := ManualClock())
    shop = Shop(store=store, clock=clock)
    handle = shop.start(plain.options(id="p", delay=timedelta(hours=1)), "a")

    store._rows.timer.clear()
    wait = only(handle.explain())

    assert wait.kind is WaitKind.NOTHING
    assert wait.ways_out == ("end it, and start it anew: qwit terminate p",)


def test_of_very_many_waits_only_the_first_are_written_out() -> None:
    shop = Shop()
    handle = shop.start(crowd)

    shop.rest()
    explanation = handle.explain()

    assert len(explanation.waits) == 50
    assert "… and for 30 more" in str(explanation)


def test_of_very_many_sub_workflows_the_stuck_ones_are_explained_and_of_the_others_the_status_is_told() -> (
    None
):
    shop = Shop()
    broken.add("refund")
    handle = shop.start(big_family)

    shop.settle(until=shop.clock.now() + timedelta(minutes=1))
    explanation = handle.explain()
    explained = [wait.child for wait in explanation.waits if wait.child is not None]

    assert len(explanation.waits) == 25
    assert len(explained) == 20
    assert explanation.stuck is not None
    assert explanation.stuck.workflow == "failing"
    assert "running) at 0.20, which has not ended" in explanation.waits[20].text
    assert "OSError: refund is broken" in str(explanation)


@workflow
def big_family() -> Workflow[None]:
    yield from gather(*(sleeper() for _ in range(24)), failing("a"))


@workflow
def crowd() -> Workflow[None]:
    yield from gather(*(sleep(timedelta(hours=1)) for _ in range(50)))
