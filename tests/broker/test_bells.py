"""Bells as messages: how many there are, what they say, and what becomes of wrong ones."""

from __future__ import annotations

import threading
from datetime import timedelta
from uuid import uuid4

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from qwit_durable import Durable, Workflow, step, workflow
from qwit_durable.broker.bells import MOST_RUNS, BrokerBells
from qwit_durable.broker.local import LocalBroker
from qwit_durable.ids import parse_run_id
from qwit_durable.stores.rows import TURN, Ring

_PATIENCE_SECONDS = 20.0
all_began = threading.Event()
begun: list[int] = []


@step
def meet(number: int, of: int) -> int:
    begun.append(number)
    if len(begun) == of:
        all_began.set()
    assert number or all_began.wait(_PATIENCE_SECONDS)
    return number


@workflow
def meeting(number: int, of: int) -> Workflow[int]:
    return (yield from meet(number, of))


@step
def look() -> bool:
    return bool(begun)


@workflow
def looking() -> Workflow[None]:
    while not (yield from look()):
        pass


@pytest.fixture(autouse=True)
def _fresh() -> None:
    all_began.clear()
    begun.clear()


@pytest.fixture
def local():
    broker = LocalBroker()
    broker.declare_queue("default")
    broker.declare_queue("other")
    return broker


@pytest.fixture
def stub():
    """A stub broker with a `Durable` on it."""
    broker = StubBroker(middleware=[])
    durable = Durable("memory://", time_slice=timedelta(milliseconds=20))
    broker.add_middleware(durable)
    broker.declare_queue("default")
    durable.on_broker(broker)
    yield broker, durable
    durable.close()
    broker.close()


def turn(queue: str = "default") -> Ring:
    return Ring(run_id=uuid4(), position=TURN, queue=queue, name="any")


def rung(broker: LocalBroker, rings: list[Ring], *alike: str) -> list[dramatiq.Message[object]]:
    BrokerBells(lambda: broker, {}).ring(rings, alike=frozenset(alike))
    return [queue.get_nowait() for queue in broker.queues.values() for _ in range(queue.qsize())]


def ids_in(message: dramatiq.Message[object]) -> list[str]:
    first = message.args[0]
    return first if isinstance(first, list) else [first]


@pytest.mark.parametrize(
    ("runs", "messages"), [(0, 0), (1, 1), (32, 32), (33, 17), (500, 32), (2048, 32), (6400, 100)]
)
def test_few_runs_have_a_message_each_and_many_share_them(local, runs, messages):
    rings = [turn() for _ in range(runs)]

    found = rung(local, rings)

    assert len(found) == messages
    assert [one for message in found for one in ids_in(message)] == [ring.run_id.hex for ring in rings]
    assert all(len(ids_in(message)) <= MOST_RUNS for message in found)


def test_a_message_asks_for_runs_of_its_own_queue_and_for_one_step(local):
    here, there = [turn() for _ in range(100)], [turn("other") for _ in range(100)]
    steps = [Ring(run_id=uuid4(), position="3", queue="other", name="charge") for _ in range(5)]

    found = rung(
        local,
        [ring for three in zip(here, there, steps, strict=False) for ring in three] + here[5:] + there[5:],
    )

    turns = [message for message in found if message.actor_name == "qwit.turn"]
    assert {one for message in turns if message.queue_name == "other" for one in ids_in(message)} == {
        ring.run_id.hex for ring in there
    }
    assert {message.args[1] for message in turns if message.queue_name == "default"} == {"default"}
    assert [message.args for message in found if message.actor_name == "charge"] == [
        (f"qwit:{ring.run_id.hex}", "3") for ring in steps
    ]


def test_a_bell_for_one_run_is_the_one_that_every_version_follows(local):
    ring = turn()

    found = rung(local, [ring])

    assert found[0].args == (ring.run_id.hex,)


def steps(count: int, name: str = "charge", queue: str = "default") -> list[Ring]:
    return [Ring(run_id=uuid4(), position="3", queue=queue, name=name) for _ in range(count)]


def tasks_in(message: dramatiq.Message[object]) -> list[tuple[str, str]]:
    match message.args:
        case (str(text), str(position)):
            return [(text.removeprefix("qwit:"), position)]
        case (_, list(tasks), _):
            return tasks
        case _:
            return []


@pytest.mark.parametrize(("count", "messages"), [(1, 1), (2, 2), (3, 2), (8, 2), (16, 2), (17, 3), (64, 8)])
def test_quick_steps_of_one_name_share_messages(local, count, messages):
    rings = steps(count)

    found = rung(local, rings, "charge")

    assert len(found) == messages
    assert [task for message in found for task in tasks_in(message)] == [
        (ring.run_id.hex, "3") for ring in rings
    ]


def test_steps_of_another_name_or_queue_have_messages_of_their_own(local):
    quick, slow, elsewhere = steps(4), steps(4, "ship"), steps(4, queue="other")

    found = rung(local, [*quick, *slow, *elsewhere], "charge")

    told = [(message.actor_name, message.queue_name, len(tasks_in(message))) for message in found]
    assert told == [
        *[("charge", "default", 2)] * 2,
        *[("ship", "default", 1)] * 4,
        *[("charge", "other", 2)] * 2,
    ]


class Seeing(dramatiq.Middleware):
    """Somebody else's."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        del broker
        if message.actor_name == "note-thread":
            self.seen.append(threading.get_ident())


def test_where_others_see_messages_each_step_has_its_own(local):
    local.add_middleware(Seeing())

    found = rung(local, steps(16), "charge")

    assert len(found) == 16


noted: list[int] = []


@step(name="note-thread", dispatch="queue")
def note_thread(number: int) -> int:
    noted.append(threading.get_ident())
    return number


@workflow
def noting(count: int) -> Workflow[None]:
    for number in range(count):
        yield from note_thread(number)


def test_a_step_is_made_by_the_thread_that_others_have_prepared_for_it(stub):
    broker, durable = stub
    seeing = Seeing()
    broker.add_middleware(seeing)
    noted.clear()
    handles = [durable.start(noting, 20) for _ in range(4)]
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=4)
    worker.start()
    try:
        for handle in handles:
            handle.result(timeout=_PATIENCE_SECONDS)
    finally:
        worker.stop()

    assert len(seeing.seen) == 80
    assert sorted(noted) == sorted(seeing.seen)


def test_a_shared_bell_of_steps_is_followed_and_a_wrong_one_dropped_with_a_word(stub, caplog):
    broker, durable = stub
    handles = [durable.start(noting, 1) for _ in range(3)]
    first = dramatiq.Worker(broker, worker_timeout=50, worker_threads=1)
    first.start()
    ids = [handle.run().run_id.hex for handle in handles]
    stranger = uuid4().hex
    told = [[run_id, "0"] for run_id in [*ids, *ids, stranger]]
    wrong = [
        ("qwit:", [], "default"),
        ("qwit:", told, 7),
        ("qwit:", told * 2, "default"),
        ("qwit:", [[ids[0]]], "default"),
        ("qwit:", [["no id", "0"]], "default"),
        ("qwit:", "no list", "default"),
    ]
    try:
        for args in [*wrong, ("qwit:", told, "default")]:
            message = dramatiq.Message(
                queue_name="default", actor_name="note-thread", args=args, kwargs={}, options={}
            )
            broker.enqueue(message)
        results = [handle.result(timeout=_PATIENCE_SECONDS) for handle in handles]
        broker.join("default")
    finally:
        first.stop()

    assert results == [None] * 3
    dropped = [record for record in caplog.records if "is no bell of a workflow" in record.message]
    assert len(dropped) == len(wrong)


def test_nobody_is_held_up_by_the_run_before_it(stub):
    """The first of all runs goes on only when the last has begun, and there are more runs than messages and threads."""
    broker, durable = stub
    count = 100
    handles = [durable.start(meeting, number, count) for number in range(count)]
    broker.flush_all()
    rings = [
        Ring(run_id=handle.run().run_id, position=TURN, queue="default", name="meeting") for handle in handles
    ]
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=2)

    durable.ring(rings)
    worker.start()
    try:
        results = [handle.result(timeout=_PATIENCE_SECONDS) for handle in handles]
    finally:
        worker.stop()

    assert results == list(range(count))
    assert sorted(begun) == results


def test_a_run_without_end_leaves_the_only_thread_to_those_on_the_same_bell(stub):
    broker, durable = stub
    endless, short = durable.start(looking), durable.start(meeting, 1, 2)
    broker.flush_all()
    ids = [handle.run().run_id.hex for handle in (endless, short)]
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=1)

    broker.enqueue(
        dramatiq.Message(
            queue_name="default", actor_name="qwit.turn", args=(ids, "default"), kwargs={}, options={}
        )
    )
    worker.start()
    try:
        results = [handle.result(timeout=_PATIENCE_SECONDS) for handle in (short, endless)]
    finally:
        worker.stop()

    assert results == [1, None]


def test_wrong_bells_are_dropped_with_a_word_and_right_ones_followed(stub, caplog):
    broker, durable = stub
    handles = [durable.start(meeting, number, 3) for number in range(1, 4)]
    ids = [handle.run().run_id.hex for handle in handles]
    broker.flush_all()
    stranger = uuid4().hex
    wrong = [
        (),
        ("no id",),
        (7,),
        (ids,),
        (ids, "no such queue"),
        (ids, 7),
        ([], "default"),
        ([*ids, "no id"], "default"),
        ([*ids, None], "default"),
        ([uuid4().hex] * (MOST_RUNS + 1), "default"),
        (stranger, "0", "more"),
        ({"a": 1}, []),
    ]
    right = [(stranger,), ([stranger, ids[0], ids[0]], "default"), (ids[1],), ([ids[2]], "default")]
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=1)
    worker.start()
    try:
        for args in [*wrong, *right]:
            broker.enqueue(
                dramatiq.Message(
                    queue_name="default", actor_name="qwit.turn", args=args, kwargs={}, options={}
                )
            )
        results = [handle.result(timeout=_PATIENCE_SECONDS) for handle in handles]
    finally:
        worker.stop()

    dropped = [record for record in caplog.records if "is no bell of a workflow" in record.message]
    assert results == [1, 2, 3]
    assert begun == [1, 2, 3]
    assert len(dropped) == len(wrong)
    assert not [record for record in caplog.records if record.exc_info]
    assert all(parse_run_id(one) for one in ids)
