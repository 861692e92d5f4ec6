"""The orders on ordinary Dramatiq workers: `dramatiq examples.orders.app`.

REDIS_URL, QWIT_STORE_URL and SHOP_URL say where everything is. Several processes on several machines may run this.
"""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from examples.orders import workflow
from qwit_durable import Durable

__all__ = ["broker", "durable", "workflow"]

# The schema is brought up to date at boot, which suits an example; production runs `qwit migrate` once per deploy.
durable = Durable(os.environ.get("QWIT_STORE_URL", "postgresql://localhost/qwit"), migrate=True)
broker = RedisBroker(url=os.environ.get("REDIS_URL", "redis://localhost:6379/0"))
broker.add_middleware(durable)
dramatiq.set_broker(broker)
