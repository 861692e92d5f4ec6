"""How a step's attempts are carried out, read from the options that users write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import attrs

from qwit_durable.codec import unfit_as_name
from qwit_durable.core.commands import Settings
from qwit_durable.core.retry import Retry
from qwit_durable.errors import DefinitionError, Failure, describe
from qwit_durable.language.options import check_duration

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["refuse_callable_retry", "settings_of"]

_PRIORITIES = 2**31


def settings_of(base: Settings, options: Mapping[str, Any], where: str) -> Settings:
    """The settings that a step's options say. Raises DefinitionError."""
    changed = {name: value for name, value in options.items() if name != "name"}
    try:
        for name in ("timeout", "deadline", "heartbeat"):
            if changed.get(name) is not None:
                check_duration(changed[name], name, where, may_be_zero=False)
    except (TypeError, ValueError) as error:
        raise DefinitionError(str(error)) from None
    retry: Any = changed.get("retry")
    if callable(retry):
        changed["retry"] = Retry(delay=cast("Callable[[int, Failure], timedelta]", retry))
    elif "retry" in changed and not isinstance(retry, Retry):
        msg = (
            f"{where}: retry is a Retry or a callable (attempt, error) -> timedelta, got {describe(retry)}\n"
            f"  right:  retry=Retry(max_attempts=3)"
        )
        raise DefinitionError(msg)
    if changed.get("dispatch") not in ("inline", "queue", None):
        msg = f"{where}: dispatch is 'inline' or 'queue', got {describe(changed['dispatch'])}"
        raise DefinitionError(msg)
    if not isinstance(changed.get("transactional", False), bool):
        msg = f"{where}: transactional is True or False, got {describe(changed['transactional'])}"
        raise DefinitionError(msg)
    for name, cls, kind in (("queue", str, "a str"), ("priority", int, "an int")):
        if not isinstance(changed.get(name), (cls, type(None))):
            msg = f"{where}: {name} is {kind}, got {describe(changed[name])}"
            raise DefinitionError(msg)
    if not -_PRIORITIES <= (changed.get("priority") or 0) < _PRIORITIES:
        msg = f"{where}: priority is an int of at most 32 bits, got {describe(changed['priority'])}"
        raise DefinitionError(msg)
    if (why := unfit_as_name(changed.get("queue") or "")) is not None:
        msg = f"{where}: queue {why}"
        raise DefinitionError(msg)
    return attrs.evolve(base, **changed)


def refuse_callable_retry(options: Mapping[str, Any], where: str) -> None:
    """Refuse a callable for one call: the call may be made by another process, which could not know it.

    Raises:
        DefinitionError: The retry is one, or has one.
    """
    retry: Any = options.get("retry")
    if callable(retry) or (isinstance(retry, Retry) and retry.delay is not None):
        msg = (
            f"{where}: the wait of a call's retry can't be a callable: it is stored with the call, for any worker\n"
            f"  right:  retry=Retry(first=..., factor=..., cap=...)\n"
            f"  or:     define a step of its own with it: @step(name=..., retry=...)"
        )
        raise DefinitionError(msg)
