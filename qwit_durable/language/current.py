"""Which `Durable` a plain `checkout.start(...)` means, as `set_broker` decides it for actors.

The one whose step is running here, else the one that was entered last (`embedded()`), else the only one that is
installed on a broker. Installed ones are held weakly: who is gone is no candidate. This module knows a `Durable` only
as a `Starter`.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from qwit_durable.errors import AmbiguousDurable
from qwit_durable.language.inside import attempt_here

if TYPE_CHECKING:
    from qwit_durable.language.options import StartOptions
    from qwit_durable.language.workflow import WorkflowDefinition

__all__ = ["Starter", "current_starter", "enter", "install", "leave", "uninstall"]


class Starter(Protocol):
    """What can start a run: a `Durable`."""

    def start_run(
        self,
        definition: WorkflowDefinition[Any, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: StartOptions,
    ) -> Any:
        """Store a run of the workflow and return its handle."""
        ...


_lock = threading.Lock()
_entered: list[Starter] = []
_installed: list[weakref.ref[Starter]] = []


def install(starter: Starter) -> None:
    """Make a `Durable` that sits on a broker a candidate for the default. Repeating it changes nothing."""
    with _lock:
        if all(ref() is not starter for ref in _installed):
            _installed.append(weakref.ref(starter))


def uninstall(starter: Starter) -> None:
    """Take back `install`; without one, nothing happens."""
    with _lock:
        _installed[:] = [ref for ref in _installed if (held := ref()) is not None and held is not starter]


def enter(starter: Starter) -> None:
    """Make this `Durable` the default until `leave`."""
    with _lock:
        _entered.append(starter)


def leave(starter: Starter) -> None:
    """Take back the last `enter` of this `Durable`: the one entered before is the default again."""
    with _lock:
        for index in range(len(_entered) - 1, -1, -1):
            if _entered[index] is starter:
                del _entered[index]
                return


def current_starter(workflow: str = "workflow") -> Starter:
    """The `Durable` that is meant here.

    Args:
        workflow: The workflow that is to be started, for messages.

    Raises:
        AmbiguousDurable: There is none, or there are several; the message says how to name one.
    """
    attempt = attempt_here()
    if attempt is not None and attempt.starter is not None:
        return attempt.starter
    with _lock:
        if _entered:
            return _entered[-1]
        candidates = [starter for ref in _installed if (starter := ref()) is not None]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        msg = (
            f"{workflow!r} can't be started: {len(candidates)} Durables are installed, and none is entered\n"
            f"  way out: name the one that is meant: durable.start({workflow}, ...)"
        )
    else:
        msg = (
            f"{workflow!r} can't be started: there is no Durable in this process\n"
            f"  likely cause: the module that makes the broker is not imported here\n"
            f'  way out: broker.add_middleware(Durable("postgresql://...")), or without a broker\n'
            f'           with Durable("sqlite:///orders.db").embedded(): {workflow}.start(...)'
        )
    raise AmbiguousDurable(msg)
