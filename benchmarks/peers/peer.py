"""What the benchmark asks of a peer."""

from __future__ import annotations

from typing import Protocol

import attrs


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


class Peer(Protocol):
    """One system that we are measured against. It runs in processes of its own, never in the benchmark's."""

    #: As a table of figures names it.
    name: str
    version: str
    #: What its documentation advises, and what was set, in one line.
    settings: str
    #: Of "steps", "lone", "queued", "fan_out", "start_rate", "latency", "sleepers": those that `steps` and `lone`
    #: measure here. "queued": each step is a message of the broker, so that `steps` is the measure of queued steps.
    scenarios: frozenset[str]

    def open(self, servers: Servers, processes: int, threads: int) -> None:
        """Start its workers, so many processes of so many threads each, and let them warm up.

        Raises:
            PeerMissing: It is not installed and cannot be, or the server that it needs was not given.
        """
        ...

    def steps(self, runs: int, steps: int) -> float:
        """Seconds from the first start to the last end of `runs` workflows of so many steps, each of which adds one."""
        ...

    def lone(self, steps: int) -> float:
        """Seconds from the start to the end of one workflow of so many steps, while nothing else runs."""
        ...

    def close(self) -> None:
        """End everything that `open` started."""
        ...
