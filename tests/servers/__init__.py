"""Real servers for tests and benchmarks: each can be started, stopped, killed and started again.

Where a server comes from, first match: a URL in the environment (`QWIT_TEST_POSTGRES_URL`, `QWIT_TEST_REDIS_URL`,
`QWIT_TEST_RABBITMQ_URL`), programs on this machine, programs inside a wheel of the `test` extra. The wheels are used
as boxes of programs; their own Python code is never run.

    from tests.servers import PostgresServer

    with PostgresServer(fsync=True) as server:
        dsn = server.create_database()

Nothing here imports pytest except `fixtures`. Whatever becomes of the process that started a server, `janitor` ends
the server and removes its files.
"""

from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer
from tests.servers.server import Server, ServerFailed, Unavailable

__all__ = ["PostgresServer", "RabbitServer", "RedisServer", "Server", "ServerFailed", "Unavailable"]
