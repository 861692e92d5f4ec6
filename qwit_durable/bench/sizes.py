"""How much of everything: enough for a figure, or just enough to see that it works."""

from __future__ import annotations

import attrs

__all__ = ["FULL", "QUICK", "Sizes"]


@attrs.frozen(kw_only=True)
class Sizes:
    """How much of everything.

    Attributes:
        seconds: How long a round of a line is to take, where that can be chosen.
        runs: At most so many runs of `steps` inline steps.
        lone_steps: Steps of a run that is alone.
        links: Steps of a queued run, and links of a plain chain.
        chains: How many of either at once.
    """

    seconds: float = 4.0
    runs: int = 600
    steps: int = 100
    lone_steps: int = 200
    links: int = 100
    chains: int = 32


FULL = Sizes()
QUICK = Sizes(seconds=0.01, runs=3, steps=4, lone_steps=5, links=4, chains=3)
