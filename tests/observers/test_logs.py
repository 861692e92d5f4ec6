"""One structured line per committed fact."""

from __future__ import annotations

import logging

import pytest

from qwit_durable.core import Cause, Status
from qwit_durable.observers.logs import LogObserver
from tests.observers.facts import DECLINED, a_run, an_attempt, an_end


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="qwit_durable.run")


def test_every_fact_is_one_line_that_reads_well(caplog: pytest.LogCaptureFixture) -> None:
    observer, run = LogObserver(), a_run(key="order-1")

    observer.run_started(run)
    observer.step_starting(an_attempt(run, "charge", "0"))
    observer.step_finished(an_attempt(run, "charge", "0", end=0.25, failure=DECLINED, retry=1))
    observer.step_finished(an_attempt(run, "charge", "0", begin=1, end=1.5, attempt=2))
    observer.step_finished(an_attempt(run, "ship", "1", begin=2, end=3, failure=DECLINED))
    observer.unwinding(run, Cause(failure=DECLINED), ["charge"])
    observer.undo_starting(an_attempt(run, "charge", "~0", begin=4))
    observer.undo_finished(an_attempt(run, "charge", "~0", begin=4, end=5))
    observer.run_finished(an_end(run, Status.COMPENSATED, end=6, failure=DECLINED))

    assert [f"{record.levelname} {record.getMessage()}" for record in caplog.records] == [
        "INFO run order-1 of checkout: started",
        "DEBUG run order-1 of checkout: step 'charge' at 0: attempt 1 begins",
        (
            "WARNING run order-1 of checkout: step 'charge' at 0: attempt 1 failed: CardDeclined: no funds on 4242;"
            " the next one is due at 2026-01-02T03:04:06.678901+00:00"
        ),
        "INFO run order-1 of checkout: step 'charge' at 0: attempt 2 completed in 0.500 s",
        "ERROR run order-1 of checkout: step 'ship' at 1: attempt 1 failed for good: CardDeclined: no funds on 4242",
        "WARNING run order-1 of checkout: unwinds because of CardDeclined: no funds on 4242; owed: charge",
        "DEBUG run order-1 of checkout: undo of 'charge' at ~0: attempt 1 begins",
        "INFO run order-1 of checkout: undo of 'charge' at ~0: attempt 1 completed in 1.000 s",
        "ERROR run order-1 of checkout: ended compensated after 6.000 s: CardDeclined: no funds on 4242",
    ]


def test_the_same_facts_are_fields_of_the_record(caplog: pytest.LogCaptureFixture) -> None:
    observer, run = LogObserver(), a_run(key="order-1")

    observer.step_finished(an_attempt(run, "charge", "0", end=0.25, failure=DECLINED, retry=1))

    fields = vars(caplog.records[0])
    expected = {
        "event": "step_finished",
        "run_id": "order-1",
        "workflow": "checkout",
        "namespace": "shop",
        "step": "charge",
        "position": "0",
        "attempt": 1,
        "queue": "mail",
        "inline": True,
        "outcome": "retrying",
        "duration_seconds": 0.25,
        "error_type": "CardDeclined",
        "error_message": "no funds on 4242",
    }
    assert {name: fields[name] for name in expected} == expected


def test_a_logger_of_ones_own_can_be_given(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="shop.runs"):
        LogObserver(logging.getLogger("shop.runs")).run_finished(an_end(a_run(), end=1))

    assert [record.name for record in caplog.records] == ["shop.runs"]
