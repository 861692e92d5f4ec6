"""A body under way: its generators, the groups between them, and the commands that they wait for.

What is answered goes up the tree until a generator can be resumed with it; what that one yields becomes an open command
(or, for a group, several). Resuming goes on until nothing more can be resumed, or until the body has ended or did
something wrong. Positions are paths, so that branches number themselves whoever finishes first.

A part that nobody goes on with is closed: a failed gather or saga, the losers of a race. `closings` has those that are
not over yet; what each of them waits for is settled, undone, and only then answered.

The engine alone closes generators: `stop` and `close` do, on the thread that owns the body. Neighbours: `frames`
resumes and closes one generator, `interpreter` knows the events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from inspect import GEN_CREATED, getgeneratorstate
from typing import Any

import attrs

from qwit_durable.core.building import Sink
from qwit_durable.core.closings import Closings
from qwit_durable.core.commands import (
    Branch,
    CallStep,
    Command,
    Gather,
    Leaf,
    MapSteps,
    Patched,
    Race,
    Restart,
    Saga,
    WaitSignal,
)
from qwit_durable.core.debts import Debts
from qwit_durable.core.decision import Pending
from qwit_durable.core.events import Cause, SignalReceived
from qwit_durable.core.frames import (
    Answer,
    Raised,
    Resumed,
    Returned,
    Wrong,
    close,
    restart_in_branch,
    resume,
    run_before,
)
from qwit_durable.core.mailbox import Mailbox
from qwit_durable.core.scope import Closing, Frame, Group, Open, Target, is_awaited, is_past, lies_in
from qwit_durable.errors import Failure, RaceLost

__all__ = ["Body", "Restarting"]

_COMMANDS = (*Leaf.__args__, Gather, Race, Saga)


@attrs.frozen
class Restarting:
    """The body has asked to begin anew with these arguments."""

    args: bytes


class Body:
    """The tree of one run's generators.

    Attributes:
        open: Commands without an outcome, by position, in the order in which they were asked for.
        closings: Parts that nobody goes on with and that are not over yet.
        end: How the body ended, once it has.
        wrong: What the body did that can't be carried out durably; it is closed then.
        refusals: Messages about generators that did not close, for the log.
        mailbox: The signals that nobody has taken.
        needless_timers: Positions of waits that a signal has answered before their timers; whoever reads it empties it.
    """

    def __init__(self, debts: Debts, sink: Sink) -> None:
        self.open: dict[str, Open] = {}
        self.end: Returned | Raised | Restarting | None = None
        self.wrong: str | None = None
        self.refusals: list[str] = []
        self.needless_timers: list[str] = []
        self.mailbox = Mailbox()
        self.closings = Closings(debts, lambda target, answer: self._ready.append((target, answer)))
        self._debts = debts
        self._sink = sink
        self._frames: dict[str, Frame] = {}
        self._ready: deque[tuple[Target, Answer]] = deque()
        self._patches: dict[str, bool] = {}

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
            self.closings.one_settled(entry.closing)
        else:
            match entry.command:
                case WaitSignal(name=name):  # it ends otherwise than by its signal
                    self.mailbox.forget(name, entry.position)
                case Patched(name=name):
                    self._patches.setdefault(name, answer == Answer(value=True))
                case _:
                    pass
            if isinstance(answer, bytes):
                self._answer(entry.target, entry.command, answer)
            else:
                self._ready.append((entry.target, answer))
        self._run()

    def give(self, entry: Open, frame: Frame, value: Any) -> None:
        """As `resolve`, of a step that a generator waits for by itself, with its value: what most facts come to."""
        del self.open[entry.pending.position]
        self._take_in(frame, resume(frame.generator, value, None, self._sink))
        if self._ready:
            self._run()

    def fail_map(self, entry: Open, error: BaseException) -> None:
        """A call of a map has failed: its other calls settle, then the error is raised."""
        if not entry.settling:
            cause = Cause(failure=Failure.of(error))
            self._close(
                Closing(entry.position, undoes=False, cause=cause, failure=error, target=entry.target)
            )
            self._run()

    def hear(self, signal: SignalReceived) -> None:
        """Give a signal to who waits for it longest, or keep it."""
        position = self.mailbox.put(signal)
        if position is None:
            return
        entry = self.open.pop(position)
        if entry.pending.due is not None:
            self.needless_timers.append(position)
        self._answer(entry.target, entry.command, signal.value)
        self._run()

    def pass_patches(self, position: str) -> bool:
        """Take the old path at a patch that the history contradicts at this position; tell whether there was one.

        That is one whose place the history has gone past, or left with the scope around it; else the first that is
        asked: until its answer is recorded, a run whose code asks does nothing that does not fit the question.
        """
        asked = [e for e in self.open.values() if isinstance(e.command, Patched) and not e.settling]
        left = [e for e in asked if is_past(e.target, position) or lies_in(e.position, position)]
        for entry in (left or asked)[:1]:
            self.resolve(entry, Answer(value=False))
            return True
        return False

    def drop_patch(self, position: str) -> bool:
        """Take it that a branch which nobody goes on with had gone past its patch; tell whether there was one."""
        for entry in self.open.values():
            if isinstance(entry.command, Patched) and entry.settling and is_past(entry.target, position):
                self.resolve(entry, Answer(value=False))
                return True
        return False

    def finish(self, closing: Closing) -> None:
        """All that a closing owed is undone."""
        self.closings.finish(closing)
        self._run()

    def stop(self, *, undoes: bool = True) -> None:
        """Close the body; what is open is settled on nobody's behalf.

        `undoes` tells whether scopes that have not begun to undo what they owe still do.
        """
        self.close()
        for entry in self.open.values():
            entry.settling = True
        self.mailbox.forget_all()
        self.closings.stop(undoes=undoes)

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
            if isinstance(target, Frame):
                if not target.closed:
                    self._resume(target, answer)
            elif is_awaited(target):
                self._member_done(*target, answer)
        self._ready.clear()

    def _resume(self, frame: Frame, answer: Answer) -> None:
        if answer.error is not None:
            self._sink = self._sink.succeeded()
        self._take_in(frame, resume(frame.generator, answer.value, answer.error, self._sink))

    def _take_in(self, frame: Frame, resumed: Resumed) -> None:
        match resumed:
            case CallStep():  # the frequent one
                position = frame.next_position()
                self.open[position] = Open(Pending(position=position, command=resumed), frame)
            case Patched():
                self._issue(frame.place, resumed, frame)
            case Restart(args=args) if frame.target is None:
                self.end = Restarting(args)
                self.close()
            case Returned() as end:
                self._frame_ended(frame, end, Answer(end.value))
            case Raised() as end:
                self._frame_ended(frame, end, Answer(error=end.error))
            case Wrong(message=message):
                self._refuse(message)
            case command:
                self._issue(frame.next_position(), command, frame)

    def _frame_ended(self, frame: Frame, end: Returned | Raised, answer: Answer) -> None:
        frame.closed = True
        del self._frames[frame.prefix]
        if frame.target is None:
            self.end = end
        else:
            self._ready.append((frame.target, answer))

    def _issue(self, position: str, command: Command, target: Target) -> None:
        match command:
            case Gather() | Race() | Saga():
                self._begin_group(Group(position, command, target, self._debts.newest))
            case MapSteps(items=()):
                self._ready.append((target, Answer(())))
            case MapSteps(items=items):
                pending = Pending(position=position, command=command)
                self.open[position] = Open(pending, target, values=[None] * len(items), missing=len(items))
            case WaitSignal(name=name):
                self._wait_for_signal(position, command, target, name)
            case Patched(name=name) if name in self._patches:
                self._ready.append((target, Answer(self._patches[name])))
            case Patched(name=name):
                place = f"{position}!{name}"
                self.open[place] = Open(Pending(position=place, command=command), target)
            case Restart():
                self._refuse(restart_in_branch(command.site))
            case _:
                self.open[position] = Open(Pending(position=position, command=command), target)

    def _wait_for_signal(self, position: str, command: WaitSignal, target: Target, name: str) -> None:
        value = self.mailbox.take(name)
        if value is not None:
            self._answer(target, command, value)
            return
        self.mailbox.wait(name, position)
        self.open[position] = Open(Pending(position=position, command=command), target)

    def _answer(self, target: Target, command: Leaf, data: bytes) -> None:
        decode: Callable[[bytes], Any] | None = getattr(command, "decode", None)
        try:
            answer = Answer() if decode is None else Answer(decode(data))
        except Exception as error:  # noqa: BLE001 - types of the user's take part in it
            if not isinstance(command, WaitSignal):
                self.refuse_value(error)
                return
            answer = Answer(error=error)
        self._ready.append((target, answer))

    def refuse_value(self, error: Exception) -> None:
        """A recorded value can't be read any more."""
        self._refuse(
            f"a recorded value no longer fits today's types: {error}\n"
            f"  way out: deploy types that take it, then retry"
        )

    def _refuse(self, message: str) -> None:
        self.wrong = message
        self.close()

    # -- groups ------------------------------------------------------------------------------------------------

    def _begin_group(self, group: Group) -> None:
        if not group.first_members:
            self._ready.append((group.target, Answer(())))
        for _ in range(group.first_members):
            if self.wrong is None:
                self._start_member(group)

    def _start_member(self, group: Group) -> None:
        index, position, member = group.start_next()
        target: Target = (group, index)
        if isinstance(member, _COMMANDS):
            self._issue(position, member, target)
            return
        if getgeneratorstate(member) != GEN_CREATED:
            self._refuse(run_before(member, type(group.command).__name__.lower(), group.site))
            return
        frame = Frame(member, prefix=f"{position}.", target=target)
        self._frames[frame.prefix] = frame
        self._ready.append((frame, Answer()))

    def _member_done(self, group: Group, index: int, answer: Answer) -> None:
        if isinstance(group.command, Race):
            self._race_won(group, index, answer)
        elif answer.error is not None:
            group.is_over = True
            self._close(
                Closing(
                    group.position,
                    undoes=isinstance(group.command, Saga),
                    cause=Cause(failure=Failure.of(answer.error)),
                    since=group.since,
                    failure=answer.error,
                    target=group.target,
                )
            )
        elif group.finish(index, answer.value):
            self._ready.append((group.target, Answer(group.value)))
        elif group.has_next:
            self._start_member(group)

    def _race_won(self, group: Group, winner: int, answer: Answer) -> None:
        group.is_over = True
        lost = RaceLost(f"member {winner} of the race at {group.position} was first")
        won = answer if answer.error is not None else Answer((winner, answer.value))
        self._ready.append((group.target, won))
        for index in group.members:
            if index != winner:
                scope, cause = f"{group.position}.{index}", Cause(failure=Failure.of(lost))
                self._close(Closing(scope, undoes=True, cause=cause, since=group.since))

    # -- closing -----------------------------------------------------------------------------------------------

    def _close(self, closing: Closing) -> None:
        self.close(f"{closing.scope}.")
        self.closings.begin(closing, self.open.values())
        self.mailbox.forget_all(lambda position: self.open[position].settling)
