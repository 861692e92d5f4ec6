"""Observers: logging, a message per state change, and OpenTelemetry. Each is loaded when it is asked for.

Importing this package imports none of them, and so no OpenTelemetry.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qwit_durable.observers.base import AttemptInfo, EndInfo, Observer
    from qwit_durable.observers.logs import LogObserver
    from qwit_durable.observers.messages import MessagePerChange, StateChange
    from qwit_durable.observers.opentelemetry import OpenTelemetry, Telemetry, configure

__all__ = [
    "Observer",
    "AttemptInfo",
    "EndInfo",
    "LogObserver",
    "MessagePerChange",
    "StateChange",
    "OpenTelemetry",
    "Telemetry",
    "configure",
]

_HOMES = {
    "Observer": "base",
    "AttemptInfo": "base",
    "EndInfo": "base",
    "LogObserver": "logs",
    "MessagePerChange": "messages",
    "StateChange": "messages",
    "OpenTelemetry": "opentelemetry",
    "Telemetry": "opentelemetry",
    "configure": "opentelemetry",
}


if not TYPE_CHECKING:  # a type checker reads the imports above, and so still refuses unknown names

    def __getattr__(name: str) -> Any:
        """Load an observer from its module, when it is first asked for."""
        home = _HOMES.get(name)
        if home is None:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        return getattr(import_module(f"{__name__}.{home}"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
