"""Messages of steps that stay in their process: whoever follows messages sees them as those of the broker."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import dramatiq
import pytest
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import CurrentMessage, Middleware, SkipMessage
from dramatiq.worker import ConsumerThread

from qwit_durable import Durable, Workflow, step, workflow
from qwit_durable.broker.actors import declare_step
from qwit_durable.broker.bells import BrokerBells, is_bell
from qwit_durable.broker.kept import ahead, has_room

_STEPS = 60
seen_within: list[str | None] = []


@step(dispatch="queue")
def count_up(number: int) -> int:
    message = CurrentMessage.get_current_message()
    seen_within.append(None if message is None else message.actor_name)
    return number + 1


@workflow
def counting(steps: int) -> Workflow[int]:
    number = 0
    for _ in range(steps):
        number = yield from count_up(number)
    return number


class Following(Middleware):
    """Takes down what becomes of the messages of steps."""

    def __init__(self, skips: int = 0) -> None:
        self.told: Counter[str] = Counter()
        self.ids: set[str] = set()
        self._skips = skips
        self._lock = threading.Lock()

    def _tell(self, what: str, message: dramatiq.MessageProxy | dramatiq.Message[None]) -> None:
        if message.actor_name == "count_up":
            with self._lock:
                self.told[what] += 1
                self.ids.add(message.message_id)

    def before_enqueue(self, broker, message, delay):
        assert delay is None
        message.options["told"] = "by a middleware"
        self._tell("before_enqueue", message)

    def after_enqueue(self, broker, message, delay):
        self._tell("after_enqueue", message)

    def before_process_message(self, broker, message):
        if message.actor_name == "count_up":
            assert is_bell(message)
            assert message.options["told"] == "by a middleware"
            self._tell("before_process", message)
            with self._lock:
                skips = self._skips > 0 and self.told["before_process"] > _STEPS // 2
                self._skips -= skips
            if skips:
                raise SkipMessage

    def after_process_message(self, broker, message, *, result=None, exception=None):
        assert exception is None
        self._tell("after_process", message)

    def before_ack(self, broker, message):
        self._tell("before_ack", message)

    def after_ack(self, broker, message):
        self._tell("after_ack", message)


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request):
    url = request.getfixturevalue(f"{request.param}_url")
    found = RedisBroker(url=url) if request.param == "redis" else RabbitmqBroker(url=url)
    yield found
    found.close()


@contextmanager
def working(broker: dramatiq.Broker, url: str, *middleware: Middleware) -> Iterator[Durable]:
    for one in middleware:
        broker.add_middleware(one)
    durable = Durable(url)
    broker.add_middleware(durable)
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=2)
    worker.start()
    try:
        yield durable
    finally:
        worker.stop()
        durable.close()


@pytest.fixture(autouse=True)
def _afresh():
    seen_within.clear()


def test_each_step_has_a_message_that_a_middleware_sees_from_one_end_to_the_other(broker, tmp_path):
    following = Following()
    with working(broker, f"sqlite:///{tmp_path}/qwit.db", following, CurrentMessage()) as durable:
        result = durable.start(counting, _STEPS).result(timeout=60)

    assert result == _STEPS
    assert seen_within == ["count_up"] * _STEPS
    stages = ("enqueue", "process", "ack")
    assert following.told == {f"{when}_{what}": _STEPS for when in ("before", "after") for what in stages}
    assert len(following.ids) == _STEPS


def test_few_of_the_messages_of_quick_steps_go_over_the_broker(redis_url, tmp_path):
    broker = RedisBroker(url=redis_url)
    sent: list[object] = []
    enqueue = broker.do_enqueue
    broker.__dict__["do_enqueue"] = lambda *given: sent.append(given) or enqueue(*given)
    try:
        with working(broker, f"sqlite:///{tmp_path}/qwit.db", Following()) as durable:
            durable.start(counting, 10 * _STEPS).result(timeout=60)
    finally:
        broker.close()

    assert len(seen_within) == 10 * _STEPS
    assert len(sent) < 2 * _STEPS


def test_a_step_whose_message_a_middleware_skips_comes_again_and_is_made_once(redis_url, tmp_path):
    broker = RedisBroker(url=redis_url)
    following = Following(skips=2)
    try:
        with working(broker, f"sqlite:///{tmp_path}/qwit.db", following) as durable:
            result = durable.start(counting, _STEPS).result(timeout=60)
    finally:
        broker.close()

    assert result == _STEPS
    assert len(seen_within) == _STEPS
    assert following.told["before_process"] > following.told["after_process"] == _STEPS


def test_workers_that_stop_in_the_midst_lose_no_step_and_make_none_twice(redis_url, tmp_path):
    broker = RedisBroker(url=redis_url)
    broker.add_middleware(Following())
    durable = Durable(f"sqlite:///{tmp_path}/qwit.db")
    broker.add_middleware(durable)
    handle = durable.start(counting, 20 * _STEPS)
    try:
        for made in (0, 200, 400, 600, 20 * _STEPS):
            worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=1)
            worker.start()
            while len(seen_within) < made:
                threading.Event().wait(0.001)
            worker.stop()
    finally:
        durable.close()
        broker.close()

    assert handle.status() == "running" or handle.result(0) == 20 * _STEPS
    assert len(seen_within) == 20 * _STEPS


def test_a_message_may_be_left_out_only_where_nobody_but_dramatiq_sees_it(redis_url):
    plain, followed = RedisBroker(url=redis_url), RedisBroker(url=redis_url)
    followed.add_middleware(Following())
    theirs = step(dramatiq.actor(lambda: None, broker=plain, actor_name="theirs"), name="theirs")
    declare_step(plain, "default", count_up, lambda *_: None)
    declare_step(plain, "default", theirs, lambda *_: None)
    bells = BrokerBells(lambda: plain, {"followed": followed})

    seen = [
        bells.is_seen(*each)
        for each in (("default", "count_up"), ("default", "theirs"), ("followed", "count_up"))
    ]

    assert seen == [False, True, True]
    plain.close()
    followed.close()


def test_only_what_goes_before_a_step_takes_its_room(redis_url):
    broker = RedisBroker(url=redis_url, middleware=[])
    for name, priority in (("urgent", -5), ("usual", 0), ("calm", 50)):
        dramatiq.actor(lambda: None, broker=broker, actor_name=name, priority=priority)
    worker = dramatiq.Worker(broker, worker_threads=1)
    thread = ConsumerThread(
        broker=broker, queue_name="default", prefetch=1, work_queue=worker.work_queue, worker_timeout=1
    )
    for name in ("usual", "calm"):
        message = dramatiq.Message(queue_name="default", actor_name=name, args=(), kwargs={}, options={})
        thread.handle_message(dramatiq.MessageProxy(message))

    before = {name: sorted(ahead(worker, name)) for name in ("urgent", "usual", "calm")}

    assert before == {"urgent": [], "usual": ["usual"], "calm": ["calm", "usual"]}
    assert has_room(worker, "urgent", lambda _: False)
    assert not has_room(worker, "usual", lambda _: False)
    assert has_room(worker, "calm", lambda _: True)
    broker.close()
