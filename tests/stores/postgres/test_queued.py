"""The two writes of a queued step on Postgres: a statement each, and what the kernel says they mean."""

from __future__ import annotations

import re
from typing import Any

import attrs
import psycopg
import pytest

from qwit_durable.core import Kind, OperatorActed, Scheduled, SignalReceived, Value, Verb
from qwit_durable.stores.answers import Accepted, Claimed
from qwit_durable.stores.postgres import PostgresStore, hot
from qwit_durable.stores.postgres.hot.prepared import Prepared
from qwit_durable.stores.writes import Acquire, Claim, Commit, Deliver, Release, ResolveTask, Write
from qwit_durable.testing.contract.stage import LEASE, Hold, Stage, failed, resolved, task

WORKER = 5


def _claim(hold: Hold, position: str) -> Claim:
    return Claim(run_id=hold.id, position=position, worker=WORKER, lease=LEASE)


def _resolve(hold: Hold, position: str, *, after: int | None = 0, fails: bool = False) -> ResolveTask:
    event = failed(position) if fails else resolved(position)
    turn = None if after is None else Acquire(run_id=hold.id, worker=WORKER, after=after)
    return ResolveTask(worker=WORKER, run_id=hold.id, attempt=1, event=event, lets_none=True, turn=turn)


def _hand_over(hold: Hold, *positions: str, awaiting: int = 1) -> Commit:
    return Commit(
        run_id=hold.id,
        worker=1,
        epoch=1,
        head=hold.head,
        tasks=tuple(map(task, positions)),
        release=Release(awaiting=awaiting),
    )


def _no_kernel(*_: object) -> None:
    raise AssertionError("the kernel was asked")


def test_each_write_of_a_queued_step_is_one_round_trip_for_all_runs(
    stage: Stage, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
):
    holds = [stage.begin() for _ in range(8)]
    trips: list[int] = []
    ask = Prepared.ask
    monkeypatch.setattr(
        Prepared, "ask", lambda link, asked, **how: trips.append(len(asked)) or ask(link, asked, **how)
    )
    monkeypatch.setattr(PostgresStore, "_transact", _no_kernel)

    store.apply([_hand_over(hold, "0") for hold in holds])
    claimed = store.apply([_claim(hold, "0") for hold in holds])
    done: list[Any] = list(store.apply([_resolve(hold, "0") for hold in holds]))

    assert len(trips) == 3
    assert all(isinstance(answer, Claimed) for answer in claimed)
    assert [answer.acquired.events for answer in done] == [(resolved("0"),)] * 8


def test_the_members_of_a_fan_out_share_a_round_trip(
    stage: Stage, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
):
    hold = stage.begin()
    positions = [f"0.{member}" for member in range(50)]
    store.apply([_hand_over(hold, *positions, "0.50", awaiting=50)])
    monkeypatch.setattr(PostgresStore, "_transact", _no_kernel)

    store.apply([_claim(hold, position) for position in positions])
    store.apply([_claim(hold, "0.50"), *(_resolve(hold, position) for position in positions[:25])])
    done: list[Any] = list(store.apply([_resolve(hold, position) for position in positions[25:]]))

    assert [answer.head for answer in done] == list(range(26, 51))
    assert [answer.acquired is not None for answer in done] == [False] * 24 + [True]
    assert done[-1].acquired.events == tuple(map(resolved, positions))
    assert list(stage.tasks(hold.id)) == ["0.50"]


def test_a_member_of_a_fan_out_is_found_without_reading_the_others(stage: Stage, store: PostgresStore):
    hold = stage.begin()
    positions = [f"0.{member}" for member in range(200)]
    store.apply([_hand_over(hold, *positions, awaiting=201)])

    for position in positions:
        store.apply([_claim(hold, position)])
        store.apply([_resolve(hold, position)])
    store.close()

    read = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), sum(n_tup_del) FROM pg_stat_user_tables"
    with psycopg.connect(store.url, autocommit=True) as connection:
        told = 0
        while told < len(positions):  # sessions tell when they end
            found, told = connection.execute(f"{read} WHERE relname IN ('task', 'event')").fetchone() or (
                0,
                0,
            )
    assert found < 10 * len(positions)


def test_a_long_history_comes_with_the_turn_too(stage: Stage, store: PostgresStore):
    hold = stage.begin()
    past = [resolved(f"{number}") for number in range(300)]
    hold.committed(*past)
    hold.release(tasks=(task("300"),))
    stage.claimed(hold.id, "300", worker=WORKER)

    answer: Any = stage.do(_resolve(hold, "300"))

    assert answer.acquired.events == (*past, resolved("300"))


def test_they_mean_what_the_kernel_says(stage: Stage, store: PostgresStore, monkeypatch: pytest.MonkeyPatch):
    def play(*, is_hot: bool) -> str:
        if not is_hot:
            monkeypatch.setattr(hot.HotWrites, "carry_out", lambda _, __, writes, ___: [None] * len(writes))
        alone, owed, failing, told, held, lost = (stage.begin() for _ in range(6))
        answers = [store.apply(batch) for batch in _batches(alone, owed, failing, told, held, lost)]
        ids = [hold.id for hold in (alone, owed, failing, told, held, lost)]
        rows = [(store.view(run_id), list(store.history(run_id)), store.tasks(run_id)) for run_id in ids]
        text = repr((answers, rows))
        for nth, run_id in enumerate(ids):
            text = text.replace(str(run_id), f"run {nth}")
        return re.sub(r"order-\d+", "order", text)

    assert play(is_hot=True) == play(is_hot=False)


def _go_on(
    hold: Hold,
    position: str,
    *positions: str,
    head: int | None = None,
    fails: bool = False,
    begins: bool = False,
) -> ResolveTask:
    """An outcome, and the whole turn that follows."""
    new = {"attempt": 1, "quiet": LEASE} if begins else {}
    then = Commit(
        run_id=hold.id,
        worker=WORKER,
        epoch=0,
        head=(hold.head if head is None else head) + 1,
        events=tuple(
            Scheduled(position=position, kind=Kind.STEP, name="s", queued=True) for position in positions
        ),
        tasks=tuple(task(position, **new) for position in positions),
        release=Release(awaiting=max(len(positions), 1), note=None if positions else "nothing to do"),
    )
    return attrs.evolve(_resolve(hold, position, fails=fails), then=then)


def test_outcomes_and_all_that_follows_share_a_round_trip_with_the_claims_of_others(
    stage: Stage, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
):
    holds, others = [stage.begin() for _ in range(4)], [stage.begin() for _ in range(4)]
    store.apply([_hand_over(hold, "0") for hold in [*holds, *others]])
    store.apply([_claim(hold, "0") for hold in holds])
    trips: list[int] = []
    ask = Prepared.ask
    monkeypatch.setattr(
        Prepared, "ask", lambda link, asked, **how: trips.append(len(asked)) or ask(link, asked, **how)
    )
    monkeypatch.setattr(PostgresStore, "_transact", _no_kernel)

    answers: list[Any] = list(
        store.apply([*(_go_on(hold, "0", "1") for hold in holds), *(_claim(hold, "0") for hold in others)])
    )

    assert len(trips) == 1
    assert [ring.position for answer in answers[:4] for ring in answer.committed.rings] == ["1"] * 4
    assert all(isinstance(answer, Claimed) for answer in answers[4:])
    assert [(live.owner, live.head) for live in map(stage.live, [hold.id for hold in holds])] == [
        (None, 2)
    ] * 4


def test_turns_that_come_with_outcomes_mean_what_the_kernel_says(
    stage: Stage, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
):
    def play(*, is_hot: bool) -> str:
        if not is_hot:
            monkeypatch.setattr(hot.HotWrites, "carry_out", lambda _, __, writes, ___: [None] * len(writes))
        holds = [stage.begin() for _ in range(8)]
        plain, failing, owed, grown, held, again, many, stuck = holds
        batches: list[list[Write]] = [
            [_hand_over(hold, "0") for hold in (plain, failing, owed, grown, again)],
            [
                Commit(run_id=held.id, worker=1, epoch=1, head=0, tasks=(task("0"),)),
                _hand_over(many, "0", "1", awaiting=2),
                _hand_over(stuck, "0"),
            ],
            [_claim(hold, "0") for hold in holds],
            [attrs.evolve(_claim(hold, "1"), turn=Acquire(run_id=hold.id, worker=WORKER)) for hold in holds],
            [
                Deliver(run_id=grown.id, event=SignalReceived(name="go", dedupe_id="1")),
                Deliver(run_id=stuck.id, event=OperatorActed(verb=Verb.PAUSE)),
            ],
            [
                _go_on(plain, "0", "1", "2"),
                _go_on(failing, "0", "1", fails=True, begins=True),
                _go_on(owed, "0"),
                _go_on(grown, "0", "1"),
                _go_on(held, "0", "1"),
                _go_on(again, "0", "0"),
                _go_on(many, "0", "2"),
                _go_on(stuck, "0", "1"),
            ],
            [
                attrs.evolve(_claim(hold, position), turn=Acquire(run_id=hold.id, worker=WORKER, after=1))
                for hold in holds
                for position in ("0", "1", "2")
            ],
            [
                _go_on(plain, "0", "3", begins=True),
                _go_on(plain, "1", "3", head=3),
                _go_on(failing, "1", "4", head=2),
            ],
        ]
        answers = [store.apply(batch) for batch in batches]
        rows = [(store.view(hold.id), list(store.history(hold.id)), store.tasks(hold.id)) for hold in holds]
        text = repr((answers, rows))
        for nth, hold in enumerate(holds):
            text = text.replace(str(hold.id), f"run {nth}")
        return re.sub(r"order-\d+", "order", text)

    assert play(is_hot=True) == play(is_hot=False)


def _batches(*holds: Hold) -> list[list[Write]]:
    alone, owed, failing, told, held, lost = holds
    return [
        [
            _hand_over(alone, "0"),
            _hand_over(owed, "0", "1", "2", awaiting=2),
            _hand_over(failing, "0", "1", "2", awaiting=3),
            _hand_over(told, "0"),
            Commit(run_id=held.id, worker=1, epoch=1, head=0, tasks=(task("0", priority=3),)),
            _hand_over(lost, "0"),
            Commit(run_id=lost.id, worker=1, epoch=7, head=0, release=Release()),
        ],
        [_claim(hold, position) for hold in holds for position in ("0", "1", "2", "0")],
        [
            _resolve(alone, "0"),
            _resolve(owed, "0"),
            _resolve(owed, "1"),
            _resolve(owed, "2"),
            _resolve(failing, "0", after=None),
            _resolve(failing, "1", after=None, fails=True),
            _resolve(failing, "2", after=None),
            _resolve(held, "0"),
            ResolveTask(worker=9, run_id=lost.id, attempt=1, event=resolved("0"), lets_none=True),
        ],
        [_resolve(told, "0", after=None), _claim(told, "0"), _resolve(alone, "0")],
    ]


def test_an_outcome_is_not_lost_where_the_kernel_has_to_look(stage: Stage, store: PostgresStore):
    hold = stage.begin()
    store.apply([_hand_over(hold, "0", "1", awaiting=2)])
    store.apply([_claim(hold, "0"), _claim(hold, "1")])
    told = ResolveTask(worker=WORKER, run_id=hold.id, attempt=1, event=resolved("0", Value(b"1")))

    answers = store.apply([_resolve(hold, "1"), told])

    assert [isinstance(answer, Accepted) for answer in answers] == [True, True]
    assert len(stage.events(hold.id)) == 2
