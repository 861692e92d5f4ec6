"""Peers as lines of our scenarios: each is opened for its turn and closed after it, so that none works meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

import attrs

from benchmarks.peers import PEERS, Peer, PeerMissing, Servers
from qwit_durable.bench.plan import Line, Plan, Ratio, Scenario
from qwit_durable.bench.sizes import Sizes
from qwit_durable.bench.stage import Stage

__all__ = ["Peers", "work_for"]

#: What a peer calls what our scenario measures, our own figure there, and how many times as much it is to be.
_QUESTIONS = {
    "inline": ("steps", "durable steps, /s"),
    "queued": ("queued", "queued steps, /s"),
    "lone": ("lone", "step of a lone run, ms"),
}
_AIMS = {"dbos": 20.0, "absurd": 10.0, "restate": 5.0, "dramatiq": 4.0}
_PROCESSES = (1, 2)
_WARM_RUNS, _WARM_STEPS = 16, 5
_LONE_STEPS = 10


class Peers:
    """Adds to scenarios what those peers reach that can be had.

    Args:
        names: Which of them.
        servers: What they may use.
        say: Told why one is left out.
    """

    def __init__(self, names: list[str], servers: Servers, say: Callable[[str], None]) -> None:
        self._names = names
        self._servers = servers
        self._say = say

    def beside(self, scenario: Scenario, stage: Stage) -> Scenario:
        """The same scenario with a line for each peer that knows its question."""
        question, figure = _QUESTIONS.get(scenario.name, ("", ""))
        # Plain Dramatiq chains are a line of the queued scenario already.
        found = {
            name: PEERS[name]()
            for name in self._names
            if question in PEERS[name].scenarios and (question, name) != ("queued", "dramatiq")
        }
        if not found:
            return scenario

        @contextmanager
        def opened(stage: Stage) -> Generator[Plan]:
            with scenario.open(stage) as plan:
                yield self._added(plan, stage, question, figure, self._had(found, stage))

        _ = stage
        return attrs.evolve(scenario, open=opened)

    def _had(self, found: Mapping[str, Peer], stage: Stage) -> dict[str, Peer]:
        """Those that can be opened here."""
        there: dict[str, Peer] = {}
        for name, peer in found.items():
            try:
                with self._working(peer, 1, stage.threads):
                    there[name] = peer
                    self._say(f"{peer.name} {peer.version}: {peer.settings}")
            except PeerMissing as missing:
                self._say(f"{peer.name}: left out, {missing}")
        return there

    @contextmanager
    def _working(self, peer: Peer, processes: int, threads: int) -> Generator[None]:
        try:
            peer.open(self._servers, processes, threads)
            yield
        finally:
            peer.close()

    def _added(self, plan: Plan, stage: Stage, question: str, figure: str, peers: Mapping[str, Peer]) -> Plan:
        lines, ratios = list(plan.lines), list(plan.ratios)
        for name, peer in peers.items():
            measure = self._lone(peer, stage) if question == "lone" else self._steps(peer, stage)
            lines.append(Line(peer.name, measure))
            best = f"{peer.name}, ms" if question == "lone" else f"{peer.name}, /s"
            aim = _AIMS.get(name) if question == "steps" else None
            ratios.append(Ratio(f"{figure.rpartition(',')[0]} / {peer.name}", figure, best, at_least=aim))
        return Plan(lines, ratios, plan.curves)

    def _steps(self, peer: Peer, stage: Stage) -> Callable[[], dict[str, float]]:
        sizes = stage.sizes

        def reach(processes: int) -> float:
            with self._working(peer, processes, stage.threads):
                warm = peer.steps(_WARM_RUNS, _WARM_STEPS)
                runs, steps = work_for(sizes, _WARM_RUNS * _WARM_STEPS / warm, at_once=2 * stage.threads)
                return runs * steps / peer.steps(runs, steps)

        def measure() -> dict[str, float]:
            """The better of one and two processes counts."""
            found = {processes: reach(processes) for processes in _PROCESSES}
            each = {f"{peer.name} in {processes}, /s": rate for processes, rate in found.items()}
            return {f"{peer.name}, /s": max(found.values())} | each

        return measure

    def _lone(self, peer: Peer, stage: Stage) -> Callable[[], dict[str, float]]:
        def measure() -> dict[str, float]:
            steps = stage.sizes.lone_steps
            with self._working(peer, 1, stage.threads):
                few = min(steps, _LONE_STEPS)
                steps = min(max(int(few / peer.lone(few) * stage.sizes.seconds), few), steps)
                return {f"{peer.name}, ms": peer.lone(steps) / steps * 1000}

        return measure


def work_for(sizes: Sizes, rate: float, *, at_once: int) -> tuple[int, int]:
    """Runs, and steps of each, for a peer that makes so many steps a second: a few seconds of work, however slow it is.

    There are as many runs as it works on at once, if need be shorter ones.
    """
    wanted = int(rate * sizes.seconds)
    at_least = min(at_once, sizes.runs)
    runs = max(min(wanted // sizes.steps, sizes.runs), at_least)
    return runs, min(max(wanted // runs, min(_WARM_STEPS, sizes.steps)), sizes.steps)
