"""What the benchmark knows of a peer."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs

__all__ = ["PeerFailed", "PeerLate", "PeerMissing", "Servers", "System"]


@attrs.frozen
class Servers:
    """URLs of the servers that a peer may use."""

    postgres: str | None = None
    redis: str | None = None


class PeerMissing(Exception):
    """A peer cannot be measured on this machine.

    Args:
        why: What is not there.
        remedy: How to get it.
    """

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(f"{why}; {remedy}")
        self.why = why
        self.remedy = remedy


class PeerFailed(Exception):
    """A peer has not done what it was asked for; the message has the end of its log."""


class PeerLate(PeerFailed):
    """A peer was too slow for what it was asked for; the message says how long it was waited for."""


@attrs.frozen(kw_only=True)
class System:
    """One system that we are measured against.

    Attributes:
        name: As a table of figures names it.
        version: Which.
        settings: What its documentation advises, and what was set, in one line.
        scenarios: Those of ours that it has a counterpart to; `README.md` says why the others have none.
        program: Its half in `programs/`.
        requirements: Those of its environment; none for our own.
        needs: `postgres` or `redis`, of which it gets a database or a corner of its own, or nothing.
        server: An npm package, its version and the program in it that is the system's own server.
        options: Told to the program.
        at_rest: Told to it where it has nothing to do: intervals as shipped, not those that serve speed.
    """

    name: str
    version: str
    settings: str
    scenarios: frozenset[str]
    program: str
    requirements: str | None = None
    needs: str | None = None
    server: tuple[str, str, str] | None = None
    options: Mapping[str, Any] = MappingProxyType({})
    at_rest: Mapping[str, Any] = MappingProxyType({})
