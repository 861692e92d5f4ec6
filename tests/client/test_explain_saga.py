"""A saga is followed bell by bell: at every moment there is something to say, and it is never that nothing is owed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from qwit_durable.client.explaining import WaitKind
from qwit_durable.testing.environment import Environment
from tests.engine import saga
from tests.engine.world import World


@pytest.mark.parametrize("fails", [False, True])
def test_at_no_moment_of_a_saga_is_there_nothing_to_say(fails: bool) -> None:
    saga.world = World()
    shop = Environment()
    handle = shop.start(saga.checkout, "a", fails=fails)
    moments = 0

    for _ in range(400):
        explanation = handle.explain()
        assert str(explanation)
        if explanation.status.is_ended:
            break
        moments += 1
        assert explanation.waits
        assert not [wait for wait in explanation.waits if wait.kind is WaitKind.NOTHING], str(explanation)
        if any(wait.kind is WaitKind.SIGNAL for wait in explanation.waits):
            handle.signal("approved", "yes")
        elif shop.bells.waiting:
            shop.answer(shop.bells.waiting.popleft())
        else:
            shop.clock.advance(timedelta(seconds=1))
            shop.engine.heart.beat()
            shop.engine.sweeper.sweep()

    assert handle.status().is_ended
    assert moments > 10
