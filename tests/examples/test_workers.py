from __future__ import annotations

from tests.examples.programs import run_module, running


def test_a_producer_gets_its_value_from_workers_over_redis_and_postgres(tmp_path, postgres_url, redis_url):
    where = {"QWIT_STORE_URL": postgres_url, "REDIS_URL": redis_url}
    migrated = run_module("qwit_durable", "migrate", folder=tmp_path, **where)
    assert migrated.returncode == 0, migrated.stderr

    worker = ("dramatiq", "examples.workers.app", "--processes", "2", "--threads", "2")
    with running(*worker, folder=tmp_path, **where):
        done = run_module("examples.workers", "one two three", "four five", folder=tmp_path, **where)

    assert done.returncode == 0, done.stderr + (tmp_path / "output").read_text(encoding="utf-8")
    assert done.stdout.splitlines()[-1] == "5 words"


def test_a_producer_is_told_where_the_schema_is_missing(tmp_path, postgres_url, redis_url):
    done = run_module("examples.workers", folder=tmp_path, QWIT_STORE_URL=postgres_url, REDIS_URL=redis_url)

    assert done.returncode != 0
    assert "qwit migrate" in done.stderr.splitlines()[-1]
