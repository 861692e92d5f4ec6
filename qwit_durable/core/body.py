"""A body under way: its generators, the gathers between them, and the commands that they wait for.

What is answered goes up the tree until a generator can be resumed with it; what that one yields becomes an open command
(or, for a gather, several). Resuming goes on until nothing more can be resumed, or until the body has ended or did
something wrong. Positions are paths, so that branches number themselves whoever finishes first.

The engine alone closes generators: `stop` and `close` do, on the thread that owns the body. Neighbours: `frames`
resumes and closes one generator, `interpreter` knows the events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from inspect import GEN_CREATED, getgeneratorstate
from typing import Any

from qwit_durable.core.building import Sink
from qwit_durable.core.commands import Branch, Command, Gather, Leaf, Race, Saga, WaitSignal
from qwit_durable.core.frames import Answer, Raised, Returned, Wrong, Yielded, close, resume
from qwit_durable.core.scope import Frame, Group, Open, Target, is_awaited, settle_under

__all__ = ["Body"]

_COMMANDS = (*Leaf.__args__, Gather, Race, Saga)


class Body:
    """The tree of one run's generators.

    Attributes:
        open: Commands without an outcome, by position, in the order in which they were asked for.
        end: How the body ended, once it has.
        wrong: What the body did that can't be carried out durably; it is closed then.
        refusals: Messages about generators that did not close, for the log.
        needless_timers: Positions of waits that a signal has answered before their timers; whoever reads it empties it.
    """

    def __init__(self, *, limit_bytes: int | None = None) -> None:
        self.open: dict[str, Open] = {}
        self.end: Returned | Raised | None = None
        self.wrong: str | None = None
        self.refusals: list[str] = []
        self.needless_timers: list[str] = []
        self._sink = Sink(limit_bytes=limit_bytes)
        self._frames: dict[str, Frame] = {}
        self._ready: deque[tuple[Target, Answer]] = deque()
        self._signals: dict[str, deque[bytes]] = {}
        self._waiters: dict[str, deque[str]] = {}

    # -- what is told to it ------------------------------------------------------------------------------------

    def start(self, generator: Branch) -> None:
        """Run a fresh generator to its first commands."""
        root = Frame(generator, prefix="", target=None)
        self._frames[""] = root
        self._ready.append((root, Answer()))
        self._run()

    def resolve(self, entry: Open, answer: Answer | bytes) -> None:
        """Give an open command its answer: encoded, or as it is raised or returned. One that settles has settled."""
        del self.open[entry.position]
        if entry.settling:
            self._settled(entry)
        else:
            self._forget(entry)
            if isinstance(answer, bytes):
                self._answer(entry.target, entry.command, answer)
            else:
                self._ready.append((entry.target, answer))
        self._run()

    def hear(self, name: str, value: bytes) -> None:
        """Give a signal to who waits for it longest, or keep it."""
        waiting = self._waiters.get(name)
        if not waiting:
            self._signals.setdefault(name, deque()).append(value)
            return
        entry = self.open.pop(waiting.popleft())
        if entry.due is not None:
            self.needless_timers.append(entry.position)
        self._answer(entry.target, entry.command, value)
        self._run()

    def stop(self) -> None:
        """Close the body; what is open is settled on nobody's behalf."""
        self.close()
        self._settle("", None)

    def close(self, prefix: str = "") -> None:
        """Close the generators below a prefix where they stand, the inner ones first."""
        for key in sorted((k for k in self._frames if k.startswith(prefix)), key=len, reverse=True):
            frame = self._frames.pop(key)
            frame.closed = True
            if (refusal := close(frame.generator)) is not None:
                self.refusals.append(refusal)

    # -- resuming ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._ready and self.end is None and self.wrong is None:
            target, answer = self._ready.popleft()
            if not is_awaited(target):
                continue
            match target:
                case Frame():
                    self._resume(target, answer)
                case (group, index):
                    self._member_done(group, index, answer)
        self._ready.clear()

    def _resume(self, frame: Frame, answer: Answer) -> None:
        if answer.error is not None:
            self._sink = self._sink.succeeded()
        match resume(frame.generator, answer, self._sink):
            case Yielded(command=command):
                self._issue(frame.next_position(), command, frame)
            case Returned() as end:
                self._frame_ended(frame, end, Answer(end.value))
            case Raised() as end:
                self._frame_ended(frame, end, Answer(error=end.error))
            case Wrong(message=message):
                self._refuse(message)

    def _frame_ended(self, frame: Frame, end: Returned | Raised, answer: Answer) -> None:
        frame.closed = True
        del self._frames[frame.prefix]
        if frame.target is None:
            self.end = end
        else:
            self._ready.append((frame.target, answer))

    def _issue(self, position: str, command: Command, target: Target) -> None:
        match command:
            case Gather(members=members):
                group = Group(position, command, target)
                if not members:
                    self._ready.append((target, Answer(())))
                for _ in range(min(len(members), command.limit or len(members))):
                    if self.wrong is None:
                        self._start_member(group)
            case Race() | Saga():
                self._refuse("not built yet")
            case WaitSignal(name=name) if self._signals.get(name):
                self._answer(target, command, self._signals[name].popleft())
            case WaitSignal(name=name):
                self._waiters.setdefault(name, deque()).append(position)
                self.open[position] = Open(position, command, target)
            case _:
                self.open[position] = Open(position, command, target)

    def _answer(self, target: Target, command: Leaf, data: bytes) -> None:
        decode: Callable[[bytes], Any] | None = getattr(command, "decode", None)
        try:
            answer = Answer() if decode is None else Answer(decode(data))
        except Exception as error:  # noqa: BLE001 - types of the user's take part in it
            if not isinstance(command, WaitSignal):
                self._refuse(
                    f"a recorded value no longer fits today's types: {error}\n"
                    f"  way out: deploy types that take it, then retry"
                )
                return
            answer = Answer(error=error)
        self._ready.append((target, answer))

    def _refuse(self, message: str) -> None:
        self.wrong = message
        self.close()

    # -- gather ------------------------------------------------------------------------------------------------

    def _start_member(self, group: Group) -> None:
        index, position, member = group.start_next()
        target: Target = (group, index)
        if isinstance(member, _COMMANDS):
            self._issue(position, member, target)
            return
        if getgeneratorstate(member) != GEN_CREATED:
            self._refuse(_run_before(member, group))
            return
        frame = Frame(member, prefix=f"{position}.", target=target)
        self._frames[frame.prefix] = frame
        self._ready.append((frame, Answer()))

    def _member_done(self, group: Group, index: int, answer: Answer) -> None:
        if answer.error is None:
            if group.finish(index, answer.value):
                self._ready.append((group.target, Answer(group.values)))
            elif group.has_next:
                self._start_member(group)
            return
        group.failure = answer.error
        below = f"{group.position}."
        self.close(below)
        group.unsettled = self._settle(below, group)
        if not group.unsettled:
            self._ready.append((group.target, Answer(error=group.failure)))

    def _settle(self, prefix: str, group: Group | None) -> int:
        count = settle_under(prefix, self.open, group)
        if count:
            for name, waiting in self._waiters.items():
                self._waiters[name] = deque(p for p in waiting if not self.open[p].settling)
        return count

    def _settled(self, entry: Open) -> None:
        group = entry.group
        if group is None:
            return
        group.unsettled -= 1
        if not group.unsettled:
            self._ready.append((group.target, Answer(error=group.failure)))

    def _forget(self, entry: Open) -> None:
        """A wait that ends otherwise than by its signal is no wait any more."""
        if isinstance(entry.command, WaitSignal):
            self._waiters[entry.command.name].remove(entry.position)


def _run_before(member: Branch, group: Group) -> str:
    name = getattr(member, "__name__", "branch")
    return (
        f"{group.site or 'the body'} gathers the generator {name!r}, which has run before: it can run only once.\n"
        f"  likely cause: the same gather, or the same generator, is yielded twice\n"
        f"  right:  values = yield from gather({name}(...), ...), built anew each time"
    )
