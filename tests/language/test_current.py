"""Which Durable a plain start means."""

from __future__ import annotations

import gc

import pytest

from qwit_durable.errors import AmbiguousDurable
from qwit_durable.language.current import current_starter, enter, install, leave, uninstall
from qwit_durable.language.inside import call_inside
from tests.language.inside import AnAttempt
from tests.misuse import no_others


class Durable:
    """Stands for one; starts nothing."""

    def start_run(self, definition, args, kwargs, options):
        pytest.fail("nothing is started here")


def test_none_says_how_to_get_one():
    """Both ways are shown, with the workflow's name in them."""
    with no_others(), pytest.raises(AmbiguousDurable) as caught:
        current_starter("checkout")

    assert str(caught.value) == (
        "'checkout' can't be started: there is no Durable in this process\n"
        "  likely cause: the module that makes the broker is not imported here\n"
        '  way out: broker.add_middleware(Durable("postgresql://...")), or without a broker\n'
        '           with Durable("sqlite:///orders.db").embedded(): checkout.start(...)'
    )


def test_the_only_installed_one_is_meant():
    """As with `set_broker`; installing it twice makes no second one, and it can be taken back."""
    durable = Durable()
    install(durable)
    install(durable)

    assert current_starter() is durable

    uninstall(durable)
    with pytest.raises(AmbiguousDurable):
        current_starter()


def test_two_installed_ones_have_to_be_named():
    """Nobody guesses."""
    first, second = Durable(), Durable()
    install(first)
    install(second)

    with pytest.raises(AmbiguousDurable) as caught:
        current_starter("checkout")
    uninstall(first)

    assert str(caught.value) == (
        "'checkout' can't be started: 2 Durables are installed, and none is entered\n"
        "  way out: name the one that is meant: durable.start(checkout, ...)"
    )
    assert current_starter() is second
    uninstall(second)


def test_an_installed_one_that_is_gone_is_no_candidate():
    """Installed ones are held weakly."""
    first, second = Durable(), Durable()
    install(first)
    install(second)

    del first
    gc.collect()

    assert current_starter() is second
    uninstall(second)


def test_entered_ones_come_first_and_the_one_before_is_restored():
    """Leaving in another order than entering does no harm; leaving what was not entered does nothing."""
    installed, first, second = Durable(), Durable(), Durable()
    install(installed)
    enter(first)
    enter(second)

    assert current_starter() is second
    leave(first)
    assert current_starter() is second
    leave(second)
    leave(second)
    assert current_starter() is installed
    uninstall(installed)


def test_inside_a_step_its_own_is_meant():
    """Whatever is entered around it."""
    entered, own = Durable(), Durable()
    enter(entered)

    assert call_inside(AnAttempt("checkout", starter=own), current_starter) is own

    assert current_starter() is entered
    leave(entered)
