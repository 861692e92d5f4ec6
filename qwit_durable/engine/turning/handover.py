"""Handing a command over: the task, timer, sub-workflow or wait that stands for it, and the event that says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

import attrs

from qwit_durable.clock import later
from qwit_durable.codec import check_size
from qwit_durable.core import (
    AS_DEFINED,
    CallStep,
    CallWorkflow,
    Cause,
    Compensate,
    Info,
    Kind,
    MapSteps,
    Now,
    Patched,
    Pending,
    Publish,
    Record,
    Resolved,
    Restart,
    Scheduled,
    Sleep,
    Undo,
    UndoRun,
    Value,
    WaitSignal,
    origin_of,
)
from qwit_durable.core.identity import identity
from qwit_durable.core.outcome import Dropped, Outcome
from qwit_durable.engine.attempting.guarding import Refusal
from qwit_durable.engine.ports import Services
from qwit_durable.engine.turning.hold import Hold
from qwit_durable.errors import Failure, UnknownName
from qwit_durable.errors.interrupt import is_interrupt
from qwit_durable.ids import child_id
from qwit_durable.stores.rows import RunRow, TaskSpec, TimerRow
from qwit_durable.stores.writes import NewTask, Reopen

__all__ = ["CALLS_AT_ONCE", "hand_over", "queue_of", "resolve_local", "resolved", "settling", "task_of"]

#: How many calls of a map one transition hands over.
CALLS_AT_ONCE = 500
#: So many calls of a map are rung for at first; then some together, when the one that is so far before them begins.
BELLS_AT_ONCE = 1_000
BELLS_TOGETHER = 50
#: How long so many may take before the sweeper rings for the next ones: longer than short steps need.
_QUIET = timedelta(seconds=5)


def resolved(pending: Pending, outcome: Outcome, attempt: int = 1) -> Resolved:
    """The event that records a command's outcome."""
    command = pending.command
    if type(command) is CallStep and type(outcome) is Value:  # the frequent one
        return Resolved(
            position=pending.position,
            kind=Kind.STEP,
            name=command.name,
            args=command.args,
            outcome=outcome,
            attempt=attempt,
        )
    kind, name, args = identity(command)
    return Resolved(
        position=pending.position,
        kind=kind,
        name=name,
        args=args,
        outcome=outcome,
        attempt=attempt,
        refused=outcome.value if isinstance(outcome, Refusal) else None,
    )


def settling(pending: Pending, *, lost: bool) -> Resolved:
    """The event that records a command as dropped, if the store finds that it can be.

    `lost`: a holder of the run died, perhaps in an attempt of this command that is recorded nowhere.
    """
    begun = (
        pending.begun
        or pending.attempts > 0
        or (lost and isinstance(pending.command, CallStep) and not pending.queued)
    )
    return resolved(pending, Dropped(begun=begun), max(pending.attempts, 1))


def resolve_local(services: Services, hold: Hold, pending: Pending) -> Resolved | None:
    """The outcome of a command that needs nobody else: a recorded value, or a registered compensation."""
    match pending.command:
        case Now():
            return resolved(pending, Value(_json_time(hold.now())))
        case Record(name=name, produce=produce):
            try:
                data = produce()
                check_size(data, f"the value of {name}()", services.settings.limit_bytes)
                return resolved(pending, Value(data))
            except BaseException as error:  # what the recorded function raises is its outcome
                if is_interrupt(error):
                    raise
                return resolved(pending, Failure.of(error))
        case Compensate():
            return resolved(pending, Value())
        case Patched():
            return resolved(pending, Value(b"true"))
        case Publish(name=key, value=value):
            hold.publish(key, value)
            return resolved(pending, Value())
        case Info():
            return resolved(pending, Value(_facts_about(hold)))
        case _:
            return None


def _facts_about(hold: Hold) -> bytes:
    """What `info()` answers, as the language layer reads it."""
    run = hold.run
    facts = {
        "run_id": run.key,
        "namespace": run.namespace,
        "workflow": run.workflow,
        "version": run.version,
        "started_at": run.created_at.isoformat(),
        "attempt": hold.live.generation + 1,
    }
    return json.dumps(facts, sort_keys=True).encode()


def _json_time(moment: datetime) -> bytes:
    return f'"{moment.isoformat()}"'.encode()


def queue_of(services: Services, run: RunRow, command: CallStep | Undo) -> str:
    """The broker queue of a step or an undo: the call's, else the step's, else the workflow's."""
    if isinstance(command, CallStep) and command.settings.queue is not None:
        return command.settings.queue
    try:
        step = services.registry.step(command.name)
    except UnknownName:
        return run.queue
    if isinstance(command, Undo) and (undo := step.undo_definition) is not None and undo.settings.queue:
        return undo.settings.queue
    return step.settings.queue or run.queue


def hand_over(
    services: Services,
    hold: Hold,
    pending: Pending,
    given: Mapping[int, bytes] | None = None,
    *,
    begins: bool = False,
) -> None:
    """Add to the transition what carries the command out from now on.

    `given`: what guards put in the place of the arguments of a map's calls, by their numbers. `begins`: this worker
    makes the first attempt of the step at once.
    """
    kind, name, args = identity(pending.command)
    due: datetime | None = None
    queued = False
    match pending.command:
        case Sleep(duration=duration, until=until):
            due = until if until is not None else later(hold.now(), duration or timedelta(0))
        case WaitSignal(timeout=timeout):
            due = later(hold.now(), timeout) if timeout is not None else None
        case CallWorkflow() as call:
            child = _child(services, hold, pending.position, call)
            hold.add(start=child)
            hold.after_commit(lambda: services.observers.tell("run_started", child))
        case UndoRun(position=position):
            assert pending.cause is not None
            child_at = origin_of(position, hold.live.generation)
            reopen = Reopen(run_id=child_id(hold.run.id, *child_at), cause=pending.cause, at=pending.position)
            hold.add(reopen=reopen)
        case CallStep() | Undo() as command:
            task = task_of(services, hold, pending, command)
            hold.add(task=attrs.evolve(task, attempt=1, quiet=services.settings.lease) if begins else task)
            queued = True
        case MapSteps() as command:
            _hand_over_calls(services, hold, pending, command, given or {})
            return
        case Now() | Record() | Compensate() | Publish() | Patched() | Info() | Restart():
            return
    if due is not None:
        hold.add(timer=TimerRow(run_id=hold.run.id, position=pending.position, fire_at=due))
    hold.record(
        Scheduled(
            position=pending.position,
            kind=kind,
            name=name,
            args=args,
            due=due,
            queued=queued,
            given=pending.given,
        )
    )


def _hand_over_calls(
    services: Services, hold: Hold, pending: Pending, command: MapSteps, given: Mapping[int, bytes]
) -> None:
    """Hand over the next calls of a map: a few hundred at a time, so that no transition grows with the map.

    Under a limit, the calls beyond it are held back: call n lets call n + limit begin. Those that may all begin are
    rung for by and by: the bells of many would lie in the broker for long, and the sweeper would ring again and again.
    """
    total, limit = len(command.items), command.limit or len(command.items)
    free = min(limit, total)
    upto = min(pending.handed + CALLS_AT_ONCE, total)
    call = CallStep(name=command.name, args=b"null", settings=command.settings, is_changed=True)
    queue = queue_of(services, hold.run, call)
    for index in range(pending.handed, upto):
        then = f"{pending.position}.{index + limit}" if index + limit < total else None
        behind = index + BELLS_AT_ONCE
        asked_for = attrs.evolve(call, args=command.items[index])
        spec = attrs.evolve(_spec(Kind.MAP, asked_for, None, given.get(index)), then=then)
        if index % BELLS_TOGETHER == 0 and behind < free:
            spec = attrs.evolve(spec, rings=(behind, min(behind + BELLS_TOGETHER, free)))
        task = NewTask(
            position=f"{pending.position}.{index}",
            queue=queue,
            spec=spec,
            priority=command.settings.priority,
            after=f"{pending.position}.{index - limit}" if index >= limit else None,
            quiet=_QUIET * (index // BELLS_AT_ONCE) if BELLS_AT_ONCE <= index < free else None,
        )
        hold.add(task=task)
    hold.record(
        Scheduled(
            position=pending.position,
            kind=Kind.MAP,
            name=command.name,
            args=command.args,
            queued=True,
            upto=upto,
        )
    )


def task_of(services: Services, hold: Hold, pending: Pending, command: CallStep | Undo) -> NewTask:
    """The task of a step or an undo."""
    kind = Kind.UNDO if isinstance(command, Undo) else Kind.STEP
    settings = command.settings if isinstance(command, CallStep) else AS_DEFINED
    return NewTask(
        position=pending.position,
        queue=queue_of(services, hold.run, command),
        spec=_spec(kind, command, pending.cause, pending.given),
        priority=settings.priority,
    )


def _spec(kind: Kind, command: CallStep | Undo, cause: Cause | None, given: bytes | None = None) -> TaskSpec:
    # What the step says itself, whoever makes the attempt knows.
    own = isinstance(command, CallStep) and command.is_changed and command.settings is not AS_DEFINED
    settings = command.settings if isinstance(command, CallStep) and own else None
    retry = settings.retry if settings is not None else None
    return TaskSpec(
        kind=kind,
        name=command.name,
        undoes=command.attempt if isinstance(command, Undo) else None,
        args=command.args,
        given=given,
        result=command.result if isinstance(command, Undo) else None,
        resumes=command.resumes if isinstance(command, Undo) else None,
        failure=cause.failure if isinstance(command, Undo) and cause is not None else None,
        timeout=settings.timeout if settings is not None else None,
        deadline=settings.deadline if settings is not None else None,
        heartbeat=settings.heartbeat if settings is not None else None,
        retry=None if retry is None else retry.recorded(),
        transactional=settings is not None and settings.transactional,
    )


def _child(services: Services, hold: Hold, position: str, call: CallWorkflow) -> RunRow:
    parent = hold.run
    try:
        definition = services.registry.workflow(call.name)
        queue, version = definition.queue, definition.version
        deadline = call.deadline or definition.deadline
    except UnknownName:
        queue, version, deadline = parent.queue, None, call.deadline
    now = hold.now()
    run_id = child_id(parent.id, hold.live.generation, position)
    return RunRow(
        id=run_id,
        namespace=parent.namespace,
        key=str(run_id),
        workflow=call.name,
        version=version,
        queue=queue,
        root_id=parent.root_id,
        args=call.args,
        created_at=now,
        parent_id=parent.id,
        parent_position=position,
        attributes=dict(call.attributes or {}),
        deadline_at=later(now, deadline) if deadline is not None else None,
        trace=parent.trace,
    )
