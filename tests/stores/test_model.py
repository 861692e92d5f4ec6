"""Random batches of writes mean the same on every store: memory is the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from qwit_durable.stores.postgres.hot.places import Places
from qwit_durable.testing.contract.model import store_machine
from tests.stores.places import UnsyncedStore, emptied, migrate, opened, sqlite_url

_of = Places.of
SETTINGS = settings(
    max_examples=50,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def test_sqlite_answers_and_holds_what_memory_does(tmp_path: Path):
    numbers = count()

    machine = store_machine(
        lambda clock: opened(UnsyncedStore(sqlite_url(tmp_path, f"{next(numbers)}.db"), clock=clock))
    )

    run_state_machine_as_test(machine, settings=SETTINGS)


def test_postgres_answers_and_holds_what_memory_does(postgres_template: pytest.FixtureRequest):
    url = postgres_template("migrated", migrate)

    machine = store_machine(lambda clock: emptied(url, clock))

    run_state_machine_as_test(machine, settings=SETTINGS)


def test_postgres_does_so_while_it_looks_for_rows_where_they_were_last(
    postgres_template: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    url = postgres_template("migrated", migrate)
    monkeypatch.setattr(Places, "of", _known)

    machine = store_machine(lambda clock: emptied(url, clock))

    run_state_machine_as_test(machine, settings=settings(SETTINGS, max_examples=12))


def _known(places: Places, run_ids: Sequence[bytes]) -> Sequence[bytes | None] | None:
    """Where they are, of all that is known, as if each row had moved."""
    for row in places._rows.values():
        row.left = 2
    return _of(places, run_ids)
