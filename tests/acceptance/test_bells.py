"""A bell says "look there" and nothing else: whoever rings, whatever it says, no outcome changes."""

from __future__ import annotations

import uuid

from tests.acceptance import work
from tests.acceptance.checks import approve, assert_nothing_is_left, assert_recorded_once, result


def test_forged_repeated_and_malformed_bells_harm_nothing(store_url, redis_url, open_application, ledger):
    application, workers = open_application(APP_STORE=store_url, APP_REDIS=redis_url)
    group = workers.start(processes=2, threads=4)
    workers.until(lambda: len(application.durable.reader.workers()) == 2, "both processes are there")
    processes = group.pids
    handles = [application.durable.start(work.checkout, f"order {n}") for n in range(4)]
    ids = [handle.run().run_id.hex for handle in handles]

    def ring_wrongly() -> None:
        stranger = uuid.uuid4().hex
        for run_id in (*ids, *ids, stranger):
            application.send("default", "qwit.turn", run_id)
            for position in (
                "",
                "0",
                "2",
                "4.0.0",
                "~0",
                "99.1",
                "no position",
                "'; drop table run; --",
                "nul\0",
            ):
                application.send("default", "charge", run_id, position)
                application.send("mail", "reserve", run_id, position)
        for arguments in (
            ([*ids, stranger, *ids], "default"),
            ([*ids], "no queue"),
            (ids,),
            ([*ids, "no id"], "default"),
        ):
            application.send("default", "qwit.turn", *arguments)
        for arguments in ((), ("not an id",), (7,), (None, None), (stranger, "0", "more"), ({"a": 1}, [])):
            application.send("default", "qwit.turn", *arguments)
            application.send("default", "pack", *arguments)

    ring_wrongly()
    workers.until(lambda: ledger.count("effect") > 4, "work goes on")
    ring_wrongly()
    for handle in handles:
        approve(handle)
    ring_wrongly()

    for n, handle in enumerate(handles):
        assert result(workers, handle) == f"order {n}: 6 items, approved by Ann, order {n} book"
    ring_wrongly()
    assert result(workers, application.durable.start(work.count, "after", 3)) == 3
    assert ledger.rows("select what from attempt group by what having count(*) > 1") == []
    assert processes <= group.pids
    assert "Traceback" not in group.log
    assert "a message for actor 'pack' is no bell of a workflow and was dropped: (7,)" in group.log
    assert_recorded_once(application.durable)
    assert_nothing_is_left(workers, application.durable)
