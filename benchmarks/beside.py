"""Peers as lines of our scenarios: each is opened when it is first needed, and stands still while others work."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Self

import attrs

from benchmarks.peers import PEERS, Peer, PeerFailed, PeerLate, PeerMissing, Servers, System
from benchmarks.questions import QUESTIONS, Question, Turn
from qwit_durable.bench.figures import label
from qwit_durable.bench.plan import Curve, Line, Plan, Ratio, Scenario, Unmeasured
from qwit_durable.bench.stage import Stage

__all__ = ["Peers"]

#: What our figure is to be of a peer's.
_AT_LEAST = {
    ("inline", "dbos"): 20,
    ("inline", "absurd"): 10,
    ("inline", "restate"): 5,
    ("inline", "dramatiq"): 4,
}
_AT_MOST = {("lone", "dbos"): 1 / 8, ("lone", "absurd"): 0.4, ("lone", "restate"): 0.4}
#: What is a line of our own already.
_OURS = {("queued", "dramatiq")}


class Peers:
    """Adds to scenarios what those peers reach that can be had; ends them with the `with`.

    Args:
        names: Which of them.
        servers: What they may use.
        say: Told why one is left out.
    """

    def __init__(self, names: Sequence[str], servers: Servers, say: Callable[[str], None]) -> None:
        self._names = names
        self._servers = servers
        self._say = say
        self._missing: dict[str, str] = {}
        self._told: set[str] = set()
        self._open: dict[tuple[str, int, int, bool], Peer] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def beside(self, scenario: Scenario, stage: Stage) -> Scenario:
        """The same scenario with lines for each peer that has a counterpart, and a word where one has none."""
        question = QUESTIONS.get(scenario.name)
        if question is None or not self._names:
            return scenario

        @contextmanager
        def opened(stage: Stage) -> Generator[Plan]:
            with scenario.open(stage) as plan:
                yield self._added(plan, scenario.name, question, stage)

        _ = stage
        return attrs.evolve(scenario, open=opened)

    def _added(self, plan: Plan, scenario: str, question: Question, stage: Stage) -> Plan:
        lines, ratios, absent = list(plan.lines), list(plan.ratios), dict(plan.absent)
        curves = list(plan.curves)
        ours = question.figures(stage)
        for name in self._names:
            system = PEERS[name]
            turn = Turn(system, stage, partial(self._opened, name, stage))
            theirs = {figure: turn.its(figure) for figure in ours}
            if (scenario, name) in _OURS:
                continue
            if scenario not in system.scenarios:
                absent |= dict.fromkeys(theirs.values(), "no such thing")
                continue
            if (why := self._missed(name)) is not None:
                absent |= dict.fromkeys(theirs.values(), why)
                continue
            lines += [self._guarded(system, line) for line in question.lines(turn)]
            curves = [_with(curve, system.name, theirs) for curve in curves]
            for figure, its in theirs.items():
                aims = _AT_LEAST.get((scenario, name)), _AT_MOST.get((scenario, name))
                ratios.append(Ratio(f"{label(figure)} / {system.name}", figure, its, *aims))
        return Plan(lines, ratios, curves, absent)

    def _missed(self, name: str) -> str | None:
        """Why it can't be measured here, if it can't."""
        system = PEERS[name]
        if name not in self._told:
            self._told.add(name)
            try:
                Peer(system).prepare(self._servers)
                self._say(f"{system.name} {system.version}: {system.settings}")
            except PeerMissing as missing:
                self._say(f"{system.name}: left out, {missing}")
                self._missing[name] = "left out"
        return self._missing.get(name)

    def _guarded(self, system: System, line: Line) -> Line:
        """A peer that fails is left out from there on, and the others are measured."""

        def measure() -> dict[str, float]:
            try:
                return dict(line.measure())
            except (PeerFailed, PeerMissing) as failed:
                self._say(f"{line.name}: {failed}")
                for key in [key for key, peer in self._open.items() if peer.system is system]:
                    self._open.pop(key).close()
                raise Unmeasured(str(failed) if isinstance(failed, PeerLate) else "failed") from failed

        return attrs.evolve(line, measure=measure)

    @contextmanager
    def _opened(
        self,
        name: str,
        stage: Stage,
        processes: int | None = None,
        threads: int | None = None,
        *,
        at_rest: bool = False,
    ) -> Generator[Peer]:
        """One that is open already, or a new one, which stays open if others of its size are to be expected."""
        key = (name, processes or stage.crew.processes, threads or stage.threads, at_rest)
        if key in self._open:
            yield self._open[key]
            return
        peer = Peer(PEERS[name])
        try:
            peer.open(self._servers, *key[1:3], at_rest=at_rest)
            self._open[key] = peer
            yield peer
        finally:
            if threads is not None or at_rest:
                self._open.pop(key, None)
                peer.close()


def _with(curve: Curve, name: str, theirs: Mapping[str, str]) -> Curve:
    """A curve, and that of a peer beside it, of its counterparts to our figures."""
    points = tuple((x, theirs[figure]) for x, figure in curve.points if figure in theirs)
    return attrs.evolve(curve, others=(*curve.others, (name, points))) if points else curve
