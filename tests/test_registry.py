"""Names become code: looking up, refusing duplicates, telling subscribers."""

from __future__ import annotations

from typing import Any

import pytest

from qwit_durable.core.commands import Settings, Site
from qwit_durable.errors import DefinitionError, UnknownName
from qwit_durable.language.step import Step
from qwit_durable.language.workflow import WorkflowDefinition
from qwit_durable.registry import Registry


def a_step(name: str, line: int = 1, file: str = "shop/steps.py") -> Step[Any, Any]:
    return Step(lambda: None, name, Settings(), Site(file, line))


def a_workflow(name: str, line: int = 1, file: str = "shop/flows.py") -> WorkflowDefinition[Any, Any]:
    return WorkflowDefinition(lambda: None, name, {}, Site(file, line))


def test_names_lead_to_what_was_added():
    """Steps and workflows are found by name; one name may stand for one of each."""
    registry = Registry()
    charge, ship = a_step("charge"), a_workflow("ship")
    also_charge = a_workflow("charge", line=9)

    registry.add_step(charge)
    registry.add_workflow(ship)
    registry.add_workflow(also_charge)

    assert registry.step("charge") is charge
    assert registry.workflow("charge") is also_charge
    assert registry.steps() == (charge,)
    assert registry.workflows() == (ship, also_charge)


def test_an_unknown_name_lists_the_known_ones_most_similar_first():
    """The message is of use to somebody who renamed or mistyped something."""
    registry = Registry()
    for line, name in enumerate(["announce", "charge_card", "pack"]):
        registry.add_step(a_step(name, line))

    with pytest.raises(UnknownName) as caught:
        registry.step("charge_cart")

    assert str(caught.value) == (
        "no step of the name 'charge_cart' is registered in this process; known: charge_card, announce, pack\n"
        "  likely cause: the module that defines it is not imported here, or it was renamed\n"
        "  way out: import its module where the worker starts, or define it with @step(name='charge_cart')"
    )


def test_an_unknown_name_in_an_empty_registry():
    """Nothing known is said as that."""
    with pytest.raises(
        UnknownName, match="no workflow of the name 'ship' is registered in this process; known: none"
    ):
        Registry().workflow("ship")


def test_two_of_one_name_are_refused_with_both_places():
    """Which of two steps runs must never depend on the order of imports."""
    registry = Registry()
    registry.add_step(a_step("charge", 3))

    with pytest.raises(DefinitionError) as caught:
        registry.add_step(a_step("charge", 7))

    assert str(caught.value) == (
        "there are two steps of the name 'charge'\n"
        "  first:  shop/steps.py:3\n"
        "  second: shop/steps.py:7\n"
        "  way out: give one of them another name, as @step(name=...)"
    )


def test_the_same_place_imported_twice_replaces():
    """A module that runs as `__main__` and is imported by name defines each thing twice."""
    registry = Registry()
    registry.add_workflow(a_workflow("ship", 3))
    again = a_workflow("ship", 3, file="./shop/../shop/flows.py")

    registry.add_workflow(again)

    assert registry.workflow("ship") is again
    assert registry.workflows() == (again,)


def test_subscribers_are_told_of_later_additions_until_they_leave():
    """Nobody is told of what was there before, nor after the subscription ended."""
    registry = Registry()
    told: list[Any] = []
    registry.add_step(a_step("before"))
    unsubscribe = registry.subscribe(told.append)
    charge, ship = a_step("charge"), a_workflow("ship")

    registry.add_step(charge)
    registry.add_workflow(ship)
    unsubscribe()
    unsubscribe()
    registry.add_step(a_step("after"))

    assert told == [charge, ship]


def test_a_subscriber_may_look_things_up():
    """Subscribers are called without a lock being held, with the addition in place."""
    registry = Registry()
    seen: list[Any] = []
    registry.subscribe(lambda definition: seen.append(registry.step(definition.name)))
    charge = a_step("charge")

    registry.add_step(charge)

    assert seen == [charge]


def test_what_is_added_in_a_restored_block_is_forgotten():
    """Tests may define what they like."""
    registry = Registry()
    kept = a_step("kept")
    registry.add_step(kept)

    with registry.restored():
        registry.add_step(a_step("charge"))
        registry.add_workflow(a_workflow("ship"))

    assert registry.steps() == (kept,)
    assert registry.workflows() == ()
