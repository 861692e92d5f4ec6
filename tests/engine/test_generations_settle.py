"""A restart begins anew in every respect, also in the turn that goes on with it."""

from __future__ import annotations

from datetime import timedelta

from qwit_durable.language.groups import race
from qwit_durable.language.verbs import restart, sleep, wait_signal
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.testing.environment import Environment


@workflow
def racing(left: int) -> Workflow[int]:
    yield from race(wait_signal("never"), sleep(timedelta(0)), wait_signal("go"))
    if left:
        yield from restart(left - 1)
    return left


def test_losers_are_settled_in_every_generation_of_one_turn():
    """The same places lose again in the next generation: they are ended again, not taken for ended."""
    environment = Environment()
    handle = environment.start(racing.options(id="it"), 3)
    for _ in range(4):
        handle.signal("go")

    environment.settle()

    assert handle.result(0) == 0
