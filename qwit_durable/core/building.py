"""Where commands are being built: in a body, in a body that is being closed, in a step, or elsewhere.

The interpreter resumes a generator inside `building_in(Sink())`; a command that is dropped unused reports itself to
that sink, which is how a forgotten `yield` is found. While a generator is closed, building is inert: nothing reports.
A step's attempt runs after `enter_step(name)`, in a context of its own, where building a command is an error. A
`ContextVar` keeps threads and coroutines apart.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import attrs

from qwit_durable.core.commands import Site
from qwit_durable.core.within import Within

__all__ = [
    "Sink",
    "building_in",
    "current_sink",
    "enter",
    "enter_step",
    "leave",
    "step_in_progress",
]


@attrs.define
class Sink:
    """Takes down the commands that were dropped unused while a body ran: their text and where they were built.

    `limit_bytes` is the largest argument list a command may carry, encoded; None for no limit. `encode_args` turns the
    arguments of a restart of this body into canonical JSON.
    """

    dropped: list[tuple[str, Site | None]] = attrs.field(factory=list[tuple[str, "Site | None"]])
    inert: bool = False
    limit_bytes: int | None = None
    encode_args: Callable[[tuple[Any, ...], dict[str, Any]], bytes] | None = None

    def report(self, text: str, site: Site | None) -> None:
        """A command was dropped without having been yielded or handed to a verb."""
        if not self.inert:
            self.dropped.append((text, site))

    def succeeded(self) -> Sink:
        """The sink from now on, where a failure is raised in the body.

        A failure ends plans: what was built before it and is dropped after it was not forgotten.
        """
        self.inert = True
        return Sink(dropped=self.dropped, limit_bytes=self.limit_bytes, encode_args=self.encode_args)


_sink: ContextVar[Sink | None] = ContextVar("qwit_sink", default=None)
_step: ContextVar[str | None] = ContextVar("qwit_step", default=None)


#: The sink of the body that is running in this context, or None.
current_sink = _sink.get

#: The name of the step whose attempt runs in this context, or None.
step_in_progress = _step.get

#: `building_in` without a block, for where each step of a replay counts. With None, what runs is no part of a body.
enter = _sink.set

#: Take back `enter`.
leave = _sink.reset

#: An attempt of the step of this name runs in the rest of this context: building commands in it is an error.
enter_step = _step.set


def building_in(sink: Sink) -> Within[Sink | None]:
    """Let commands built in this block report to `sink`."""
    return Within(_sink, sink)
