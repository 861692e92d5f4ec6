"""The root of all errors, and those of code that is defined or used in the wrong place."""

from __future__ import annotations

__all__ = ["AmbiguousDurable", "DefinitionError", "DurableError", "NotRunningError", "UnknownName"]


class DurableError(Exception):
    """Base of every error that this library raises on purpose.

    >>> try:
    ...     approval.start(order).result(timeout=0)
    ... except DurableError as error:
    ...     print("the shop's workflows are out of order:", error)
    ... except TimeoutError:
    ...     print("not approved yet")
    not approved yet
    """


class DefinitionError(DurableError, TypeError):
    """A workflow, a step or one of their options is defined wrongly. The message shows the right form.

    >>> @step(timeout=30)
    ... def print_label(order_id: str) -> None: ...
    Traceback (most recent call last):
    qwit_durable.errors.DefinitionError: step 'print_label' (...): timeout is a timedelta, got 30
    ...
    """


class UnknownName(DurableError, LookupError):
    """No workflow or step of that name is registered in this process. Import the module that defines it.

    >>> from qwit_durable.registry import default_registry
    >>> default_registry.workflow("chekout")
    Traceback (most recent call last):
    qwit_durable.errors.UnknownName: no workflow of the name 'chekout' is registered in this process; ...
    ...
    """


class AmbiguousDurable(DurableError, RuntimeError):
    """No `Durable` is the default here, or several are. Name one: `durable.start(workflow, ...)`.

    >>> shop = Durable("memory://")
    >>> handle = shop.start(checkout, order)  # instead of checkout.start(order)
    """


class NotRunningError(DurableError, RuntimeError):
    """This needs a surrounding that is not there: a step's attempt, or an entered `Durable`.

    >>> current()
    Traceback (most recent call last):
    qwit_durable.errors.NotRunningError: current() was called where no step runs
    ...
    """
