"""Starting runs: arguments checked and encoded, one write, one bell; or many in one write, with few bells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import attrs

from qwit_durable.client.access import Access
from qwit_durable.client.handle import Handle
from qwit_durable.client.startable import to_starts
from qwit_durable.codec import check_size
from qwit_durable.errors import EncodingError, RunAlreadyExists
from qwit_durable.ids import new_run_id
from qwit_durable.language.options import StartOptions
from qwit_durable.language.workflow import ToStart, WorkflowDefinition
from qwit_durable.observers.base import Observer, Observers
from qwit_durable.stores.answers import Answer, Started
from qwit_durable.stores.kernel.waking import RING_GRACE
from qwit_durable.stores.rows import Ring, RunRow
from qwit_durable.stores.writes import Start

__all__ = ["start_run", "start_runs"]

_AT_ONCE = timedelta(microseconds=1)
#: So many are written together; others' writes go in between.
_AT_ONCE_RUNS = 256
#: So many of those that were refused are named in the message.
_NAMED = 5


def start_run(
    access: Access,
    definition: WorkflowDefinition[Any, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: StartOptions,
    *,
    observers: Sequence[Observer] = (),
) -> Handle[Any]:
    """Store a run, or find the one that stands under its id, and answer its handle."""
    wanted = _Wanted.of(access, ToStart(definition, args, kwargs, options), observers)
    within = options.connection
    answer = access.begin(wanted.write) if within is None else access.start_within(within, wanted.write)
    handle, ring = wanted.started(access, answer, observers)
    if ring is not None:
        access.ring([ring])
    return handle


def start_runs(
    access: Access, many: Iterable[ToStart[Any]], *, observers: Sequence[Observer] = ()
) -> list[Handle[Any]]:
    """The same for many at once, some hundreds in one write; bells are rung for all of them together."""
    all_wanted = [_Wanted.of(access, one, observers) for one in to_starts(many)]
    handles: list[Handle[Any] | None] = []
    errors: list[Exception] = []
    for at in range(0, len(all_wanted), _AT_ONCE_RUNS):
        some = all_wanted[at : at + _AT_ONCE_RUNS]
        rings: list[Ring] = []
        for wanted, answer in zip(some, _answers(access, some), strict=True):
            handle, ring = None, None
            try:
                handle, ring = wanted.started(access, _told(answer), observers)
            except Exception as error:  # noqa: BLE001 - raised when all the others are started
                errors.append(error)
            handles.append(handle)
            rings.extend([ring] if ring is not None else ())
        access.ring(rings)
    if errors:
        raise _of_many(errors, handles)
    return [handle for handle in handles if handle is not None]


def _of_many(errors: Sequence[Exception], handles: Sequence[Handle[Any] | None]) -> Exception:
    """What is raised: a refusal of some is told only where all the others are started."""
    refusals = [error for error in errors if isinstance(error, RunAlreadyExists)]
    if len(refusals) < len(errors):
        return next(error for error in errors if not isinstance(error, RunAlreadyExists))
    refused = tuple(key for refusal in refusals for key in refusal.refused)
    named = ", ".join(repr(key) for key in refused[:_NAMED]) + (", …" if len(refused) > _NAMED else "")
    msg = (
        f"{refusals[0]}\n"
        f"  refused of {len(handles)} runs: {named}; the others are started, their handles are in its `handles`"
    )
    return RunAlreadyExists(msg, refused=refused, handles=tuple(handles))


def _answers(access: Access, some: Sequence[_Wanted]) -> Iterator[Answer | BaseException]:
    """What the store says to each, in order; those in a caller's transaction are carried out there, one by one."""
    together = [one.write for one in some if one.options.connection is None]
    answers = iter(access.write_all(together) if together else ())
    for one in some:
        if one.options.connection is None:
            yield next(answers)
        else:
            try:
                yield access.start_within(one.options.connection, one.write)
            except Exception as error:  # noqa: BLE001 - whatever the caller's driver raises; it keeps no other from being started
                yield error


def _told(answer: Answer | BaseException) -> Answer:
    if isinstance(answer, BaseException):
        raise answer
    return answer


@attrs.frozen
class _Wanted:
    """A run that is to be started, checked and encoded."""

    definition: WorkflowDefinition[Any, Any]
    options: StartOptions
    write: Start

    @classmethod
    def of(cls, access: Access, one: ToStart[Any], observers: Sequence[Observer]) -> _Wanted:
        """Check and encode it. Nothing is stored."""
        definition, options = one.definition, one.options
        data = definition.encode_args(one.args, one.kwargs)
        check_size(data, f"the arguments of workflow {definition.name!r}", access.limit_bytes)
        now = access.clock.now()
        run_id = new_run_id(now)
        key = options.id or str(run_id)
        row = RunRow(
            id=run_id,
            namespace=access.namespace,
            key=key,
            workflow=definition.name,
            version=definition.version,
            queue=definition.queue,
            root_id=run_id,
            args=data,
            created_at=now,
            start_at=options.at,
            lane=options.lane,
            attributes=dict(options.attributes or {}),
            trace=Observers(observers).trace_for_start(definition.name, key),
        )
        write = Start(
            run=row,
            delay=_delay(options),
            deadline=options.deadline or definition.deadline,
            on_conflict=options.on_conflict,
            ring_after=RING_GRACE if access.can_ring and options.connection is None else timedelta(0),
        )
        return cls(definition, options, write)

    def started(
        self, access: Access, started: Answer, observers: Sequence[Observer]
    ) -> tuple[Handle[Any], Ring | None]:
        """Its handle, and the bell that is owed, by what the store has answered.

        Raises:
            RunAlreadyExists: Another run stands under its id.
        """
        assert isinstance(started, Started)
        handle: Handle[Any] = Handle(access, started.run.id, started.run.key)
        if not started.created:
            _check_same(self.definition, self.write.run.args, self.options, started)
        elif self.options.connection is not None:
            handle.announce_once_committed(lambda: Observers(observers).tell("run_started", started.run))
        else:
            Observers(observers).tell("run_started", started.run)
            return handle, started.ring
        return handle, None


def _delay(options: StartOptions) -> timedelta | None:
    """How long the run waits.

    In a caller's transaction it may take no place in its lane, or all others of the lane would wait for that to end: it
    takes it when it is due, that is, as soon as it is seen.
    """
    waits = options.delay is not None or options.at is not None
    return options.delay if options.connection is None or options.lane is None or waits else _AT_ONCE


def _check_same(
    definition: WorkflowDefinition[Any, Any], data: bytes, options: StartOptions, started: Started
) -> None:
    run = started.run
    said = f"run {run.key!r} exists already: workflow {run.workflow!r}, {started.status}"
    if options.on_conflict == "fail":
        msg = f'{said}\n  way out: another id, or on_conflict="attach" to get its handle'
        raise RunAlreadyExists(msg, refused=(run.key,))
    if options.on_conflict == "replace":
        msg = f'{said}, and it has not ended\n  way out: wait for it, cancel or terminate it, or on_conflict="attach"'
        raise RunAlreadyExists(msg, refused=(run.key,))
    if run.workflow != definition.name:
        msg = f"{said}; asked for was workflow {definition.name!r}\n  way out: another id"
        raise RunAlreadyExists(msg, refused=(run.key,))
    if run.args != data and not _same(definition, run.args, data):
        msg = (
            f"{said}, with another input\n"
            f"  stored: {run.args.decode()[:200]}\n"
            f"  given:  {data.decode()[:200]}\n"
            f'  way out: another id, or on_conflict="replace" once it has ended'
        )
        raise RunAlreadyExists(msg, refused=(run.key,))


def _same(definition: WorkflowDefinition[Any, Any], stored: bytes, given: bytes) -> bool:
    try:
        return definition.normalise_args(stored) == given
    except (EncodingError, TypeError, ValueError):
        return False
