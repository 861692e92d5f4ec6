"""An existing Dramatiq actor is a step of a workflow, on the same broker and under its own name."""

from __future__ import annotations

import threading
from datetime import timedelta

import dramatiq
import pytest
from dramatiq.brokers.redis import RedisBroker

from qwit_durable import Durable, Retry, Workflow, gather, step, workflow
from qwit_durable.broker.middleware import BootFailed

AT_ONCE = Retry(max_attempts=3, first=timedelta(0))


@pytest.fixture
def broker(redis_url):
    found = RedisBroker(url=redis_url)
    yield found
    found.close()


def test_an_actor_is_a_step_and_still_follows_its_own_messages(broker, tmp_path):
    calls: list[tuple[str, str]] = []
    sent = threading.Event()

    def send_mail(to: str, text: str = "hello") -> str:
        calls.append((to, text))
        if text == "plain":
            sent.set()
        if text == "flaky" and len([call for call in calls if call == (to, text)]) < 3:
            raise OSError
        return f"mail to {to}"

    actor = dramatiq.actor(send_mail, broker=broker, max_retries=0, time_limit=50, priority=7)
    mail = step(actor, retry=AT_ONCE)

    @workflow
    def mailing() -> Workflow[list[str]]:
        one = yield from mail("Ann")
        two, three = yield from gather(mail("Bob"), mail("Cid", "flaky"))
        return [one, two, three]

    durable = Durable(f"sqlite:///{tmp_path}/qwit.db")
    broker.add_middleware(durable)
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=2)
    worker.start()
    try:
        result = durable.start(mailing).result(timeout=30)
        actor.send("Dan", text="plain")
        has_come = sent.wait(10)
    finally:
        worker.stop()
        durable.close()

    assert result == ["mail to Ann", "mail to Bob", "mail to Cid"]
    assert has_come
    assert sorted(calls) == [
        ("Ann", "hello"),
        ("Bob", "hello"),
        *[("Cid", "flaky")] * 3,
        ("Dan", "plain"),
    ]
    assert actor("Eve") == "mail to Eve"


def test_another_actor_of_the_same_name_is_refused(broker, tmp_path):
    @step(name="taken")
    def mine() -> None: ...

    dramatiq.actor(lambda: None, broker=broker, actor_name="taken")
    durable = Durable(f"sqlite:///{tmp_path}/qwit.db")
    broker.add_middleware(durable)
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=1)

    with pytest.raises(BootFailed, match="one of that name is declared there already"):
        worker.start()

    durable.close()
    assert mine.name == "taken"
