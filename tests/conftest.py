"""What every layer of tests has: real servers, started when a test wants one and ended whatever happens."""

from __future__ import annotations

import pytest

from tests.names import own_names, pytest_make_collect_report  # noqa: F401 - found by their names here
from tests.servers import run
from tests.servers.fixtures import (  # noqa: F401 - fixtures are found by their names here
    describe_sources,
    drop_templates,
    own_postgres,
    own_rabbitmq,
    own_redis,
    postgres_server,
    postgres_template,
    postgres_url,
    rabbitmq_server,
    rabbitmq_url,
    redis_server,
    redis_url,
)

# Before anybody imports it: failures inside the shipped contract are explained as those of any test.
pytest.register_assert_rewrite("qwit_durable.testing.contract")


def pytest_configure(config: pytest.Config) -> None:
    """Under xdist the controller outlives every worker: let it own the servers that they share."""
    if config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        run.run_directory()


def pytest_report_header() -> str:
    return describe_sources()


def pytest_unconfigure() -> None:
    drop_templates()
    run.close_run_directory()
