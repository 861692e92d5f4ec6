"""What an open command waits for: a time, a signal, a worker, the end of an attempt or of a sub-workflow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from qwit_durable.client.explaining.explanation import Explanation, Wait, WaitKind
from qwit_durable.client.explaining.facts import Facts
from qwit_durable.client.explaining.standing import Calls, OpenCommand
from qwit_durable.client.plain import command_line, decoded, shortened
from qwit_durable.core import Kind
from qwit_durable.stores.rows import RunView, TaskRow

__all__ = ["ExplainChild", "wait_of"]

#: Explains a sub-workflow, or answers None where that would be too much.
ExplainChild = Callable[[RunView], Explanation | None]

_RINGS_UNANSWERED = 2
_DETAIL_CHARS = 100


def wait_of(facts: Facts, command: OpenCommand, explain_child: ExplainChild) -> Wait:
    """The wait of one command."""
    if facts.is_child(command.position):
        return _sub_workflow(facts, command, explain_child)
    if command.kind is Kind.SLEEP:
        return _timer(facts, command)
    if command.kind is Kind.SIGNAL:
        return _signal(facts, command)
    if command.calls is not None:
        return _map(facts, command, command.calls)
    task = facts.tasks.get(command.position)
    if task is None:
        return _backoff(facts, command)
    if task.parked_at is not None:
        return _completion(facts, command, task, task.parked_at)
    if task.owner is not None:
        return _attempt(facts, command, task, task.owner)
    return _backoff(facts, command, task) if task.ready_at > facts.now else _queued(facts, command, task)


def _timer(facts: Facts, command: OpenCommand) -> Wait:
    when, due = facts.when, command.due or command.since
    return Wait(
        kind=WaitKind.TIMER,
        what=command.name,
        position=command.position,
        since=command.since,
        until=due,
        text=f"waits for a timer at {command.position} {when.since(command.since)}, "
        f"{when.until(due)}{facts.workers.unswept}",
        ways_out=facts.workers.remedy(),
    )


def _signal(facts: Facts, command: OpenCommand) -> Wait:
    when, due = facts.when, command.due
    until = "without a timeout" if due is None else when.until(due) + facts.workers.unswept
    return Wait(
        kind=WaitKind.SIGNAL,
        what=command.name,
        position=command.position,
        since=command.since,
        until=due,
        text=f"waits for signal {command.name!r} at {command.position} {when.since(command.since)}, {until}",
        ways_out=(
            f"send it: {command_line('signal', facts.view.run.key, command.name)} <JSON value>",
            *facts.workers.remedy(),
        ),
    )


def _backoff(facts: Facts, command: OpenCommand, task: TaskRow | None = None) -> Wait:
    """An attempt failed and the next one is not due: of an inline step, or of a queued one, which has a task."""
    attempts = command.attempts if task is None else task.attempt
    due = (command.retry_at if task is None else task.ready_at) or command.since
    return Wait(
        kind=WaitKind.BACKOFF,
        what=command.name,
        position=command.position,
        since=command.since,
        until=due,
        attempt=attempts + 1,
        last_error=command.last_error,
        text=f"waits to try {command.told} at {command.position} again: "
        f"attempt {attempts + 1} is due {facts.when.told(due)}{facts.workers.unswept}{_failed(command)}{_asked(task)}",
        ways_out=facts.workers.remedy(),
    )


def _queued(facts: Facts, command: OpenCommand, task: TaskRow) -> Wait:
    workers, attempt = facts.workers, task.attempt + 1
    since = task.ready_at if task.attempt else command.since
    remedy, unanswered = workers.remedy(task.queue), ""
    if task.note is not None:
        unanswered = "\nthe last worker that looked at it left it to others: " + task.note.replace(
            "\n", "\n  "
        )
        remedy = (f"start a worker of queue {task.queue!r} whose code defines step {task.name!r}", *remedy)
    elif not remedy and task.rings >= _RINGS_UNANSWERED:
        unanswered = (
            f"\nit was rung for {task.rings} times: do they know step {task.name!r}, and are they free?"
        )
        remedy = (
            f"start a worker of queue {task.queue!r} whose code defines step {task.name!r}",
            *workers.relief(task.queue, since),
        )
    return Wait(
        kind=WaitKind.QUEUE,
        what=command.name,
        position=command.position,
        since=since,
        attempt=attempt,
        last_error=command.last_error,
        text=f"waits {facts.when.since(since)} for a worker to begin attempt {attempt} of {command.told} at "
        f"{command.position} on queue {task.queue!r}: {workers.told(task.queue)}"
        f"{unanswered}{_failed(command)}{_asked(task)}",
        ways_out=remedy,
    )


def _completion(facts: Facts, command: OpenCommand, task: TaskRow, since: datetime) -> Wait:
    """A step, or an undo, has returned and was left open."""
    when, timer = facts.when, facts.timers.get(command.position)
    due = timer.fire_at if timer is not None and timer.kind == "expire" else None
    until = "without a deadline" if due is None else when.until(due) + facts.workers.unswept
    return Wait(
        kind=WaitKind.COMPLETION,
        what=command.name,
        position=command.position,
        since=since,
        until=due,
        attempt=task.attempt,
        last_error=command.last_error,
        text=f"waits for the completion of {command.told} (attempt {task.attempt}) at {command.position} "
        f"{when.since(since)}, {until}\n"
        f"its code handed the token over, to wherever it sends such tokens{_failed(command)}",
        ways_out=(
            "complete it with that token: qwit complete TOKEN <JSON value>",
            "or end this attempt: qwit fail TOKEN <error>",
            *facts.workers.remedy(),
        ),
    )


def _attempt(facts: Facts, command: OpenCommand, task: TaskRow, owner: int) -> Wait:
    when, workers = facts.when, facts.workers
    since, name, row = task.claimed_at or command.since, workers.name_of(owner), workers.find(owner)
    what = f"attempt {task.attempt} of {command.told} at {command.position}"
    is_alive = workers.is_alive(owner)
    text = (
        f"worker {name} makes {what} {when.since(since)}"
        if is_alive
        else f"worker {name} made {what} {when.since(since)} and is dead: {workers.why_dead(owner)}\n"
        f"{workers.taken_over}"
    )
    return Wait(
        kind=WaitKind.ATTEMPT if is_alive else WaitKind.TAKEOVER,
        what=command.name,
        position=command.position,
        since=since,
        until=row.expires_at if row is not None and not is_alive else None,
        attempt=task.attempt,
        last_error=command.last_error,
        worker=name,
        text=f"{text}{_progress(facts, task)}{_failed(command)}{_asked(task)}",
        ways_out=workers.remedy(),
    )


def _map(facts: Facts, command: OpenCommand, calls: Calls) -> Wait:
    """The calls of a map, counted: none of them is told of by itself."""
    tasks = [task for task in facts.tasks.values() if task.position.startswith(f"{command.position}.")]
    running = sum(task.owner is not None for task in tasks)
    left_open = sum(task.parked_at is not None for task in tasks)
    idle = [task for task in tasks if task.owner is None and task.parked_at is None]
    queued = [task for task in idle if task.ready_at <= facts.now]
    again = sum(task.attempt > 0 and task.ready_at > facts.now for task in idle)
    counts = {
        "done": calls.done,
        "failed": calls.failed,
        "running": running,
        "to be completed from outside": left_open,
        "waiting for a worker": len(queued),
        "to be tried again": again,
        "held back by the limit": len(idle) - len(queued) - again,
        "not handed over yet": calls.total - calls.handed,
    }
    told = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    queue = queued[0].queue if queued else None
    where = "" if queue is None else f"\nqueue {queue!r}: {facts.workers.told(queue)}"
    asked = (
        ""
        if calls.left is None
        else "\nnobody waits for their values any more; what is running is asked to stop"
    )
    failed = "" if command.last_error is None else f"\nthe last attempt that failed: {command.last_error}"
    return Wait(
        kind=WaitKind.MAP,
        what=command.name,
        position=command.position,
        since=command.since,
        last_error=command.last_error,
        text=f"waits {facts.when.since(command.since)} for {calls.total:,} calls of step {command.name!r} at "
        f"{command.position}: {told}{where}{failed}{asked}",
        ways_out=facts.workers.remedy(queue),
    )


def _progress(facts: Facts, task: TaskRow) -> str:
    """What is known of an attempt under way."""
    opened = "\nit may be completed with its token already" if task.opened == task.attempt else ""
    if task.progress is None or task.progress_at is None:
        return opened
    detail = shortened(decoded(task.progress), _DETAIL_CHARS)
    return f"{opened}\nlast progress at {facts.when.told(task.progress_at)}: {detail}"


def _sub_workflow(facts: Facts, command: OpenCommand, explain_child: ExplainChild) -> Wait:
    view = facts.child_at(command.position)
    child = explain_child(view) if view is not None else None
    state = "has not undone yet what it did" if command.kind is Kind.UNDO else "has not ended"
    key = f" ({view.run.key}, {view.status})" if view is not None and child is None else ""
    ways = () if child is None else tuple(dict.fromkeys(way for wait in child.waits for way in wait.ways_out))
    return Wait(
        kind=WaitKind.WORKFLOW,
        what=command.name,
        position=command.position,
        since=command.since,
        text=f"waits {facts.when.since(command.since)} for sub-workflow {command.name!r}{key} at {command.position}, "
        f"which {state}",
        ways_out=ways,
        child=child,
    )


def _failed(command: OpenCommand) -> str:
    if command.last_error is None:
        return ""
    return f"\nattempt {command.attempts} failed: {command.last_error}"


def _asked(task: TaskRow | None) -> str:
    if task is None or not task.cancelled:
        return ""
    return "\nit is asked to stop; whatever becomes of it is waited for"
