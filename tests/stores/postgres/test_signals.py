"""Signals on Postgres: a statement for all runs of a batch, and what the kernel says it means."""

from __future__ import annotations

import re

import pytest

from qwit_durable.core import SignalReceived, Status, Verb
from qwit_durable.stores.answers import Accepted
from qwit_durable.stores.postgres import PostgresStore, hot
from qwit_durable.stores.reasons import Reason
from qwit_durable.stores.writes import Deliver, Release
from qwit_durable.testing.contract.stage import Stage, seconds


def _no_kernel(*_: object) -> None:
    raise AssertionError("the kernel was asked")


def test_signals_for_several_runs_are_one_statement(
    stage: Stage, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
):
    holds = [stage.begin() for _ in range(4)]
    for hold in holds[1:]:
        hold.release()
    monkeypatch.setattr(PostgresStore, "_transact", _no_kernel)

    answers = store.apply(
        [
            Deliver(run_id=hold.id, event=SignalReceived(name="go", dedupe_id=dedupe), ring_after=seconds(2))
            for hold, dedupe in zip(holds, (None, None, "1", "1"), strict=True)
        ]
    )

    assert [len(answer.rings) for answer in answers if isinstance(answer, Accepted)] == [0, 1, 1, 1]
    assert [stage.events(hold.id)[0] for hold in holds[:2]] == [SignalReceived(name="go")] * 2


def test_signals_mean_what_the_kernel_says(
    stage: Stage, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
):
    def play(*, is_hot: bool) -> str:
        if not is_hot:
            monkeypatch.setattr(hot.HotWrites, "carry_out", lambda _, __, writes, ___: [None] * len(writes))
        began = stage.clock.now()
        holds = [stage.begin() for _ in range(8)]
        held, waiting, paused, stuck, ended, repeated, put_off, ringing = holds
        waiting.release(awaiting=3)
        stage.operate(paused.id, Verb.PAUSE)
        reason = Reason(kind="undo", text="it gave up").encode()
        stuck.committed(status=Status.STUCK, reason=reason, release=Release())
        ended.end()
        put_off.release(awaiting=1)
        stage.hold(put_off.id).committed(release=Release(wake_at=stage.clock.now() + seconds(60)))
        ringing.release()
        scheduled = stage.start(row=stage.row(), delay=seconds(9)).run.id
        ids = [*(hold.id for hold in holds), scheduled]
        batch = [
            Deliver(
                run_id=run_id,
                event=SignalReceived(name="go", value=b"1", dedupe_id="1" if run_id == repeated.id else None),
                ring_after=seconds(2),
            )
            for run_id in (*ids, held.id)
        ]
        answers = []
        for pause in (0, 1, 0.9, 3):
            stage.wait(pause)
            answers.append(store.apply(batch))
        rows = [(store.view(run_id), list(store.history(run_id)), store.tasks(run_id)) for run_id in ids]
        dues = [
            (task.ready_at - began, task.ring_at - began) for run_id in ids for task in store.tasks(run_id)
        ]
        text = repr((answers, rows, dues))
        for nth, run_id in enumerate(ids):
            text = text.replace(str(run_id), f"run {nth}")
        return re.sub(r"datetime\.datetime\([^)]*\)", "", text)

    assert play(is_hot=True) == play(is_hot=False)
