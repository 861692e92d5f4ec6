"""What an open run waits for, one `Wait` for each thing: its holder or owed turn first, then its open commands.

A run that neither is held, nor is owed a turn, nor has an open command would stand still for ever. That must not be,
and is said all the same. Neighbour: `command_waits` has the waits of commands.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import attrs

from qwit_durable.client.explaining.command_waits import ExplainChild, wait_of
from qwit_durable.client.explaining.explanation import Wait, WaitKind
from qwit_durable.client.explaining.facts import Facts
from qwit_durable.client.explaining.standing import OpenCommand, told
from qwit_durable.client.plain import command_line
from qwit_durable.core import DebtKind, Kind, Status
from qwit_durable.errors import Failure
from qwit_durable.stores.rows import TURN, LiveRow, TaskRow

__all__ = ["Waits"]

#: After so long somebody who asks may want more than patience.
_LONG = timedelta(minutes=1)


@attrs.frozen(kw_only=True)
class _InHand:
    """What whoever holds the run is at, or will be, as far as that is recorded."""

    what: str
    text: str
    position: str | None = None
    attempt: int | None = None
    last_error: Failure | None = None

    @property
    def failed(self) -> str:
        if self.last_error is None or self.attempt is None:
            return ""
        return f"\nattempt {self.attempt - 1} failed: {self.last_error}"


class Waits:
    """Finds what one open run waits for."""

    def __init__(self, facts: Facts, live: LiveRow, explain_child: ExplainChild) -> None:
        self._facts = facts
        self._live = live
        self._explain_child = explain_child
        self._standing = facts.standing
        self._when = facts.when
        self._key = facts.view.run.key

    def of_moving(self) -> Iterator[Wait]:
        """Everything, where the run may go on."""
        due, turn, found = self._due_inline(), self._facts.tasks.get(TURN), False
        if self._live.owner is not None:
            yield self._held(self._live.owner, self._in_hand(due))
            found = True
        elif turn is not None:
            yield self._owed(turn, self._in_hand(due))
            found = True
        for command in self._standing.open.values():
            if command is not due or not found:
                yield wait_of(self._facts, command, self._explain_child)
        if not found and not self._standing.open:
            yield self._nothing()

    def of_standing(self) -> Iterator[Wait]:
        """Only what goes on all the same, where the run is stuck or paused: its holder, and attempts under way."""
        if self._live.owner is not None:
            yield self._held(self._live.owner, self._in_hand(self._due_inline()))
        for command in self._standing.open.values():
            below = f"{command.position}."
            if any(
                task.owner is not None
                for position, task in self._facts.tasks.items()
                if position == command.position or (command.calls is not None and position.startswith(below))
            ):
                yield wait_of(self._facts, command, self._explain_child)

    def of_scheduled(self) -> Iterator[Wait]:
        """The run is not due yet, or waits in its lane, or is the head of it since a moment ago."""
        run, workers, lane = self._facts.view.run, self._facts.workers, self._facts.lane
        turn = self._facts.tasks.get(TURN)
        if turn is not None:
            yield self._owed(turn, self._in_hand(None))
            return
        if lane is not None and lane.before is not None:
            yield Wait(
                kind=WaitKind.LANE,
                what=lane.name,
                since=run.created_at if run.start_at is None else run.start_at,
                text=lane.told_to_waiting(self._when),
                ways_out=tuple(lane.ways_out()),
            )
            return
        timer = next((t for t in self._facts.timers.values() if t.kind == "wake"), None)
        if timer is None:
            yield Wait(
                kind=WaitKind.NOTHING,
                what=run.workflow,
                since=run.created_at,
                text="waits for its time, and the timer for that is gone: nothing will begin it, please report it",
                ways_out=(f"end it, and start it anew: {command_line('terminate', self._key)}",),
            )
            return
        then = "" if run.lane is None else f", and then takes its place in lane {run.lane!r}"
        yield Wait(
            kind=WaitKind.START,
            what=run.workflow,
            since=run.created_at,
            until=timer.fire_at,
            text=f"waits for its time {self._when.until(timer.fire_at)}{then}{workers.unswept}",
            ways_out=workers.remedy(),
        )

    # -- the holder, or the owed turn --------------------------------------------------------------------------

    def _held(self, owner: int, hand: _InHand) -> Wait:
        workers, since = self._facts.workers, self._when.since(self._live.updated_at)
        name, row, is_alive = workers.name_of(owner), workers.find(owner), workers.is_alive(owner)
        lost = self._live.lost
        died = f"\n{lost} before it died while they held it, without progress" if lost else ""
        text = (
            f"worker {name} works on it {since}: {hand.text}"
            if is_alive
            else f"worker {name} held it {since}, perhaps in {hand.text}, and is dead: {workers.why_dead(owner)}\n"
            f"{workers.taken_over}"
        )
        return Wait(
            kind=WaitKind.WORKER if is_alive else WaitKind.TAKEOVER,
            what=hand.what,
            position=hand.position,
            since=self._live.updated_at,
            until=row.expires_at if row is not None and not is_alive else None,
            attempt=hand.attempt,
            last_error=hand.last_error,
            worker=name,
            text=f"{text}{hand.failed}{died}",
            ways_out=(*workers.remedy(), *(self._if_too_long(name) if is_alive else ())),
        )

    def _if_too_long(self, worker: str) -> Iterator[str]:
        """Nothing need be done about a run that is worked on; after a while somebody may want to."""
        if self._facts.now - self._live.updated_at >= _LONG:
            host, _, pid = worker.rpartition(":")
            yield f"if that is too long, see what the worker does: py-spy dump --pid {pid} (on {host})"
            if not self._live.cancel_asked and self._live.status is Status.RUNNING:
                asked = f"or ask it to stop, and undo what was done: {command_line('cancel', self._key)}"
                yield f"{asked} (a step sees it in current().cancelled)"

    def _owed(self, turn: TaskRow, hand: _InHand) -> Wait:
        workers, when, note = self._facts.workers, self._when, self._live.note
        if note is not None:
            left = when.told(self._live.updated_at)
            return Wait(
                kind=WaitKind.LEFT,
                what=hand.what,
                position=hand.position,
                since=self._live.updated_at,
                until=turn.ready_at,
                text=f"the last worker left it to others at {left}: {note}\n"
                f"another look is due {when.told(turn.ready_at)}; queue {turn.queue!r}: {workers.told(turn.queue)}",
                ways_out=("start a worker whose code can go on with it", *workers.remedy(turn.queue)),
            )
        state = "is ready" if turn.ready_at <= self._facts.now else "will be ready"
        following = f"\nnext is {hand.text}" if hand.position is not None else ""
        return Wait(
            kind=WaitKind.TURN,
            what=turn.queue,
            position=hand.position,
            since=turn.ready_at,
            attempt=hand.attempt,
            last_error=hand.last_error,
            text=f"{state} {when.since(turn.ready_at)} and no worker has taken it yet; queue {turn.queue!r}: "
            f"{workers.told(turn.queue)}{following}{hand.failed}",
            ways_out=workers.relief(turn.queue, turn.ready_at),
        )

    def _nothing(self) -> Wait:
        look = f"{command_line('pause', self._key)} && {command_line('resume', self._key)}"
        return Wait(
            kind=WaitKind.NOTHING,
            what=self._facts.view.run.workflow,
            since=self._live.updated_at,
            text="nothing is owed to it and it waits for nothing: it must not come to this, please report it",
            ways_out=(f"have it looked at: {look}",),
        )

    # -- what they are at --------------------------------------------------------------------------------------

    def _due_inline(self) -> OpenCommand | None:
        """The inline command whose next attempt is due."""
        for command in self._standing.open.values():
            is_waiting = command.retry_at is not None and command.retry_at > self._facts.now
            if command.is_inline and not is_waiting and not self._facts.is_child(command.position):
                return command
        return None

    def _in_hand(self, due: OpenCommand | None) -> _InHand:
        if due is not None:
            attempt = due.attempts + 1
            return _InHand(
                what=due.name,
                text=f"attempt {attempt} of {due.told} at {due.position}",
                position=due.position,
                attempt=attempt,
                last_error=due.last_error,
            )
        next_ones = ((plan.current, plan.place) for plan in self._standing.plans)
        debt, position = next(
            ((d, p) for d, p in next_ones if d and p not in self._standing.open), (None, "")
        )
        if debt is not None:
            kind = Kind.STEP if debt.kind is DebtKind.CALL else Kind.UNDO
            text = f"attempt 1 of {told(kind, debt.name)} at {position}"
            return _InHand(what=debt.name, text=text, position=position, attempt=1)
        last = self._standing.last
        after = f" after {told(last.kind, last.name)} at {last.position}" if last is not None else ""
        text = f"attempt 1 of an inline step{after}\nits name is recorded when the attempt ends"
        return _InHand(what=self._facts.view.run.workflow, text=text)
