"""The contract of a store, as tests: what every write's docstring promises, for stores of third parties too.

In your own tests, give the fixtures and inherit; pytest finds the rest::

    pytest.register_assert_rewrite("qwit_durable.testing.contract")  # in conftest.py
    from qwit_durable.testing.contract import StoreContract


    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, clock, tmp_path):
            store = MyStore(tmp_path, clock=clock)
            store.open()
            yield store
            store.close()

        @pytest.fixture
        def another(self, store, clock, tmp_path):
            return lambda: MyStore(tmp_path, clock=clock)  # as another process would; or `lambda: store`

The store is empty, goes by `clock`, and judges workers of the host "elsewhere" by their lease alone. Beside it,
`qwit_durable.testing.contract.model.store_machine` compares random writes with the store in memory (it needs
Hypothesis). Needs pytest.
"""

from __future__ import annotations

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.stores.protocol import Store
from qwit_durable.testing.contract.children import Children
from qwit_durable.testing.contract.completing import Completing
from qwit_durable.testing.contract.generations import Generations
from qwit_durable.testing.contract.glances import Glances
from qwit_durable.testing.contract.going_on import GoingOn
from qwit_durable.testing.contract.lane_races import LaneRaces
from qwit_durable.testing.contract.lanes import Lanes
from qwit_durable.testing.contract.looking import Looking
from qwit_durable.testing.contract.maps import Maps
from qwit_durable.testing.contract.outside import Outside
from qwit_durable.testing.contract.places import Places
from qwit_durable.testing.contract.pruning import Pruning
from qwit_durable.testing.contract.queued import Queued
from qwit_durable.testing.contract.racing import Racing
from qwit_durable.testing.contract.reading import Reading
from qwit_durable.testing.contract.schedules import Schedules
from qwit_durable.testing.contract.stage import Stage
from qwit_durable.testing.contract.starting import Starting
from qwit_durable.testing.contract.sweeping import Sweeping
from qwit_durable.testing.contract.turns import Turns
from qwit_durable.testing.contract.verbs import Verbs
from qwit_durable.testing.contract.workers import Workers

__all__ = ["Stage", "StoreContract"]


class StoreContract(
    Starting,
    Turns,
    Glances,
    Children,
    Completing,
    Queued,
    GoingOn,
    Maps,
    Outside,
    Verbs,
    Generations,
    Lanes,
    Places,
    LaneRaces,
    Looking,
    Sweeping,
    Workers,
    Schedules,
    Pruning,
    Reading,
    Racing,
):
    """Everything a store must do. Give the fixtures `store` and `another`."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The clock that the store goes by."""
        return ManualClock()

    @pytest.fixture
    def stage(self, store: Store, clock: ManualClock) -> Stage:
        """The store and its clock with short words for writes."""
        return Stage(store, clock)
