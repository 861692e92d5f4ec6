"""Where commands are being built: in a body, in a body that is being closed, in a step, or elsewhere.

The interpreter resumes a generator inside `building_in(Sink())`; a command that is dropped unused reports itself to
that sink, which is how a forgotten `yield` is found. While a generator is closed, building is inert: nothing reports.
A step's attempt runs in a context of its own that it has entered, where building a command is an error. A `ContextVar`
keeps threads and coroutines apart; there is one for all of this, because to set one costs as much as a small step.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol

import attrs

from qwit_durable.core.commands import Site
from qwit_durable.core.within import Within

__all__ = ["InStep", "Sink", "building_in", "current_sink", "enter", "leave", "step_in_progress", "where"]


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


class InStep(Protocol):
    """An attempt of a step, as far as it matters here."""

    @property
    def step(self) -> str:
        """The step's name."""
        ...


_where: ContextVar[Sink | InStep | None] = ContextVar("qwit_where", default=None)

#: The sink of the body that is running in this context, or the attempt of a step that is; or None.
where = _where.get

#: From now on that is so. None: what runs is no part of either.
enter = _where.set

#: Take back `enter`.
leave = _where.reset


def current_sink() -> Sink | None:
    """The sink of the body that is running in this context."""
    here = where()
    return here if isinstance(here, Sink) else None


def step_in_progress() -> str | None:
    """The name of the step whose attempt runs in this context."""
    here = where()
    return None if here is None or isinstance(here, Sink) else here.step


def building_in(sink: Sink) -> Within[Sink | InStep | None]:
    """Let commands built in this block report to `sink`."""
    return Within(_where, sink)
