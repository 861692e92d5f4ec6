"""Starting runs: arguments checked and encoded, one write, one bell."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from qwit_durable.client.access import Access
from qwit_durable.client.handle import Handle
from qwit_durable.codec import check_size
from qwit_durable.errors import EncodingError, RunAlreadyExists
from qwit_durable.ids import new_run_id
from qwit_durable.language.options import StartOptions
from qwit_durable.language.workflow import WorkflowDefinition
from qwit_durable.observers.base import Observer, Observers
from qwit_durable.stores.answers import Started
from qwit_durable.stores.kernel.waking import RING_GRACE
from qwit_durable.stores.rows import RunRow
from qwit_durable.stores.writes import Start

__all__ = ["start_run"]

_AT_ONCE = timedelta(microseconds=1)


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
    data = definition.encode_args(args, kwargs)
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
    within = options.connection
    write = Start(
        run=row,
        delay=_delay(options),
        deadline=options.deadline or definition.deadline,
        on_conflict=options.on_conflict,
        ring_after=RING_GRACE if access.can_ring and within is None else timedelta(0),
    )
    started = access.write(write) if within is None else access.start_within(within, write)
    assert isinstance(started, Started)
    handle: Handle[Any] = Handle(access, started.run.id, started.run.key)
    if started.created and within is not None:
        handle.announce_once_committed(lambda: Observers(observers).tell("run_started", started.run))
    elif started.created:
        Observers(observers).tell("run_started", started.run)
        if started.ring is not None:
            access.ring([started.ring])
    else:
        _check_same(definition, data, options, started)
    return handle


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
        raise RunAlreadyExists(msg)
    if options.on_conflict == "replace":
        msg = f'{said}, and it has not ended\n  way out: wait for it, cancel or terminate it, or on_conflict="attach"'
        raise RunAlreadyExists(msg)
    if run.workflow != definition.name:
        msg = f"{said}; asked for was workflow {definition.name!r}\n  way out: another id"
        raise RunAlreadyExists(msg)
    if run.args != data and not _same(definition, run.args, data):
        msg = (
            f"{said}, with another input\n"
            f"  stored: {run.args.decode()[:200]}\n"
            f"  given:  {data.decode()[:200]}\n"
            f'  way out: another id, or on_conflict="replace" once it has ended'
        )
        raise RunAlreadyExists(msg)


def _same(definition: WorkflowDefinition[Any, Any], stored: bytes, given: bytes) -> bool:
    try:
        return definition.normalise_args(stored) == given
    except (EncodingError, TypeError, ValueError):
        return False
